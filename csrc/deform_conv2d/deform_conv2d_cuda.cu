// CUDA kernels of deform_conv2d. The image is channels-last: a kernel point of a deform group reads
// four runs of contiguous channels, in vectors of 16 bytes where the channels allow it. Arithmetic
// is float (double for double), storage any type. The products are cuBLAS's (see the binding).
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "deform_conv2d_launch.h"

namespace polarseg {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;

template <typename T>
struct Arithmetic {
  using Type = float;
};
template <>
struct Arithmetic<double> {
  using Type = double;
};

template <typename T>
__device__ __forceinline__ typename Arithmetic<T>::Type widen(T value) {
  return static_cast<typename Arithmetic<T>::Type>(value);
}
template <>
__device__ __forceinline__ float widen(__half value) {
  return __half2float(value);
}
template <>
__device__ __forceinline__ float widen(__nv_bfloat16 value) {
  return __bfloat162float(value);
}

template <typename T>
__device__ __forceinline__ T narrow(typename Arithmetic<T>::Type value) {
  return static_cast<T>(value);
}
template <>
__device__ __forceinline__ __half narrow<__half>(float value) {
  return __float2half_rn(value);
}
template <>
__device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

// kSize values that are loaded and stored at once.
template <typename T, int kSize>
struct alignas(sizeof(T) * kSize) Run {
  T value[kSize];
};

template <typename T>
struct Pointers {
  const T* image;
  const T* offset;
  const T* mask;
};

template <typename T>
Pointers<T> typed(const DeformConvTask& task) {
  return {static_cast<const T*>(task.image), static_cast<const T*>(task.offset),
          static_cast<const T*>(task.mask)};
}

template <typename A>
struct SeenPoint {
  Tap<A> tap;
  A mask;
};

// plane: deform group * points + point; position: of the whole output plane.
template <typename T>
__device__ __forceinline__ SeenPoint<typename Arithmetic<T>::Type> see_point(
    const DeformConvShape& shape, const Pointers<T>& data, int64_t plane, int64_t position) {
  using A = typename Arithmetic<T>::Type;
  const int64_t positions = shape.positions();
  const int64_t row = position / shape.out_width;
  const int64_t column = position - row * shape.out_width;
  const RestingPoint rest = resting_point(shape, row, column, plane % shape.points());
  const A dy = widen(data.offset[2 * plane * positions + position]);
  const A dx = widen(data.offset[(2 * plane + 1) * positions + position]);
  const A mask = data.mask != nullptr ? widen(data.mask[plane * positions + position]) : A(1);
  return {
      tap_at(static_cast<A>(rest.y) + dy, static_cast<A>(rest.x) + dx, shape.height, shape.width),
      mask};
}

// Where channel `channel` of a kernel point lies in the columns.
__device__ __forceinline__ int64_t column_index(const DeformConvShape& shape, int64_t count,
                                                int64_t local, int64_t point, int64_t channel) {
  const int64_t size = shape.group_channels();
  const int64_t group = channel / size;
  return ((group * count + local) * shape.points() + point) * size + channel - group * size;
}

// One thread for each position, kernel point and run of channels; channels vary fastest.
template <typename T, int kRun>
__global__ void __launch_bounds__(kThreads)
    columns_kernel(DeformConvShape shape, Pointers<T> data, int64_t first, int64_t count,
                   T* columns) {
  using A = typename Arithmetic<T>::Type;
  const int64_t runs = shape.channels / kRun;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= count * shape.points() * runs) return;
  const int64_t channel = index % runs * kRun;
  const int64_t rest = index / runs;
  const int64_t point = rest % shape.points();
  const int64_t local = rest / shape.points();
  const int64_t plane = channel / shape.deform_channels() * shape.points() + point;
  const SeenPoint<A> seen = see_point(shape, data, plane, first + local);

  A sum[kRun] = {};
#pragma unroll
  for (int q = 0; q < 4; ++q) {
    if (seen.tap.pixel[q] < 0) continue;
    const auto corner = *reinterpret_cast<const Run<T, kRun>*>(
        data.image + seen.tap.pixel[q] * shape.channels + channel);
    const A weight = seen.tap.weight[q] * seen.mask;
#pragma unroll
    for (int i = 0; i < kRun; ++i) sum[i] += weight * widen(corner.value[i]);
  }
  Run<T, kRun> result;
#pragma unroll
  for (int i = 0; i < kRun; ++i) result.value[i] = narrow<T>(sum[i]);
  *reinterpret_cast<Run<T, kRun>*>(columns + column_index(shape, count, local, point, channel)) =
      result;
}

template <typename A, int kRun>
__device__ __forceinline__ void add_to(A* target, const A* values) {
#pragma unroll
  for (int i = 0; i < kRun; ++i) atomicAdd(target + i, values[i]);
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
template <>
__device__ __forceinline__ void add_to<float, 4>(float* target, const float* v) {
  atomicAdd(reinterpret_cast<float4*>(target), make_float4(v[0], v[1], v[2], v[3]));
}
template <>
__device__ __forceinline__ void add_to<float, 8>(float* target, const float* v) {
  add_to<float, 4>(target, v);
  add_to<float, 4>(target + 4, v + 4);
}
#endif

template <typename T>
struct DataGrad {
  using A = typename Arithmetic<T>::Type;
  const T* column_grad;
  A* image_grad;
  T* offset_grad;
  T* mask_grad;
};

// What one lane contributes: its runs of channels, every `lanes`-th of the deform group.
template <typename T, int kRun>
__device__ void add_channels(const DeformConvShape& shape, const Pointers<T>& data,
                             const DataGrad<T>& grad,
                             const SeenPoint<typename Arithmetic<T>::Type>& seen, int64_t count,
                             int64_t local, int64_t plane, int lane, int lanes,
                             typename Arithmetic<T>::Type* sums) {
  using A = typename Arithmetic<T>::Type;
  const int64_t begin = plane / shape.points() * shape.deform_channels();
  const int64_t end = begin + shape.deform_channels();
  const bool by_point = grad.offset_grad != nullptr || grad.mask_grad != nullptr;
  for (int64_t channel = begin + lane * kRun; channel < end; channel += lanes * kRun) {
    const auto run = *reinterpret_cast<const Run<T, kRun>*>(
        grad.column_grad + column_index(shape, count, local, plane % shape.points(), channel));
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      if (seen.tap.pixel[q] < 0) continue;
      const int64_t at = seen.tap.pixel[q] * shape.channels + channel;
      if (by_point) {
        const auto corner = *reinterpret_cast<const Run<T, kRun>*>(data.image + at);
#pragma unroll
        for (int i = 0; i < kRun; ++i) sums[q] += widen(run.value[i]) * widen(corner.value[i]);
      }
      if (grad.image_grad != nullptr) {
        const A weight = seen.tap.weight[q] * seen.mask;
        A values[kRun];
#pragma unroll
        for (int i = 0; i < kRun; ++i) values[i] = weight * widen(run.value[i]);
        add_to<A, kRun>(grad.image_grad + at, values);
      }
    }
  }
}

// `lanes` neighbouring threads (a power of two, at most a warp) for each kernel point of each
// position; they share its channels and add up their sums. Neighbouring groups of lanes are
// neighbouring positions, so that offsets are read together.
template <typename T, int kRun>
__global__ void __launch_bounds__(kThreads)
    data_grad_kernel(DeformConvShape shape, Pointers<T> data, DataGrad<T> grad, int64_t first,
                     int64_t count, int lanes) {
  using A = typename Arithmetic<T>::Type;
  const int64_t index = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / lanes;
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const bool active = index < count * shape.deform_groups * shape.points();
  // Threads beyond the end take part in the shuffles all the same.
  const int64_t local = active ? index % count : 0;
  const int64_t plane = active ? index / count : 0;
  const SeenPoint<A> seen = see_point(shape, data, plane, first + local);
  A sums[4] = {};
  if (active) {
    add_channels<T, kRun>(shape, data, grad, seen, count, local, plane, lane, lanes, sums);
  }
  if (grad.offset_grad == nullptr && grad.mask_grad == nullptr) return;
  for (int step = lanes / 2; step > 0; step /= 2) {
#pragma unroll
    for (int q = 0; q < 4; ++q) sums[q] += __shfl_xor_sync(0xffffffffu, sums[q], step);
  }
  if (!active || lane != 0) return;
  const TapGradient<A> result =
      tap_gradient(seen.tap, sums[0], sums[1], sums[2], sums[3], seen.mask);
  const int64_t positions = shape.positions();
  const int64_t position = first + local;
  if (grad.offset_grad != nullptr) {
    grad.offset_grad[2 * plane * positions + position] = narrow<T>(result.y);
    grad.offset_grad[(2 * plane + 1) * positions + position] = narrow<T>(result.x);
  }
  if (grad.mask_grad != nullptr) {
    grad.mask_grad[plane * positions + position] = narrow<T>(result.mask);
  }
}

// Blocks of a grid in x may be 2^31 - 1, and a launch of none is an error.
template <typename Launch>
int launch_blocks(int64_t threads, const Launch& launch) {
  if (threads == 0) return cudaSuccess;
  const int64_t blocks = (threads + kThreads - 1) / kThreads;
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  launch(static_cast<unsigned>(blocks));
  return cudaGetLastError();
}

// A run may not cross the border of a group or of a deform group.
template <typename T>
bool fits_runs(const DeformConvTask& task, int run) {
  const auto aligned = [run](const void* p) {
    return reinterpret_cast<uintptr_t>(p) % (sizeof(T) * static_cast<uintptr_t>(run)) == 0;
  };
  return task.shape.group_channels() % run == 0 && task.shape.deform_channels() % run == 0 &&
         aligned(task.image);
}

template <typename T, int kRun>
int run_columns(const DeformConvTask& task, void* columns, cudaStream_t stream) {
  const DeformConvShape& shape = task.shape;
  return launch_blocks(task.count * shape.points() * (shape.channels / kRun), [&](unsigned blocks) {
    columns_kernel<T, kRun><<<blocks, kThreads, 0, stream>>>(shape, typed<T>(task), task.first,
                                                             task.count, static_cast<T*>(columns));
  });
}

template <typename T, int kRun>
int run_data_grad(const DeformConvTask& task, const DeformConvDataGrad& grad, cudaStream_t stream) {
  using A = typename Arithmetic<T>::Type;
  const DeformConvShape& shape = task.shape;
  const DataGrad<T> results{static_cast<const T*>(grad.column_grad),
                            static_cast<A*>(grad.image_grad), static_cast<T*>(grad.offset_grad),
                            static_cast<T*>(grad.mask_grad)};
  int lanes = 1;
  while (lanes < kWarp && lanes * kRun < shape.deform_channels()) lanes *= 2;
  return launch_blocks(task.count * shape.deform_groups * shape.points() * lanes,
                       [&](unsigned blocks) {
                         data_grad_kernel<T, kRun><<<blocks, kThreads, 0, stream>>>(
                             shape, typed<T>(task), results, task.first, task.count, lanes);
                       });
}

template <typename T>
int columns_of(const DeformConvTask& task, void* columns, cudaStream_t stream) {
  constexpr int kRun = 16 / sizeof(T);
  if (fits_runs<T>(task, kRun)) return run_columns<T, kRun>(task, columns, stream);
  return run_columns<T, 1>(task, columns, stream);
}

template <typename T>
int data_grad_of(const DeformConvTask& task, const DeformConvDataGrad& grad, cudaStream_t stream) {
  constexpr int kRun = 16 / sizeof(T);
  if (fits_runs<T>(task, kRun)) return run_data_grad<T, kRun>(task, grad, stream);
  return run_data_grad<T, 1>(task, grad, stream);
}

}  // namespace

int launch_deform_columns(const DeformConvTask& task, void* columns, void* stream) {
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  switch (task.type) {
    case DeformConvType::kFloat:
      return columns_of<float>(task, columns, cuda_stream);
    case DeformConvType::kDouble:
      return columns_of<double>(task, columns, cuda_stream);
    case DeformConvType::kHalf:
      return columns_of<__half>(task, columns, cuda_stream);
    default:
      return columns_of<__nv_bfloat16>(task, columns, cuda_stream);
  }
}

int launch_deform_data_grad(const DeformConvTask& task, const DeformConvDataGrad& grad,
                            void* stream) {
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  switch (task.type) {
    case DeformConvType::kFloat:
      return data_grad_of<float>(task, grad, cuda_stream);
    case DeformConvType::kDouble:
      return data_grad_of<double>(task, grad, cuda_stream);
    case DeformConvType::kHalf:
      return data_grad_of<__half>(task, grad, cuda_stream);
    default:
      return data_grad_of<__nv_bfloat16>(task, grad, cuda_stream);
  }
}

}  // namespace polarseg
