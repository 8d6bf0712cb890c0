// The functions behind polarseg::polar_ray_targets, one for each device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

namespace polarseg {

at::Tensor polar_ray_targets_cpu(const at::Tensor& contours, const at::Tensor& offsets,
                                 const at::Tensor& locations, const at::Tensor& instance_index,
                                 int64_t num_rays, std::string_view mode);

at::Tensor polar_ray_targets_cuda(const at::Tensor& contours, const at::Tensor& offsets,
                                  const at::Tensor& locations, const at::Tensor& instance_index,
                                  int64_t num_rays, std::string_view mode);

}  // namespace polarseg
