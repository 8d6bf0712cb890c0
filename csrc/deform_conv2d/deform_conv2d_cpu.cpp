// deform_conv2d on the CPU, forward.
//
// The output positions are cut into chunks. For each chunk and kernel point, the taps are found
// once, their values are gathered into a small matrix (positions, channels) that stays in a
// second-level cache, and that is multiplied at once with its share of the weight: no column matrix
// is ever written to memory. Each output is one sum in a fixed order, whatever the chunks are, so
// the result does not depend on the number of threads.
#include "deform_conv2d_cpu.h"

#include <ATen/Version.h>
#include <ATen/ops/empty.h>

#include "deform_conv2d_ops.h"

namespace polarseg {
namespace {

template <typename T>
struct Forward {
  DeformConvShape shape;
  const Kernels<T>& kernels;
  Panels panels;   // of the output channels of a group
  const T* image;  // (batch, pixels, channels)
  const T* offset;
  const T* mask;    // or null
  const T* weight;  // pack_weight_by_outputs
  const T* bias;    // or null
  T* output;        // (batch, out channels, positions)

  int64_t sum_columns() const { return shape.groups * panels.columns(); }

  // sums += columns x weight, for the channels [c0, c1) that lie in columns, one group at a time
  void multiply(const T* columns, int64_t m, int64_t point, int64_t c0, int64_t c1, T* sums) const {
    const int64_t group_channels = shape.group_channels();
    const int64_t inner = group_channels * shape.points();
    for (int64_t group = c0 / group_channels; group * group_channels < c1; ++group) {
      const int64_t start = std::max(c0, group * group_channels);
      const int64_t end = std::min(c1, (group + 1) * group_channels);
      const int64_t row = point * group_channels + start - group * group_channels;
      Product<T> product{};
      product.left = columns + start - c0;
      product.right = weight + (group * panels.count * inner + row) * panels.width;
      product.panel_stride = inner * panels.width;
      product.sum = sums + group * panels.columns();
      product.sum_stride = sum_columns();
      product.m = m;
      product.k = end - start;
      product.panels = panels.count;
      product.add = true;
      kernels.multiply[panels.vectors - 1](product);
    }
  }

  void start_sums(int64_t m, T* sums) const {
    std::fill_n(sums, m * sum_columns(), T(0));
    if (bias == nullptr) return;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t group = 0; group < shape.groups; ++group) {
        std::copy_n(bias + group * shape.group_out_channels(), shape.group_out_channels(),
                    sums + i * sum_columns() + group * panels.columns());
      }
    }
  }

  void run_chunk(int64_t sample, int64_t p0, int64_t m, Tap<T>* taps, T* columns, T* sums) const {
    const T* pixels = image + sample * shape.pixels() * shape.channels;
    const int64_t deform_channels = shape.deform_channels();
    start_sums(m, sums);
    for (int64_t point = 0; point < shape.points(); ++point) {
      for (int64_t dg = 0; dg < shape.deform_groups; ++dg) {
        find_taps(shape, offset, sample, dg, point, p0, m, taps);
        const T* tap_mask = mask_at(shape, mask, sample, dg, point, p0);
        const int64_t end = (dg + 1) * deform_channels;
        for (int64_t c0 = dg * deform_channels; c0 < end; c0 += kDepth) {
          const int64_t c1 = std::min(c0 + kDepth, end);
          kernels.gather(pixels + c0, shape.channels, taps, tap_mask, m, c1 - c0, columns);
          multiply(columns, m, point, c0, c1, sums);
        }
      }
    }
    for (int64_t group = 0; group < shape.groups; ++group) {
      const int64_t channel = sample * shape.out_channels + group * shape.group_out_channels();
      transpose(sums + group * panels.columns(), sum_columns(), m, shape.group_out_channels(),
                output + channel * shape.positions() + p0, shape.positions());
    }
  }

  void run() const {
    const int64_t chunks = ceil_div(shape.positions(), kChunk);
    share_tasks(shape.batch * chunks, [&](const auto& next) {
      const Scratch<Tap<T>> taps(kChunk);
      const Scratch<T> columns(kChunk * kDepth);
      const Scratch<T> sums(kChunk * sum_columns());
      for (int64_t task = next(); task >= 0; task = next()) {
        // chunks of nearly equal size
        const int64_t chunk = task % chunks;
        const int64_t p0 = shape.positions() * chunk / chunks;
        const int64_t p1 = shape.positions() * (chunk + 1) / chunks;
        run_chunk(task / chunks, p0, p1 - p0, taps.get(), columns.get(), sums.get());
      }
    });
  }
};

template <typename T>
at::Tensor forward(const DeformConvShape& s, const at::Tensor& input, const at::Tensor& offset,
                   const at::Tensor& weight, const OptionalTensor& bias,
                   const OptionalTensor& mask) {
  const Kernels<T>& kernels = choose_kernels<T>(at::get_cpu_capability());
  const Panels panels(s.group_out_channels(), kernels.vector_width);
  const at::Tensor image = channels_last<T>(input, s);
  const int64_t inner = s.group_channels() * s.points();
  const at::Tensor packed = at::empty({s.groups * panels.columns(), inner}, weight.options());
  pack_weight_by_outputs(s, weight.const_data_ptr<T>(), panels, packed.mutable_data_ptr<T>());
  at::Tensor output =
      at::empty({s.batch, s.out_channels, s.out_height, s.out_width}, input.options());
  const Forward<T> pass{s,
                        kernels,
                        panels,
                        image.const_data_ptr<T>(),
                        offset.const_data_ptr<T>(),
                        data_or_null<T>(mask),
                        packed.const_data_ptr<T>(),
                        data_or_null<T>(bias),
                        output.mutable_data_ptr<T>()};
  pass.run();
  return output;
}

}  // namespace

template <typename T>
at::Tensor channels_last(const at::Tensor& input, const DeformConvShape& s) {
  const at::Tensor view = input.permute({0, 2, 3, 1});
  if (view.is_contiguous()) return view;
  const at::Tensor planes = input.contiguous();
  at::Tensor image = at::empty({s.batch, s.height, s.width, s.channels}, input.options());
  transpose_batch(planes.const_data_ptr<T>(), s.batch, s.channels, s.pixels(),
                  image.mutable_data_ptr<T>());
  return image;
}

template at::Tensor channels_last<float>(const at::Tensor&, const DeformConvShape&);
template at::Tensor channels_last<double>(const at::Tensor&, const DeformConvShape&);

at::Tensor deform_conv2d_cpu(const at::Tensor& input, const at::Tensor& offset,
                             const at::Tensor& weight, const OptionalTensor& bias,
                             at::IntArrayRef stride, at::IntArrayRef padding,
                             at::IntArrayRef dilation, const OptionalTensor& mask, int64_t groups,
                             int64_t deform_groups) {
  const DeformConvShape s = check_deform_conv(input, offset, weight, bias, mask,
                                              {stride, padding, dilation, groups, deform_groups});
  const at::ScalarType type = compute_type(input);
  const auto prepared = [type](const at::Tensor& tensor) { return tensor.to(type).contiguous(); };
  const auto optional = [&](const OptionalTensor& tensor) {
    return tensor.has_value() ? OptionalTensor(prepared(*tensor)) : std::nullopt;
  };
  const auto run = type == at::kDouble ? forward<double> : forward<float>;
  return run(s, input.to(type), prepared(offset), prepared(weight), optional(bias), optional(mask))
      .to(input.scalar_type());
}

}  // namespace polarseg
