// CUDA kernels of polar_ray_targets: one block per location, its threads share the contour.
//
// Largest lengths meet through atomicMax on the bits of the float: for numbers that are not
// negative the order of the bits, read as int, is the order of the numbers, and -1.f (an empty bin)
// is below them all. A maximum does not depend on the order of its arguments, so the result does
// not depend on the schedule.
#include <cuda_runtime.h>

#include <cstdio>

#include "polar_rays_launch.h"

namespace polarseg {
namespace {

constexpr int kThreads = 128;

__device__ __forceinline__ void atomic_max(float* address, float value) {
  atomicMax(reinterpret_cast<int*>(address), __float_as_int(value));
}

struct Contour {
  const float* points;
  int64_t size;
};

// Stops the kernel, as torch's own index assertions do: the host learns of it at its next
// synchronisation, and no call has to wait for a check.
__device__ __noinline__ void refuse(const char* sentence, int64_t location, int64_t a, int64_t b) {
  printf(sentence, static_cast<long long>(location), static_cast<long long>(a),
         static_cast<long long>(b));
  __trap();
}

__device__ Contour contour_of(const PolarRayProblem& problem, int64_t location) {
  const int64_t instance = problem.instance_index[location];
  if (instance < 0 || instance >= problem.num_instances) {
    refuse("polar_ray_targets: instance_index[%lld] is %lld, but there are %lld instances.\n",
           location, instance, problem.num_instances);
  }
  const int64_t begin = problem.offsets[instance];
  const int64_t end = problem.offsets[instance + 1];
  if (begin < 0 || begin > end || end > problem.num_points) {
    refuse(
        "polar_ray_targets: the instance of location %lld has offsets %lld to %lld, which decrease "
        "or leave the contour points.\n",
        location, begin, end);
  }
  return {problem.contours + 2 * begin, end - begin};
}

__global__ void __launch_bounds__(kThreads) binned_rays_kernel(PolarRayProblem problem) {
  __shared__ float squared_by_bin[kNumBins];
  const int64_t location = blockIdx.x;
  const Contour contour = contour_of(problem, location);
  const float origin_x = problem.locations[2 * location];
  const float origin_y = problem.locations[2 * location + 1];

  for (int bin = threadIdx.x; bin < kNumBins; bin += kThreads) squared_by_bin[bin] = kEmptyBin;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < contour.size; i += kThreads) {
    const float dx = contour.points[2 * i] - origin_x;
    const float dy = contour.points[2 * i + 1] - origin_y;
    const float squared = sum_of_squares(dx, dy);
    if (!(squared <= FLT_MAX)) continue;  // not finite: no point
    int bin = cheap_degree_bin(approximate_degrees(dx, dy));
    if (bin < 0) bin = exact_degree_bin(dx, dy);
    atomic_max(squared_by_bin + bin, squared);
  }
  __syncthreads();

  float* rays = problem.rays + location * problem.num_rays;
  const int step = 360 / problem.num_rays;
  for (int ray = threadIdx.x; ray < problem.num_rays; ray += kThreads) {
    const float squared = look_up_squared_ray(squared_by_bin, ray * step);
    rays[ray] = squared > kEmptyBin ? __fsqrt_rn(squared) : kEmptyRay;
  }
}

__global__ void __launch_bounds__(kThreads) directions_kernel(RayDirection* directions, int count) {
  const int ray = blockIdx.x * kThreads + threadIdx.x;
  if (ray < count) directions[ray] = ray_direction(ray, count);
}

struct KeepLongest {
  float* rays;
  __device__ void operator()(int ray, float length) const {
    // Shorter lengths would change nothing and, where negative, break the order of the bits.
    if (length > kEmptyRay) atomic_max(rays + ray, length);
  }
};

__device__ Offset offset_of(const float* point, float origin_x, float origin_y) {
  return offset_to(point[0], point[1], origin_x, origin_y);
}

__device__ SeenVertex see_point(const float* point, float origin_x, float origin_y,
                                const RayFan& fan) {
  const float dx = point[0] - origin_x;
  const float dy = point[1] - origin_y;
  const float approximate = approximate_degrees(dx, dy);
  const int sector = cheap_sector(dx, dy, approximate, fan.count);
  if (sector != kNoSector) return {sector, false};
  return see_exactly(dx, dy, approximate, offset_of(point, origin_x, origin_y), fan);
}

// Crossings are few (about one for each ray), so they go to the result in global memory directly,
// which leaves the number of rays unbounded by shared memory.
__global__ void __launch_bounds__(kThreads) exact_rays_kernel(PolarRayProblem problem, RayFan fan) {
  const int64_t location = blockIdx.x;
  const Contour contour = contour_of(problem, location);
  const float origin_x = problem.locations[2 * location];
  const float origin_y = problem.locations[2 * location + 1];
  float* rays = problem.rays + location * problem.num_rays;

  for (int ray = threadIdx.x; ray < problem.num_rays; ray += kThreads) rays[ray] = kEmptyRay;
  __syncthreads();
  KeepLongest keep{rays};
  for (int64_t i = threadIdx.x; i < contour.size; i += kThreads) {
    const float* point = contour.points + 2 * i;
    const float* previous = contour.points + 2 * (i == 0 ? contour.size - 1 : i - 1);
    const SeenVertex p = see_point(previous, origin_x, origin_y, fan);
    const SeenVertex q = see_point(point, origin_x, origin_y, fan);
    if (q.on_ray) keep_touch(q, offset_of(point, origin_x, origin_y), fan, keep);
    if (p.sector == kNoSector || q.sector == kNoSector || p.sector == q.sector) continue;
    cross_edge(p.sector, q.sector, offset_of(previous, origin_x, origin_y),
               offset_of(point, origin_x, origin_y), fan, keep);
  }
}

}  // namespace

int launch_binned_rays(const PolarRayProblem& problem, void* stream) {
  if (problem.num_locations == 0) return cudaSuccess;
  const dim3 blocks(static_cast<unsigned>(problem.num_locations));
  binned_rays_kernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(problem);
  return cudaGetLastError();
}

int launch_exact_rays(const PolarRayProblem& problem, RayDirection* directions, void* stream) {
  if (problem.num_locations == 0) return cudaSuccess;
  const int stride = RayFan::stride_for(problem.num_rays);
  const int count = problem.num_rays * stride;
  const auto cuda_stream = static_cast<cudaStream_t>(stream);
  const int direction_blocks = (count + kThreads - 1) / kThreads;
  directions_kernel<<<direction_blocks, kThreads, 0, cuda_stream>>>(directions, count);
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) return error;
  const dim3 blocks(static_cast<unsigned>(problem.num_locations));
  const RayFan fan{directions, count, stride};
  exact_rays_kernel<<<blocks, kThreads, 0, cuda_stream>>>(problem, fan);
  return cudaGetLastError();
}

}  // namespace polarseg
