// Argument checks of deform_conv2d, which look at no data, and the sizes that they yield.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <optional>

#include "deform_conv2d.h"

namespace polarseg {

using OptionalTensor = std::optional<at::Tensor>;

// The geometry arguments of the operator, as they come.
struct DeformConvOptions {
  at::IntArrayRef stride;
  at::IntArrayRef padding;
  at::IntArrayRef dilation;
  int64_t groups;
  int64_t deform_groups;
};

inline void check_pair(at::IntArrayRef pair, const char* name, int64_t least) {
  TORCH_CHECK_VALUE(pair.size() == 2, "deform_conv2d: ", name, " must be one or two integers, got ",
                    pair.size(), " of them.");
  TORCH_CHECK_VALUE(pair[0] >= least && pair[1] >= least, "deform_conv2d: ", name,
                    " must be at least ", least, ", got ", pair, ".");
  // so that no sum or product of sizes overflows
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  TORCH_CHECK_VALUE(pair[0] <= kMost && pair[1] <= kMost, "deform_conv2d: ", name,
                    " must be at most ", kMost, ", got ", pair, ".");
}

inline void check_dtype(const at::Tensor& input) {
  const auto type = input.scalar_type();
  TORCH_CHECK_TYPE(
      type == at::kFloat || type == at::kDouble || type == at::kHalf || type == at::kBFloat16,
      "deform_conv2d: input must be float32, float64, float16 or bfloat16, got ", type, ".");
}

inline void check_like_input(const at::Tensor& input, const at::Tensor& other, const char* name,
                             int64_t dimensions) {
  TORCH_CHECK_TYPE(other.scalar_type() == input.scalar_type(), "deform_conv2d: ", name, " is ",
                   other.scalar_type(), " but input is ", input.scalar_type(),
                   "; all tensors must have one dtype.");
  TORCH_CHECK_VALUE(other.device() == input.device(), "deform_conv2d: ", name, " is on ",
                    other.device(), " but input is on ", input.device(),
                    "; all tensors must be on one device.");
  TORCH_CHECK_VALUE(other.dim() == dimensions, "deform_conv2d: ", name, " must have ", dimensions,
                    " dimensions, got shape ", other.sizes(), ".");
}

inline void check_groups(const DeformConvShape& s, const at::Tensor& weight) {
  TORCH_CHECK_VALUE(s.groups >= 1, "deform_conv2d: groups must be at least 1, got ", s.groups, ".");
  TORCH_CHECK_VALUE(s.deform_groups >= 1, "deform_conv2d: deform_groups must be at least 1, got ",
                    s.deform_groups, ".");
  TORCH_CHECK_VALUE(s.channels % s.groups == 0, "deform_conv2d: groups must divide the ",
                    s.channels, " input channels, got ", s.groups, ".");
  TORCH_CHECK_VALUE(s.out_channels % s.groups == 0, "deform_conv2d: groups must divide the ",
                    s.out_channels, " output channels, got ", s.groups, ".");
  TORCH_CHECK_VALUE(s.channels % s.deform_groups == 0,
                    "deform_conv2d: deform_groups must divide the ", s.channels,
                    " input channels, got ", s.deform_groups, ".");
  TORCH_CHECK_VALUE(weight.size(1) == s.group_channels(), "deform_conv2d: weight must have ",
                    s.group_channels(), " input channels for each group, got shape ",
                    weight.sizes(), ".");
}

// More elements than any memory has room for. Only tensors that repeat their elements or have none
// can be larger, and sums and products of their sizes might overflow.
constexpr int64_t kMostElements = int64_t{1} << 40;

inline void check_plane(const char* name, int64_t height, int64_t width) {
  TORCH_CHECK_VALUE(height <= kMostElements && width <= kMostElements &&
                        (width == 0 || height <= kMostElements / width),
                    "deform_conv2d: ", name, " may have at most 2^40 pixels, got ", height, " x ",
                    width, ".");
}

// How often a kernel of this length fits, or 0.
inline int64_t output_length(int64_t length, int64_t kernel, int64_t stride, int64_t padding,
                             int64_t dilation) {
  const int64_t most = length + 2 * padding - 1;  // room for the kernel's reach
  if (most < 0 || kernel - 1 > most / dilation) return 0;
  return (most - dilation * (kernel - 1)) / stride + 1;
}

inline void check_planes(const at::Tensor& planes, const char* name, const DeformConvShape& s,
                         int64_t channels) {
  TORCH_CHECK_VALUE(planes.size(0) == s.batch && planes.size(1) == channels &&
                        planes.size(2) == s.out_height && planes.size(3) == s.out_width,
                    "deform_conv2d: ", name, " must have shape [", s.batch, ", ", channels, ", ",
                    s.out_height, ", ", s.out_width, "], got ", planes.sizes(), ".");
}

// Checks everything and returns the sizes.
inline DeformConvShape check_deform_conv(const at::Tensor& input, const at::Tensor& offset,
                                         const at::Tensor& weight, const OptionalTensor& bias,
                                         const OptionalTensor& mask,
                                         const DeformConvOptions& options) {
  check_pair(options.stride, "stride", 1);
  check_pair(options.padding, "padding", 0);
  check_pair(options.dilation, "dilation", 1);
  check_dtype(input);
  TORCH_CHECK_VALUE(input.dim() == 4, "deform_conv2d: input must have 4 dimensions, got shape ",
                    input.sizes(), ".");
  check_like_input(input, offset, "offset", 4);
  check_like_input(input, weight, "weight", 4);
  TORCH_CHECK_VALUE(weight.numel() > 0, "deform_conv2d: weight must not be empty, got shape ",
                    weight.sizes(), ".");
  TORCH_CHECK_VALUE(weight.numel() <= kMostElements,
                    "deform_conv2d: weight may have at most 2^40 elements, got shape ",
                    weight.sizes(), ".");
  check_plane("input", input.size(2), input.size(3));
  DeformConvShape s{};
  s.batch = input.size(0);
  s.channels = input.size(1);
  s.height = input.size(2);
  s.width = input.size(3);
  s.out_channels = weight.size(0);
  s.kernel_h = weight.size(2);
  s.kernel_w = weight.size(3);
  s.stride_h = options.stride[0];
  s.stride_w = options.stride[1];
  s.padding_h = options.padding[0];
  s.padding_w = options.padding[1];
  s.dilation_h = options.dilation[0];
  s.dilation_w = options.dilation[1];
  s.groups = options.groups;
  s.deform_groups = options.deform_groups;
  s.out_height = output_length(s.height, s.kernel_h, s.stride_h, s.padding_h, s.dilation_h);
  s.out_width = output_length(s.width, s.kernel_w, s.stride_w, s.padding_w, s.dilation_w);
  check_groups(s, weight);
  TORCH_CHECK_VALUE(s.out_height > 0 && s.out_width > 0,
                    "deform_conv2d: the input is too small for the kernel; the output would be ",
                    s.out_height, " x ", s.out_width, ".");
  check_plane("the output", s.out_height, s.out_width);
  check_planes(offset, "offset", s, 2 * s.deform_groups * s.points());
  if (mask.has_value()) {
    check_like_input(input, *mask, "mask", 4);
    check_planes(*mask, "mask", s, s.deform_groups * s.points());
  }
  if (bias.has_value()) {
    check_like_input(input, *bias, "bias", 1);
    TORCH_CHECK_VALUE(bias->size(0) == s.out_channels, "deform_conv2d: bias must have ",
                      s.out_channels, " entries, got ", bias->size(0), ".");
  }
  return s;
}

inline void check_output_grad(const at::Tensor& grad, const at::Tensor& input,
                              const DeformConvShape& s) {
  check_like_input(input, grad, "the gradient of the output", 4);
  check_planes(grad, "the gradient of the output", s, s.out_channels);
}

}  // namespace polarseg
