// polar_ray_targets on the CPU: one task per location, so the result does not depend on the number
// of threads.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gt.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <vector>

#include "polar_rays_check.h"
#include "polar_rays_ops.h"
#include "polar_rays_scan.h"

namespace polarseg {
namespace {

void check_offsets(const int64_t* offsets, int64_t num_instances, int64_t num_points) {
  TORCH_CHECK_VALUE(offsets[0] == 0, "polar_ray_targets: offsets must begin with 0, got ",
                    offsets[0], ".");
  for (int64_t g = 0; g < num_instances; ++g) {
    TORCH_CHECK_VALUE(offsets[g] <= offsets[g + 1],
                      "polar_ray_targets: offsets must not decrease, but offsets[", g, "] is ",
                      offsets[g], " and offsets[", g + 1, "] is ", offsets[g + 1], ".");
  }
  TORCH_CHECK_VALUE(offsets[num_instances] == num_points,
                    "polar_ray_targets: offsets must end with the number of contour points, ",
                    num_points, ", got ", offsets[num_instances], ".");
}

int64_t longest_contour(const int64_t* offsets, int64_t num_instances) {
  int64_t longest = 0;
  for (int64_t g = 0; g < num_instances; ++g) {
    longest = std::max(longest, offsets[g + 1] - offsets[g]);
  }
  TORCH_CHECK_VALUE(longest <= std::numeric_limits<int32_t>::max(),
                    "polar_ray_targets: a contour has ", longest, " points, at most ",
                    std::numeric_limits<int32_t>::max(), " are possible.");
  return longest;
}

void check_instance_index(const int64_t* instance_index, int64_t num_locations,
                          int64_t num_instances) {
  for (int64_t n = 0; n < num_locations; ++n) {
    TORCH_CHECK_INDEX(instance_index[n] >= 0 && instance_index[n] < num_instances,
                      "polar_ray_targets: instance_index[", n, "] is ", instance_index[n],
                      ", but there are ", num_instances, " instances.");
  }
}

}  // namespace

at::Tensor polar_ray_targets_cpu(const at::Tensor& contours, const at::Tensor& offsets,
                                 const at::Tensor& locations, const at::Tensor& instance_index,
                                 int64_t num_rays, std::string_view mode) {
  const PolarRayArguments args =
      check_arguments(contours, offsets, locations, instance_index, num_rays, mode);
  const float* origins = args.locations.const_data_ptr<float>();
  const int64_t* starts = args.offsets.const_data_ptr<int64_t>();
  const int64_t* instances = args.instance_index.const_data_ptr<int64_t>();
  check_offsets(starts, args.num_instances(), args.num_points());
  check_instance_index(instances, args.num_locations(), args.num_instances());

  const int stride = RayFan::stride_for(args.num_rays);
  std::vector<RayDirection> directions(args.exact ? args.num_rays * stride : 0);
  const int count = static_cast<int>(directions.size());
  for (int ray = 0; ray < count; ++ray) directions[ray] = ray_direction(ray, count);
  const RayFan fan{directions.data(), count, stride};

  at::Tensor rays = at::empty({args.num_locations(), num_rays}, args.locations.options());
  float* output = rays.mutable_data_ptr<float>();
  const int64_t work =
      args.num_rays + args.num_points() / std::max<int64_t>(args.num_instances(), 1);
  const int64_t grain = std::max<int64_t>(1, 16384 / work);
  const at::Tensor transposed = args.contours.t().contiguous();
  const float* all_x = transposed.const_data_ptr<float>();
  const float* all_y = all_x + args.num_points();
  const PrimaryBins bins(args.exact ? 1 : args.num_rays);
  const int64_t longest = longest_contour(starts, args.num_instances());
  at::parallel_for(0, args.num_locations(), grain, [&](int64_t begin, int64_t end) {
    ContourScan scan(longest);
    for (int64_t n = begin; n < end; ++n) {
      const int64_t start = starts[instances[n]];
      const ContourView contour{all_x + start, all_y + start, starts[instances[n] + 1] - start,
                                origins[2 * n], origins[2 * n + 1]};
      float* row = output + n * num_rays;
      if (args.exact) {
        exact_rays(contour, fan, args.num_rays, scan, row);
      } else {
        squared_binned_rays(contour, bins, scan, row);
      }
    }
  });
  // The root is torch's own. On a CPU it may come from a vector maths library that is off by a unit
  // in the last place, and the published lengths were taken with it: bit for bit means by it, too.
  return args.exact ? rays : at::where(at::gt(rays, kEmptyBin), at::sqrt(rays), kEmptyRay);
}

}  // namespace polarseg
