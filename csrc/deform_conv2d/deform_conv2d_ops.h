// The functions behind polarseg::deform_conv2d and polarseg::deform_conv2d_backward.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <tuple>

namespace polarseg {

// by input, offset, weight and mask; those that were not asked for are empty
using DeformConvGradients = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

at::Tensor deform_conv2d_cpu(const at::Tensor& input, const at::Tensor& offset,
                             const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                             at::IntArrayRef stride, at::IntArrayRef padding,
                             at::IntArrayRef dilation, const std::optional<at::Tensor>& mask,
                             int64_t groups, int64_t deform_groups);

DeformConvGradients deform_conv2d_backward_cpu(const at::Tensor& grad, const at::Tensor& input,
                                               const at::Tensor& offset, const at::Tensor& weight,
                                               const std::optional<at::Tensor>& mask,
                                               at::IntArrayRef stride, at::IntArrayRef padding,
                                               at::IntArrayRef dilation, int64_t groups,
                                               int64_t deform_groups,
                                               std::array<bool, 4> output_mask);

at::Tensor deform_conv2d_cuda(const at::Tensor& input, const at::Tensor& offset,
                              const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                              at::IntArrayRef stride, at::IntArrayRef padding,
                              at::IntArrayRef dilation, const std::optional<at::Tensor>& mask,
                              int64_t groups, int64_t deform_groups);

DeformConvGradients deform_conv2d_backward_cuda(const at::Tensor& grad, const at::Tensor& input,
                                                const at::Tensor& offset, const at::Tensor& weight,
                                                const std::optional<at::Tensor>& mask,
                                                at::IntArrayRef stride, at::IntArrayRef padding,
                                                at::IntArrayRef dilation, int64_t groups,
                                                int64_t deform_groups,
                                                std::array<bool, 4> output_mask);

// Under autocast: the lower precision of the region on CUDA, float32 on the CPU.
at::Tensor deform_conv2d_autocast_cuda(const at::Tensor& input, const at::Tensor& offset,
                                       const at::Tensor& weight,
                                       const std::optional<at::Tensor>& bias,
                                       at::IntArrayRef stride, at::IntArrayRef padding,
                                       at::IntArrayRef dilation,
                                       const std::optional<at::Tensor>& mask, int64_t groups,
                                       int64_t deform_groups);

at::Tensor deform_conv2d_autocast_cpu(const at::Tensor& input, const at::Tensor& offset,
                                      const at::Tensor& weight,
                                      const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                                      at::IntArrayRef padding, at::IntArrayRef dilation,
                                      const std::optional<at::Tensor>& mask, int64_t groups,
                                      int64_t deform_groups);

}  // namespace polarseg
