// How the CPU operator lays its matrices out in memory.
//
// * The image is channels-last, so that a tap reads and blends contiguous channels.
// * Right matrices of products lie in panels: (k, panel width), one panel after the other, filled
//   up with zeros. A panel is as wide as the sums that stay in registers.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <new>

#include "deform_conv2d.h"
#include "deform_conv2d_kernels.h"

namespace polarseg {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Uninitialised scratch that begins with a cache line.
template <typename T>
class Scratch {
 public:
  explicit Scratch(int64_t size)
      : data_(static_cast<T*>(
            ::operator new(sizeof(T) * static_cast<size_t>(size), std::align_val_t(64)))) {}
  ~Scratch() { ::operator delete(data_, std::align_val_t(64)); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* get() const { return data_; }

 private:
  T* data_;
};

// Runs worker(next) on each thread, where next() gives a task in [0, count), each once, or -1.
// Tasks go to whoever is free, so a core that is busy with something else holds nobody up.
template <typename Worker>
void share_tasks(int64_t count, const Worker& worker) {
  std::atomic<int64_t> upcoming{0};
  const int64_t workers = std::min<int64_t>(count, at::get_num_threads());
  at::parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    worker([&]() -> int64_t {
      const int64_t task = upcoming.fetch_add(1, std::memory_order_relaxed);
      return task < count ? task : -1;
    });
  });
}

// Panels of a matrix with so many columns.
struct Panels {
  int64_t vectors;  // in a panel, 1 or 2
  int64_t width;
  int64_t count;

  Panels(int64_t columns, int64_t vector_width)
      : vectors(columns <= vector_width ? 1 : 2),
        width(vectors * vector_width),
        count(ceil_div(columns, width)) {}
  int64_t columns() const { return count * width; }
};

// to[c * to_stride + r] = from[r * from_stride + c], by blocks that fit a first-level cache
template <typename T>
void transpose(const T* from, int64_t from_stride, int64_t rows, int64_t columns, T* to,
               int64_t to_stride) {
  constexpr int64_t kBlock = 16;
  for (int64_t r0 = 0; r0 < rows; r0 += kBlock) {
    const int64_t height = std::min(kBlock, rows - r0);
    for (int64_t c = 0; c < columns; ++c) {
      const T* source = from + r0 * from_stride + c;
      T* target = to + c * to_stride + r0;
      if (height == kBlock) {
        for (int64_t r = 0; r < kBlock; ++r) target[r] = source[r * from_stride];
      } else {
        for (int64_t r = 0; r < height; ++r) target[r] = source[r * from_stride];
      }
    }
  }
}

// (batch, rows, columns) -> (batch, columns, rows)
template <typename T>
void transpose_batch(const T* from, int64_t batch, int64_t rows, int64_t columns, T* to) {
  constexpr int64_t kTile = 64;
  const int64_t tiles = ceil_div(columns, kTile);
  at::parallel_for(0, batch * tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n = task / tiles;
      const int64_t c0 = (task % tiles) * kTile;
      transpose(from + n * rows * columns + c0, columns, rows, std::min(kTile, columns - c0),
                to + (n * columns + c0) * rows, rows);
    }
  });
}

// Weight (out channels, group channels, points) -> for each group and each panel of its output
// channels: (points, group channels, panel width). The right matrix of the forward product.
template <typename T>
void pack_weight_by_outputs(const DeformConvShape& s, const T* weight, const Panels& panels,
                            T* packed) {
  const int64_t inner = s.group_channels() * s.points();
  at::parallel_for(0, s.groups * panels.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = (task % panels.count) * panels.width;
      const int64_t rows = std::min(panels.width, s.group_out_channels() - first);
      const T* source = weight + (task / panels.count * s.group_out_channels() + first) * inner;
      T* panel = packed + task * inner * panels.width;
      for (int64_t c = 0; c < s.group_channels(); ++c) {
        for (int64_t point = 0; point < s.points(); ++point) {
          T* line = panel + (point * s.group_channels() + c) * panels.width;
          const T* column = source + c * s.points() + point;
          for (int64_t r = 0; r < rows; ++r) line[r] = column[r * inner];
          std::fill(line + rows, line + panels.width, T(0));
        }
      }
    }
  });
}

// Output gradient (batch, out channels, positions) -> for each sample, group and panel of its
// output channels: (positions, panel width).
template <typename T>
void pack_output_grad(const DeformConvShape& s, const T* grad, const Panels& panels, T* packed) {
  constexpr int64_t kTile = 256;
  const int64_t tiles = ceil_div(s.positions(), kTile);
  const int64_t per_sample = s.groups * panels.count;
  at::parallel_for(0, s.batch * per_sample * tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t panel = task / tiles;
      const int64_t p0 = (task % tiles) * kTile;
      const int64_t size = std::min(kTile, s.positions() - p0);
      const int64_t group = panel / panels.count;  // counted through all samples
      const int64_t first = (panel % panels.count) * panels.width;
      const int64_t rows = std::min(panels.width, s.group_out_channels() - first);
      const T* source = grad + (group * s.group_out_channels() + first) * s.positions() + p0;
      T* target = packed + (panel * s.positions() + p0) * panels.width;
      transpose(source, s.positions(), rows, size, target, panels.width);
      for (int64_t p = 0; rows < panels.width && p < size; ++p) {
        std::fill(target + p * panels.width + rows, target + (p + 1) * panels.width, T(0));
      }
    }
  });
}

// The taps of one kernel point of one deform group at the positions [p0, p0 + m).
template <typename T>
void find_taps(const DeformConvShape& s, const T* offset, int64_t sample, int64_t deform_group,
               int64_t point, int64_t p0, int64_t m, Tap<T>* taps) {
  const int64_t plane = (sample * s.deform_groups + deform_group) * s.points() + point;
  const T* dy = offset + 2 * plane * s.positions() + p0;
  const T* dx = dy + s.positions();
  int64_t row = p0 / s.out_width;
  int64_t column = p0 - row * s.out_width;
  for (int64_t i = 0; i < m; ++i) {
    const RestingPoint rest = resting_point(s, row, column, point);
    taps[i] =
        tap_at(static_cast<T>(rest.y) + dy[i], static_cast<T>(rest.x) + dx[i], s.height, s.width);
    if (++column == s.out_width) {
      column = 0;
      ++row;
    }
  }
}

// The mask of the same positions, or null.
template <typename T>
const T* mask_at(const DeformConvShape& s, const T* mask, int64_t sample, int64_t deform_group,
                 int64_t point, int64_t p0) {
  if (mask == nullptr) return nullptr;
  const int64_t plane = (sample * s.deform_groups + deform_group) * s.points() + point;
  return mask + plane * s.positions() + p0;
}

}  // namespace polarseg
