// Launchers of the CUDA kernels: pointers, sizes and a stream, so that nvcc compiles the kernels
// without torch. All pointers are device memory; all functions return at once, and return a CUDA
// error code (cudaError_t) of the launch.
#pragma once

#include <cstdint>

#include "polar_rays.h"

namespace polarseg {

// What both modes read and write; see polar_ray_targets.
struct PolarRayProblem {
  const float* contours;          // (num_points, 2)
  const int64_t* offsets;         // (num_instances + 1,)
  const float* locations;         // (num_locations, 2)
  const int64_t* instance_index;  // (num_locations,)
  float* rays;                    // (num_locations, num_rays), written
  int64_t num_points;
  int64_t num_instances;
  int64_t num_locations;
  int num_rays;
};

int launch_binned_rays(const PolarRayProblem& problem, void* stream);

// directions: room for num_rays * RayFan::stride_for(num_rays) entries, written first.
int launch_exact_rays(const PolarRayProblem& problem, RayDirection* directions, void* stream);

}  // namespace polarseg
