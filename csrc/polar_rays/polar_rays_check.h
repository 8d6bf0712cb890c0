// Argument checks of polar_ray_targets that cost no look at the data, and the operator's pieces
// that the CPU and CUDA bindings share.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace polarseg {

// Arguments after checking: contiguous, offsets and indices as int64.
struct PolarRayArguments {
  at::Tensor contours;        // (P, 2) float32
  at::Tensor offsets;         // (G + 1,) int64
  at::Tensor locations;       // (N, 2) float32
  at::Tensor instance_index;  // (N,) int64
  int num_rays;
  bool exact;

  int64_t num_points() const { return contours.size(0); }
  int64_t num_instances() const { return offsets.size(0) - 1; }
  int64_t num_locations() const { return locations.size(0); }
};

constexpr int64_t kMaxRays = int64_t{1} << 20;

inline void check_points(const at::Tensor& points, const char* name) {
  TORCH_CHECK_TYPE(points.scalar_type() == at::kFloat, "polar_ray_targets: ", name,
                   " must be float32, got ", points.scalar_type(), ".");
  TORCH_CHECK_VALUE(points.dim() == 2 && points.size(1) == 2, "polar_ray_targets: ", name,
                    " must have shape (n, 2), x and y of each point, got ", points.sizes(), ".");
}

inline void check_integers(const at::Tensor& integers, const char* name) {
  const auto type = integers.scalar_type();
  TORCH_CHECK_TYPE(type == at::kLong || type == at::kInt, "polar_ray_targets: ", name,
                   " must be int64 or int32, got ", type, ".");
  TORCH_CHECK_VALUE(integers.dim() == 1, "polar_ray_targets: ", name,
                    " must have one dimension, got shape ", integers.sizes(), ".");
}

inline void check_same_device(const at::Tensor& contours, const at::Tensor& other,
                              const char* name) {
  TORCH_CHECK_VALUE(other.device() == contours.device(), "polar_ray_targets: ", name, " is on ",
                    other.device(), " but contours is on ", contours.device(),
                    "; all tensors must be on one device.");
}

// Contiguous int64; without a call of an operator where nothing is to be done.
inline at::Tensor as_long(const at::Tensor& integers) {
  return (integers.scalar_type() == at::kLong ? integers : integers.to(at::kLong)).contiguous();
}

inline bool check_mode(std::string_view mode, int64_t num_rays) {
  TORCH_CHECK_VALUE(mode == "binned" || mode == "exact",
                    "polar_ray_targets: mode must be 'binned' or 'exact', got '", mode, "'.");
  TORCH_CHECK_VALUE(num_rays >= 1 && num_rays <= kMaxRays,
                    "polar_ray_targets: num_rays must be between 1 and ", kMaxRays, ", got ",
                    num_rays, ".");
  TORCH_CHECK_VALUE(mode == "exact" || 360 % num_rays == 0,
                    "polar_ray_targets: num_rays must divide 360 in mode 'binned', got ", num_rays,
                    ".");
  return mode == "exact";
}

inline PolarRayArguments check_arguments(const at::Tensor& contours, const at::Tensor& offsets,
                                         const at::Tensor& locations,
                                         const at::Tensor& instance_index, int64_t num_rays,
                                         std::string_view mode) {
  const bool exact = check_mode(mode, num_rays);
  check_points(contours, "contours");
  check_points(locations, "locations");
  check_integers(offsets, "offsets");
  check_integers(instance_index, "instance_index");
  check_same_device(contours, offsets, "offsets");
  check_same_device(contours, locations, "locations");
  check_same_device(contours, instance_index, "instance_index");
  TORCH_CHECK_VALUE(offsets.size(0) >= 1,
                    "polar_ray_targets: offsets must have one entry more than there are instances, "
                    "got an empty tensor.");
  TORCH_CHECK_VALUE(instance_index.size(0) == locations.size(0),
                    "polar_ray_targets: instance_index must have one entry for each location, got ",
                    instance_index.size(0), " for ", locations.size(0), " locations.");
  TORCH_CHECK_VALUE(locations.size(0) == 0 || offsets.size(0) >= 2, "polar_ray_targets: got ",
                    locations.size(0), " locations but offsets describes no instance.");
  return {contours.contiguous(),   as_long(offsets),           locations.contiguous(),
          as_long(instance_index), static_cast<int>(num_rays), exact};
}

}  // namespace polarseg
