// deform_conv2d on the CPU, backward, in two passes that never share a number they write.
//
// * Gradients of input, offset and mask: a task owns a block of input channels of one sample. It
//   multiplies chunks of the output gradient with its share of the weight, adds the result to its
//   channels of the input gradient, and keeps its share of the sums over channels that make the
//   gradients of offset and mask; these shares are added up in the order of the blocks.
// * Gradient of weight: a task owns a kernel point and a block of input channels. It gathers their
//   columns anew, chunk by chunk, and multiplies them with the output gradient.
//
// Blocks depend on the shape alone, so the result does not depend on the number of threads.
#include <ATen/Version.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "deform_conv2d_blocks.h"
#include "deform_conv2d_cpu.h"
#include "deform_conv2d_ops.h"

namespace polarseg {
namespace {

// ---- gradients of input, offset and mask --------------------------------------------------------

template <typename T>
struct DataPass {
  const Backward<T>& common;
  std::vector<Block> blocks;
  T* image_grad;  // (batch, pixels, channels), zeros at first; or null
  T* shares;      // (batch, block, 3, points, positions); or null

  // The weight of a part for each kernel point: panels of (out channels of the group, width).
  void pack_weight(const Part& part, const Panels& panels, T* packed) const {
    const DeformConvShape& s = common.shape;
    const int64_t outs = s.group_out_channels();
    const int64_t inner = s.group_channels() * s.points();
    std::fill_n(packed, s.points() * panels.columns() * outs, T(0));
    for (int64_t out = 0; out < outs; ++out) {
      const int64_t skipped = part.begin - part.group * s.group_channels();
      const T* row = common.weight + (part.group * outs + out) * inner + skipped * s.points();
      for (int64_t c = 0; c < part.size(); ++c) {
        const int64_t panel = c / panels.width;
        T* target = packed + (panel * outs + out) * panels.width + c - panel * panels.width;
        for (int64_t point = 0; point < s.points(); ++point) {
          target[point * panels.columns() * outs] = row[c * s.points() + point];
        }
      }
    }
  }

  // The output gradient of a group as left matrices: (depth blocks, m, kDepth).
  void pack_left(int64_t sample, int64_t group, int64_t p0, int64_t m, T* left) const {
    const int64_t width = common.panels.width;
    const T* panel = common.grad_panels(sample, group, p0);
    for (int64_t index = 0; index < common.panels.count; ++index) {
      const int64_t column = index * width;
      T* target = left + column / kDepth * m * kDepth + column % kDepth;
      for (int64_t i = 0; i < m; ++i) std::copy_n(panel + i * width, width, target + i * kDepth);
      panel += common.shape.positions() * width;
    }
  }

  // columns (m, stride) = output gradient x weight, for one part and kernel point
  void multiply(const T* left, const T* weight, const Panels& panels, int64_t m, int64_t stride,
                T* columns) const {
    const int64_t outs = common.shape.group_out_channels();
    Product<T> product{};
    product.panel_stride = outs * panels.width;
    product.sum = columns;
    product.sum_stride = stride;
    product.m = m;
    product.panels = panels.count;
    for (int64_t depth = 0; depth < outs; depth += kDepth) {
      product.left = left + depth * m;
      product.right = weight + depth * panels.width;
      product.k = std::min(kDepth, outs - depth);
      product.add = depth > 0;
      common.kernels.multiply[panels.vectors - 1](product);
    }
  }

  void run_task(int64_t sample, int64_t index) const {
    const DeformConvShape& s = common.shape;
    const Block& block = blocks[index];
    const std::vector<Part> parts = parts_of(s, block);
    const int64_t widest = std::min(kBlockChannels, s.group_channels());
    const Panels panels(widest, common.kernels.vector_width);
    const int64_t outs = s.group_out_channels();
    const int64_t point_weight = panels.columns() * outs;
    const int64_t part_left = ceil_div(common.panels.columns(), kDepth) * kChunk * kDepth;
    // A part writes whole panels; what it writes too much the next part overwrites.
    const int64_t stride = kBlockChannels + panels.columns();
    const auto num_parts = static_cast<int64_t>(parts.size());
    const Scratch<T> weight(num_parts * s.points() * point_weight);
    const Scratch<T> left(num_parts * part_left);
    const Scratch<T> columns(kChunk * stride);
    const Scratch<Tap<T>> taps(kChunk);
    for (int64_t i = 0; i < num_parts; ++i) {
      pack_weight(parts[i], panels, weight.get() + i * s.points() * point_weight);
    }
    for (int64_t chunk = 0; chunk < common.chunks(); ++chunk) {
      const int64_t p0 = common.chunk_begin(chunk);
      const int64_t m = common.chunk_begin(chunk + 1) - p0;
      for (int64_t i = 0; i < num_parts; ++i) {
        pack_left(sample, parts[i].group, p0, m, left.get() + i * part_left);
      }
      for (int64_t point = 0; point < s.points(); ++point) {
        for (int64_t i = 0; i < num_parts; ++i) {
          multiply(left.get() + i * part_left,
                   weight.get() + (i * s.points() + point) * point_weight, panels, m, stride,
                   columns.get() + parts[i].begin - block.begin);
        }
        find_taps(s, common.offset, sample, block.deform_group, point, p0, m, taps.get());
        scatter(sample, index, point, p0, m, taps.get(), columns.get(), stride);
      }
    }
  }

  void scatter(int64_t sample, int64_t index, int64_t point, int64_t p0, int64_t m,
               const Tap<T>* taps, const T* columns, int64_t stride) const {
    const DeformConvShape& s = common.shape;
    const Block& block = blocks[index];
    Scatter<T> job{};
    job.column_grad = columns;
    job.stride = stride;
    job.taps = taps;
    job.mask = mask_at(s, common.mask, sample, block.deform_group, point, p0);
    job.m = m;
    job.channels = block.end - block.begin;
    job.image = common.sample_image(sample) + block.begin;
    job.pixel_stride = s.channels;
    if (image_grad != nullptr) {
      job.image_grad = image_grad + sample * s.pixels() * s.channels + block.begin;
    }
    if (shares != nullptr) {
      const int64_t share = sample * static_cast<int64_t>(blocks.size()) + index;
      job.tap_grad_stride = s.points() * s.positions();
      job.tap_grad = shares + (share * 3 * s.points() + point) * s.positions() + p0;
    }
    common.kernels.scatter(job);
  }

  void run() const {
    const auto count = static_cast<int64_t>(blocks.size());
    share_tasks(common.shape.batch * count, [&](const auto& next) {
      for (int64_t task = next(); task >= 0; task = next()) run_task(task / count, task % count);
    });
  }

  // Adds up the shares; either result may be null.
  void add_shares(T* offset_grad, T* mask_grad) const {
    const DeformConvShape& s = common.shape;
    const auto count = static_cast<int64_t>(blocks.size());
    const int64_t per_group = count / s.deform_groups;
    const int64_t size = s.positions();
    at::parallel_for(0, s.batch * s.deform_groups * s.points(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        const int64_t point = plane % s.points();
        const int64_t first = plane / s.points() * per_group;
        T* targets[3] = {nullptr, nullptr, nullptr};
        if (offset_grad != nullptr) targets[0] = offset_grad + 2 * plane * size;
        if (offset_grad != nullptr) targets[1] = targets[0] + size;
        if (mask_grad != nullptr) targets[2] = mask_grad + plane * size;
        for (int64_t kind = 0; kind < 3; ++kind) {
          if (targets[kind] == nullptr) continue;
          std::fill_n(targets[kind], size, T(0));
          for (int64_t block = first; block < first + per_group; ++block) {
            const T* share = shares + ((block * 3 + kind) * s.points() + point) * size;
            for (int64_t p = 0; p < size; ++p) targets[kind][p] += share[p];
          }
        }
      }
    });
  }
};

// ---- gradient of weight -------------------------------------------------------------------------

template <typename T>
struct WeightPass {
  const Backward<T>& common;
  std::vector<Block> blocks;
  T* sums;  // (points, channels, panel columns of a group)

  void run_task(int64_t point, const Block& block) const {
    const DeformConvShape& s = common.shape;
    const std::vector<Part> parts = parts_of(s, block);
    const Scratch<Tap<T>> taps(kChunk);
    const Scratch<T> columns(kChunk * kDepth);
    const int64_t dg = block.deform_group;
    for (int64_t task = 0; task < s.batch * common.chunks(); ++task) {
      const int64_t sample = task / common.chunks();
      const int64_t p0 = common.chunk_begin(task % common.chunks());
      const int64_t m = common.chunk_begin(task % common.chunks() + 1) - p0;
      find_taps(s, common.offset, sample, dg, point, p0, m, taps.get());
      common.kernels.gather(common.sample_image(sample) + block.begin, s.channels, taps.get(),
                            mask_at(s, common.mask, sample, dg, point, p0), m,
                            block.end - block.begin, columns.get());
      for (const Part& part : parts) {
        Product<T> product{};
        product.left = columns.get() + part.begin - block.begin;
        product.right = common.grad_panels(sample, part.group, p0);
        product.panel_stride = s.positions() * common.panels.width;
        product.sum = sums + (point * s.channels + part.begin) * common.panels.columns();
        product.sum_stride = common.panels.columns();
        product.m = part.size();
        product.k = m;
        product.panels = common.panels.count;
        product.add = task > 0;
        common.kernels.multiply_transposed[common.panels.vectors - 1](product);
      }
    }
  }

  void run() const {
    const auto count = static_cast<int64_t>(blocks.size());
    share_tasks(common.shape.points() * count, [&](const auto& next) {
      for (int64_t task = next(); task >= 0; task = next()) {
        run_task(task / count, blocks[task % count]);
      }
    });
  }

  // result (out channels, group channels, points)
  void unpack(T* result) const {
    const DeformConvShape& s = common.shape;
    const int64_t outs = s.group_out_channels();
    const int64_t columns = common.panels.columns();
    constexpr int64_t kRows = 16;
    const int64_t tiles = ceil_div(outs, kRows);
    at::parallel_for(0, s.groups * tiles, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t group = task / tiles;
        const int64_t first = task % tiles * kRows;
        const int64_t rows = std::min(kRows, outs - first);
        const int64_t inner = s.group_channels() * s.points();
        T* target = result + (group * outs + first) * inner;
        for (int64_t c = 0; c < s.group_channels(); ++c) {
          for (int64_t point = 0; point < s.points(); ++point) {
            const int64_t channel = point * s.channels + group * s.group_channels() + c;
            const T* source = sums + channel * columns + first;
            T* column = target + c * s.points() + point;
            for (int64_t r = 0; r < rows; ++r) column[r * inner] = source[r];
          }
        }
      }
    });
  }
};

// ---- the operator -------------------------------------------------------------------------------

// (batch, pixels, channels) -> (batch, channels, height, width)
template <typename T>
at::Tensor planes_of(const at::Tensor& image, const DeformConvShape& s) {
  at::Tensor planes = at::empty({s.batch, s.channels, s.height, s.width}, image.options());
  transpose_batch(image.const_data_ptr<T>(), s.batch, s.pixels(), s.channels,
                  planes.mutable_data_ptr<T>());
  return planes;
}

template <typename T>
void run_data_pass(const Backward<T>& common, const at::Tensor& offset, bool by_input,
                   bool by_offset, bool by_mask, DeformConvGradients& result) {
  const DeformConvShape& s = common.shape;
  std::vector<Block> blocks = blocks_of(s);
  const auto count = static_cast<int64_t>(blocks.size());
  const auto options = offset.options();
  at::Tensor image_grad;
  at::Tensor shares;
  if (by_input) image_grad = at::zeros({s.batch, s.pixels(), s.channels}, options);
  if (by_offset || by_mask) {
    shares = at::empty({s.batch, count, 3, s.points(), s.positions()}, options);
  }
  const DataPass<T> pass{common, std::move(blocks),
                         by_input ? image_grad.mutable_data_ptr<T>() : nullptr,
                         shares.defined() ? shares.mutable_data_ptr<T>() : nullptr};
  pass.run();
  if (by_input) std::get<0>(result) = planes_of<T>(image_grad, s);
  if (by_offset) std::get<1>(result) = at::empty(offset.sizes(), options);
  if (by_mask) {
    const int64_t planes = s.deform_groups * s.points();
    std::get<3>(result) = at::empty({s.batch, planes, s.out_height, s.out_width}, options);
  }
  if (shares.defined()) {
    pass.add_shares(by_offset ? std::get<1>(result).mutable_data_ptr<T>() : nullptr,
                    by_mask ? std::get<3>(result).mutable_data_ptr<T>() : nullptr);
  }
}

template <typename T>
DeformConvGradients backward(const DeformConvShape& s, const at::Tensor& grad,
                             const at::Tensor& input, const at::Tensor& offset,
                             const at::Tensor& weight, const OptionalTensor& mask,
                             std::array<bool, 4> output_mask) {
  const auto options = input.options();
  const Kernels<T>& kernels = choose_kernels<T>(at::get_cpu_capability());
  const Panels panels(s.group_out_channels(), kernels.vector_width);
  const at::Tensor image = channels_last<T>(input, s);
  const at::Tensor packed =
      at::empty({s.batch * s.groups * panels.count, s.positions(), panels.width}, options);
  pack_output_grad(s, grad.const_data_ptr<T>(), panels, packed.mutable_data_ptr<T>());
  const Backward<T> common{s,
                           kernels,
                           panels,
                           image.const_data_ptr<T>(),
                           offset.const_data_ptr<T>(),
                           data_or_null<T>(mask),
                           weight.const_data_ptr<T>(),
                           packed.const_data_ptr<T>()};
  // four tensors, because results of an operator may not share memory
  DeformConvGradients result{at::empty({0}, options), at::empty({0}, options),
                             at::empty({0}, options), at::empty({0}, options)};
  const auto [by_input, by_offset, by_weight, by_mask] = output_mask;
  if (by_input || by_offset || by_mask) {
    run_data_pass(common, offset, by_input, by_offset, by_mask, result);
  }
  if (by_weight) {
    // stays 0 where the batch is empty
    at::Tensor sums = at::zeros({s.points(), s.channels, panels.columns()}, options);
    const WeightPass<T> pass{common, blocks_of(s), sums.mutable_data_ptr<T>()};
    pass.run();
    std::get<2>(result) = at::empty(weight.sizes(), options);
    pass.unpack(std::get<2>(result).template mutable_data_ptr<T>());
  }
  return result;
}

}  // namespace

DeformConvGradients deform_conv2d_backward_cpu(const at::Tensor& grad, const at::Tensor& input,
                                               const at::Tensor& offset, const at::Tensor& weight,
                                               const OptionalTensor& mask, at::IntArrayRef stride,
                                               at::IntArrayRef padding, at::IntArrayRef dilation,
                                               int64_t groups, int64_t deform_groups,
                                               std::array<bool, 4> output_mask) {
  const DeformConvShape s = check_deform_conv(input, offset, weight, std::nullopt, mask,
                                              {stride, padding, dilation, groups, deform_groups});
  check_output_grad(grad, input, s);
  output_mask[3] = output_mask[3] && mask.has_value();
  const at::ScalarType type = compute_type(input);
  const auto prepared = [type](const at::Tensor& tensor) { return tensor.to(type).contiguous(); };
  const OptionalTensor prepared_mask =
      mask.has_value() ? OptionalTensor(prepared(*mask)) : std::nullopt;
  const auto run = type == at::kDouble ? backward<double> : backward<float>;
  const auto [by_input, by_offset, by_weight, by_mask] =
      run(s, prepared(grad), input.to(type), prepared(offset), prepared(weight), prepared_mask,
          output_mask);
  const at::ScalarType back = input.scalar_type();
  return {by_input.to(back), by_offset.to(back), by_weight.to(back), by_mask.to(back)};
}

}  // namespace polarseg
