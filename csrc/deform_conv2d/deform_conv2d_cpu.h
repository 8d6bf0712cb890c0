// What the forward and the backward pass on the CPU share.
#pragma once

#include <ATen/core/Tensor.h>

#include "deform_conv2d_check.h"
#include "deform_conv2d_layout.h"

namespace polarseg {

// Half precision is computed in float32.
inline at::ScalarType compute_type(const at::Tensor& input) {
  return input.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

template <typename T>
const T* data_or_null(const OptionalTensor& tensor) {
  return tensor.has_value() ? tensor->template const_data_ptr<T>() : nullptr;
}

// The image as (batch, pixels, channels), contiguous.
template <typename T>
at::Tensor channels_last(const at::Tensor& input, const DeformConvShape& s);

}  // namespace polarseg
