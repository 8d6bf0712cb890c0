// The function behind polarseg::largest_contours, for every device.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace polarseg {

std::tuple<at::Tensor, at::Tensor> largest_contours(const at::Tensor& masks);

}  // namespace polarseg
