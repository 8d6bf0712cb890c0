// Deformable convolution v1 (arXiv 1703.06211) and v2 (arXiv 1811.11168): sizes, and where and how
// a sampling point reads the input. The CPU and the CUDA operator share it. Plain C++17 without
// torch, so that a host compiler and nvcc both take it alone.
//
// Pixel convention: pixel (row i, column j) lies at y = i, x = j. A point counts if -1 < y < height
// and -1 < x < width; it reads its four neighbours bilinearly, those outside of the input as 0. Any
// other point, and one that is not a number, reads 0.
#pragma once

#include <cmath>
#include <cstdint>

#include "../common/host_device.h"

namespace polarseg {

struct DeformConvShape {
  int64_t batch;
  int64_t channels;
  int64_t height;
  int64_t width;
  int64_t out_channels;
  int64_t out_height;
  int64_t out_width;
  int64_t kernel_h;
  int64_t kernel_w;
  int64_t stride_h;
  int64_t stride_w;
  int64_t padding_h;
  int64_t padding_w;
  int64_t dilation_h;
  int64_t dilation_w;
  int64_t groups;
  int64_t deform_groups;

  POLARSEG_HOST_DEVICE int64_t pixels() const { return height * width; }
  POLARSEG_HOST_DEVICE int64_t positions() const { return out_height * out_width; }
  POLARSEG_HOST_DEVICE int64_t points() const { return kernel_h * kernel_w; }
  // channels and output channels of one group, channels of one deform group
  POLARSEG_HOST_DEVICE int64_t group_channels() const { return channels / groups; }
  POLARSEG_HOST_DEVICE int64_t group_out_channels() const { return out_channels / groups; }
  POLARSEG_HOST_DEVICE int64_t deform_channels() const { return channels / deform_groups; }
};

// How one sampling point reads the input. Corners: upper left, upper right, lower left, lower
// right.
template <typename T>
struct Tap {
  int64_t pixel[4];  // row * width + column, or -1 for a corner that reads 0
  T weight[4];       // bilinear, without the mask
  T fraction_y;      // below the upper row
  T fraction_x;      // right of the left column
};

template <typename T>
POLARSEG_HOST_DEVICE inline Tap<T> tap_at(T y, T x, int64_t height, int64_t width) {
  Tap<T> tap;
  // false for a NaN too
  const bool counts =
      y > T(-1) && x > T(-1) && y < static_cast<T>(height) && x < static_cast<T>(width);
  const T top = counts ? std::floor(y) : T(0);
  const T left = counts ? std::floor(x) : T(0);
  const int64_t row = static_cast<int64_t>(top);
  const int64_t column = static_cast<int64_t>(left);
  const T fy = counts ? y - top : T(0);
  const T fx = counts ? x - left : T(0);
  const T scale = counts ? T(1) : T(0);
  const bool up = counts && row >= 0;
  const bool down = counts && row + 1 < height;
  const bool before = column >= 0;
  const bool behind = column + 1 < width;
  const int64_t first = row * width + column;
  tap.pixel[0] = up && before ? first : -1;
  tap.pixel[1] = up && behind ? first + 1 : -1;
  tap.pixel[2] = down && before ? first + width : -1;
  tap.pixel[3] = down && behind ? first + width + 1 : -1;
  tap.weight[0] = scale * (T(1) - fy) * (T(1) - fx);
  tap.weight[1] = (T(1) - fy) * fx;
  tap.weight[2] = fy * (T(1) - fx);
  tap.weight[3] = fy * fx;
  tap.fraction_y = fy;
  tap.fraction_x = fx;
  return tap;
}

// Where the kernel point (i, j) of the output position (row, column) would read without offset.
struct RestingPoint {
  int64_t y;
  int64_t x;
};

POLARSEG_HOST_DEVICE inline RestingPoint resting_point(const DeformConvShape& shape, int64_t row,
                                                       int64_t column, int64_t point) {
  const int64_t i = point / shape.kernel_w;
  const int64_t j = point - i * shape.kernel_w;
  return {row * shape.stride_h - shape.padding_h + i * shape.dilation_h,
          column * shape.stride_w - shape.padding_w + j * shape.dilation_w};
}

// Derivatives of a tap's value, from the sums over channels of gradient times corner. They read
// the corners alone, so a point that does not count (all corners 0) has none.
template <typename T>
struct TapGradient {
  T y;
  T x;
  T mask;
};

template <typename T>
POLARSEG_HOST_DEVICE inline TapGradient<T> tap_gradient(const Tap<T>& tap, T sum0, T sum1, T sum2,
                                                        T sum3, T mask) {
  const T fy = tap.fraction_y;
  const T fx = tap.fraction_x;
  return {
      mask * ((T(1) - fx) * (sum2 - sum0) + fx * (sum3 - sum1)),
      mask * ((T(1) - fy) * (sum1 - sum0) + fy * (sum3 - sum2)),
      tap.weight[0] * sum0 + tap.weight[1] * sum1 + tap.weight[2] * sum2 + tap.weight[3] * sum3};
}

}  // namespace polarseg
