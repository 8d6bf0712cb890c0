// Launchers of the CUDA kernels: pointers, sizes and a stream, so that nvcc compiles the kernels
// without torch. All pointers are device memory; all functions return at once, and return a CUDA
// error code (cudaError_t) of the launch.
#pragma once

#include <cstdint>

#include "deform_conv2d.h"

namespace polarseg {

enum class DeformConvType { kFloat, kDouble, kHalf, kBFloat16 };

// The output positions [first, first + count) of one sample. Untyped pointers are of `type`.
//
// columns and column_grad: (groups, count, points, group channels).
struct DeformConvTask {
  DeformConvShape shape;
  DeformConvType type;
  int64_t first;
  int64_t count;
  const void* image;   // (pixels, channels)
  const void* offset;  // (2 * deform groups * points, positions)
  const void* mask;    // (deform groups * points, positions), or null
};

int launch_deform_columns(const DeformConvTask& task, void* columns, void* stream);

// Results of the gradient of the columns; any may be null. image_grad is float, or double where
// `type` is double; it is added to, in no fixed order.
struct DeformConvDataGrad {
  const void* column_grad;
  void* image_grad;   // (pixels, channels)
  void* offset_grad;  // (2 * deform groups * points, positions)
  void* mask_grad;    // (deform groups * points, positions)
};

int launch_deform_data_grad(const DeformConvTask& task, const DeformConvDataGrad& grad,
                            void* stream);

}  // namespace polarseg
