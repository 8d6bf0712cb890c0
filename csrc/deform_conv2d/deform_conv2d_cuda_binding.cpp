// deform_conv2d on CUDA: checks, memory and stream of torch around the kernels' launchers, and the
// products, which are cuBLAS's.
//
// A sample is worked on in chunks of output positions, so that the columns (groups, positions,
// points, group channels) stay bounded.
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>

#include "deform_conv2d_check.h"
#include "deform_conv2d_launch.h"
#include "deform_conv2d_ops.h"

namespace polarseg {
namespace {

constexpr int64_t kColumnBytes = int64_t{256} << 20;

DeformConvType type_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return DeformConvType::kFloat;
    case at::kDouble:
      return DeformConvType::kDouble;
    case at::kHalf:
      return DeformConvType::kHalf;
    default:
      return DeformConvType::kBFloat16;
  }
}

void* data_of(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.mutable_data_ptr() : nullptr;
}

at::Tensor sample_of(const at::Tensor& tensor, int64_t sample) {
  return tensor.defined() ? tensor.select(0, sample) : at::Tensor();
}

// The arguments as the kernels read them, and the chunks.
struct Prepared {
  DeformConvShape shape;
  at::Tensor image;   // (batch, height, width, channels)
  at::Tensor offset;  // contiguous
  at::Tensor mask;    // contiguous, or undefined
  at::Tensor weight;  // (groups, group out channels, points * group channels)
  int64_t chunk;      // output positions

  Prepared(const DeformConvShape& s, const at::Tensor& input, const at::Tensor& offset_,
           const OptionalTensor& mask_, const at::Tensor& weight_)
      : shape(s),
        image(input.permute({0, 2, 3, 1}).contiguous()),
        offset(offset_.contiguous()),
        mask(mask_.has_value() ? mask_->contiguous() : at::Tensor()),
        weight(weight_.permute({0, 2, 3, 1}).reshape({s.groups, s.group_out_channels(), inner()})) {
    const int64_t row = shape.channels * shape.points() * input.element_size();
    chunk = std::clamp<int64_t>(kColumnBytes / row, 1, shape.positions());
  }

  int64_t inner() const { return shape.points() * shape.group_channels(); }

  DeformConvTask task(int64_t sample, int64_t first) const {
    const at::Tensor sample_image = image.select(0, sample);
    const at::Tensor sample_mask = sample_of(mask, sample);
    return {shape,
            type_of(image),
            first,
            std::min(chunk, shape.positions() - first),
            sample_image.const_data_ptr(),
            offset.select(0, sample).const_data_ptr(),
            sample_mask.defined() ? sample_mask.const_data_ptr() : nullptr};
  }

  // (groups, positions of the task, points * group channels)
  at::Tensor columns(const DeformConvTask& task) const {
    at::Tensor columns = at::empty({shape.groups, task.count, inner()}, image.options());
    const auto stream = c10::cuda::getCurrentCUDAStream();
    C10_CUDA_CHECK(static_cast<cudaError_t>(
        launch_deform_columns(task, columns.mutable_data_ptr(), stream.stream())));
    return columns;
  }

  // A (batch, out channels, height, width) tensor's planes at the positions of a task, as a view
  // (groups, group out channels, positions).
  at::Tensor outputs(const at::Tensor& tensor, int64_t sample, const DeformConvTask& task) const {
    return tensor.select(0, sample)
        .view({shape.groups, shape.group_out_channels(), shape.positions()})
        .narrow(2, task.first, task.count);
  }
};

template <typename Visit>
void for_each_task(const Prepared& prepared, const Visit& visit) {
  for (int64_t sample = 0; sample < prepared.shape.batch; ++sample) {
    for (int64_t first = 0; first < prepared.shape.positions(); first += prepared.chunk) {
      visit(sample, prepared.task(sample, first));
    }
  }
}

}  // namespace

at::Tensor deform_conv2d_cuda(const at::Tensor& input, const at::Tensor& offset,
                              const at::Tensor& weight, const OptionalTensor& bias,
                              at::IntArrayRef stride, at::IntArrayRef padding,
                              at::IntArrayRef dilation, const OptionalTensor& mask, int64_t groups,
                              int64_t deform_groups) {
  const DeformConvShape s = check_deform_conv(input, offset, weight, bias, mask,
                                              {stride, padding, dilation, groups, deform_groups});
  const c10::cuda::CUDAGuard guard(input.device());
  const Prepared prepared(s, input, offset, mask, weight);
  at::Tensor output =
      at::empty({s.batch, s.out_channels, s.out_height, s.out_width}, input.options());
  for_each_task(prepared, [&](int64_t sample, const DeformConvTask& task) {
    at::Tensor planes = prepared.outputs(output, sample, task);
    at::bmm_out(planes, prepared.weight, prepared.columns(task).transpose(1, 2));
  });
  if (bias.has_value()) output.add_(bias->view({1, s.out_channels, 1, 1}));
  return output;
}

DeformConvGradients deform_conv2d_backward_cuda(const at::Tensor& grad, const at::Tensor& input,
                                                const at::Tensor& offset, const at::Tensor& weight,
                                                const OptionalTensor& mask, at::IntArrayRef stride,
                                                at::IntArrayRef padding, at::IntArrayRef dilation,
                                                int64_t groups, int64_t deform_groups,
                                                std::array<bool, 4> output_mask) {
  const DeformConvShape s = check_deform_conv(input, offset, weight, std::nullopt, mask,
                                              {stride, padding, dilation, groups, deform_groups});
  check_output_grad(grad, input, s);
  const auto [by_input, by_offset, by_weight, wants_mask] = output_mask;
  const bool by_mask = wants_mask && mask.has_value();
  const c10::cuda::CUDAGuard guard(input.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  // A backward pass that is started inside of an autocast region runs in it: torch would hand out
  // products in half precision, and the kernels would read them as the input's.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::DispatchKey::AutocastCUDA);
  const Prepared prepared(s, input, offset, mask, weight);
  const at::Tensor output_grad = grad.contiguous();
  const auto options = input.options();
  // Sums of many terms are kept in float32 at least.
  const auto wide = options.dtype(input.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);

  at::Tensor image_grad;
  at::Tensor offset_grad;
  at::Tensor weight_grad;
  at::Tensor mask_grad;
  if (by_input) {
    at::globalContext().alertNotDeterministic("deform_conv2d_backward on CUDA");
    image_grad = at::zeros(prepared.image.sizes(), wide);
  }
  if (by_offset) offset_grad = at::empty(offset.sizes(), options);
  if (by_mask) mask_grad = at::empty(mask->sizes(), options);
  if (by_weight) weight_grad = at::zeros(prepared.weight.sizes(), wide);

  for_each_task(prepared, [&](int64_t sample, const DeformConvTask& task) {
    const at::Tensor planes = prepared.outputs(output_grad, sample, task);
    if (by_weight) weight_grad.add_(at::bmm(planes, prepared.columns(task)));
    if (!by_input && !by_offset && !by_mask) return;
    const at::Tensor column_grad = at::bmm(planes.transpose(1, 2), prepared.weight).contiguous();
    const DeformConvDataGrad results{
        column_grad.const_data_ptr(), data_of(sample_of(image_grad, sample)),
        data_of(sample_of(offset_grad, sample)), data_of(sample_of(mask_grad, sample))};
    C10_CUDA_CHECK(
        static_cast<cudaError_t>(launch_deform_data_grad(task, results, stream.stream())));
  });

  const auto finish = [&](const at::Tensor& result) {
    return result.defined() ? result.to(options).contiguous() : at::empty({0}, options);
  };
  if (by_input) image_grad = image_grad.permute({0, 3, 1, 2});
  if (by_weight) {
    weight_grad = weight_grad.view({s.out_channels, s.kernel_h, s.kernel_w, s.group_channels()})
                      .permute({0, 3, 1, 2});
  }
  return {finish(image_grad), finish(offset_grad), finish(weight_grad), finish(mask_grad)};
}

}  // namespace polarseg
