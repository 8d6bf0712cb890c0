// The inner loops of the CPU operator, which exist once for each instruction set. The driver
// (deform_conv2d_cpu*.cpp) picks a set when it runs and calls it through these pointers.
#pragma once

#include <cstdint>
#include <string_view>

#include "deform_conv2d.h"

namespace polarseg {

// Row length of every left matrix; a constant lets the compiler fold row addresses into the
// instructions. 128 steps of a right panel (at most 16 KB) stay in a first-level cache of 32 KB.
constexpr int64_t kDepth = 128;
// Output positions that are worked on at a time.
constexpr int64_t kChunk = 112;

// sum (m, panels * panel width) = [sum +] left (m, k) x right (k, panels * panel width)
template <typename T>
struct Product {
  const T* left;         // (m, kDepth) of which k columns count, or (k, kDepth) of which m do
  const T* right;        // panel after panel of (k, panel width)
  int64_t panel_stride;  // from panel to panel
  T* sum;
  int64_t sum_stride;  // from row to row
  int64_t m;
  int64_t k;
  int64_t panels;
  bool add;  // to what sum holds
};

template <typename T>
struct Scatter {
  const T* column_grad;  // (m, stride)
  int64_t stride;
  const Tap<T>* taps;  // (m)
  const T* mask;       // (m), or null
  int64_t m;           // positions
  int64_t channels;    // of this block
  const T* image;      // (pixels, pixel_stride) from the first channel of this block
  T* image_grad;       // same shape, added to; or null
  int64_t pixel_stride;
  T* tap_grad;  // (3, tap_grad_stride): by y, by x, by mask; written; or null
  int64_t tap_grad_stride;
};

// A right panel is one or two vectors wide; products exist for both.
template <typename T>
struct Kernels {
  int64_t vector_width;                               // numbers in a vector
  void (*multiply[2])(const Product<T>&);             // left (m, k); [vectors in a panel - 1]
  void (*multiply_transposed[2])(const Product<T>&);  // left (k, m)
  // columns (m, kDepth): what each tap reads, times its mask, of `channels` channels.
  void (*gather)(const T* image, int64_t pixel_stride, const Tap<T>* taps, const T* mask, int64_t m,
                 int64_t channels, T* columns);
  void (*scatter)(const Scatter<T>&);
};

// capability: what at::get_cpu_capability() says of the processor; it knows the environment
// variable ATEN_CPU_CAPABILITY.
template <typename T>
const Kernels<T>& choose_kernels(std::string_view capability);

}  // namespace polarseg
