// deform_conv2d under autocast: as torch treats its own convolutions on CUDA. On the CPU half
// precision is computed in float32 anyway, so there it is kept.
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include "deform_conv2d_ops.h"

namespace polarseg {
namespace {

at::Tensor call_with(at::ScalarType type, c10::DeviceType device, const at::Tensor& input,
                     const at::Tensor& offset, const at::Tensor& weight,
                     const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                     at::IntArrayRef padding, at::IntArrayRef dilation,
                     const std::optional<at::Tensor>& mask, int64_t groups, int64_t deform_groups) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("polarseg::deform_conv2d", "")
                             .typed<decltype(deform_conv2d_cpu)>();
  const auto cast = [&](const at::Tensor& tensor) {
    return at::autocast::cached_cast(type, tensor, device);
  };
  const auto optional = [&](const std::optional<at::Tensor>& tensor) {
    return tensor.has_value() ? std::optional<at::Tensor>(cast(*tensor)) : std::nullopt;
  };
  return op.call(cast(input), cast(offset), cast(weight), optional(bias), stride, padding, dilation,
                 optional(mask), groups, deform_groups);
}

}  // namespace

at::Tensor deform_conv2d_autocast_cuda(const at::Tensor& input, const at::Tensor& offset,
                                       const at::Tensor& weight,
                                       const std::optional<at::Tensor>& bias,
                                       at::IntArrayRef stride, at::IntArrayRef padding,
                                       at::IntArrayRef dilation,
                                       const std::optional<at::Tensor>& mask, int64_t groups,
                                       int64_t deform_groups) {
  return call_with(at::autocast::get_autocast_dtype(at::kCUDA), at::kCUDA, input, offset, weight,
                   bias, stride, padding, dilation, mask, groups, deform_groups);
}

at::Tensor deform_conv2d_autocast_cpu(const at::Tensor& input, const at::Tensor& offset,
                                      const at::Tensor& weight,
                                      const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                                      at::IntArrayRef padding, at::IntArrayRef dilation,
                                      const std::optional<at::Tensor>& mask, int64_t groups,
                                      int64_t deform_groups) {
  return call_with(at::kFloat, at::kCPU, input, offset, weight, bias, stride, padding, dilation,
                   mask, groups, deform_groups);
}

}  // namespace polarseg
