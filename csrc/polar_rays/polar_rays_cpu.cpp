// polar_ray_targets on the CPU: one task per location, so the result does not depend on the number
// of threads.
#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/ops/sqrt_cpu_dispatch.h>
#include <c10/util/ParallelGuard.h>

#include <algorithm>
#include <atomic>
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

// How the locations are shared out.
struct Shares {
  int64_t threads;              // that are worth waking
  std::vector<int64_t> bounds;  // of runs of locations that take about the same time
};

// Equal numbers of locations would not do: the large objects come last, as their levels do. There
// are more runs than threads, and each thread takes the next: one that sleeps comes late.
Shares equal_shares(const PolarRayArguments& args, const int64_t* offsets,
                    const int64_t* instance_index) {
  constexpr int64_t kLeast = 65536;  // points worth a thread
  constexpr int64_t kEach = 256;     // what a location takes besides, in points
  constexpr int64_t kRuns = 8;       // for each thread
  std::vector<int64_t> done(args.num_locations() + 1, 0);
  for (int64_t n = 0; n < args.num_locations(); ++n) {
    const int64_t* own = offsets + instance_index[n];
    done[n + 1] = done[n] + (own[1] - own[0]) + args.num_rays + kEach;
  }
  const int64_t total = done.back();
  Shares shares{std::clamp<int64_t>(total / kLeast, 1, at::get_num_threads()), {}};
  const int64_t runs = shares.threads == 1 ? 1 : shares.threads * kRuns;
  for (int64_t run = 0; run <= runs; ++run) {
    const double share = static_cast<double>(total) / runs * run;
    shares.bounds.push_back(std::lower_bound(done.begin(), done.end() - 1, share) - done.begin());
  }
  return shares;
}

// Lengths from squared lengths, in place. The root is torch's own: on a CPU it may come from a
// vector maths library that is off by a unit in the last place, and the published lengths were
// taken with it: bit for bit means by it, too.
void take_roots(at::Tensor& squared) {
  {
    const c10::ParallelGuard on_this_thread(true);  // it is not worth waking another
    at::cpu::sqrt_(squared);
  }
  float* rays = squared.mutable_data_ptr<float>();
  const int64_t size = squared.numel();
  for (int64_t i = 0; i < size; ++i)
    rays[i] = rays[i] >= 0.f ? rays[i] : kEmptyRay;  // of kEmptyBin
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
  const PrimaryBins bins(args.exact ? 1 : args.num_rays);

  const bool avx512 = args.exact ? can_cross_by_avx512(fan) : can_bin_by_avx512(bins.step);
  at::Tensor rays = at::detail::empty_cpu({args.num_locations(), num_rays}, at::kFloat);
  float* output = rays.mutable_data_ptr<float>();
  const float* points = args.contours.const_data_ptr<float>();
  const int64_t longest = longest_contour(starts, args.num_instances());
  const Shares shares = equal_shares(args, starts, instances);
  const auto runs = static_cast<int64_t>(shares.bounds.size()) - 1;
  std::atomic<int64_t> next{0};
  at::parallel_for(0, shares.threads, 1, [&](int64_t, int64_t) {
    ContourScan scan(avx512 ? 0 : longest, args.exact);
    for (int64_t run = next++; run < runs; run = next++) {
      for (int64_t n = shares.bounds[run]; n < shares.bounds[run + 1]; ++n) {
        const int64_t start = starts[instances[n]];
        const ContourView contour{points + 2 * start, starts[instances[n] + 1] - start,
                                  origins[2 * n], origins[2 * n + 1]};
        float* row = output + n * num_rays;
        if (args.exact && avx512) {
          exact_rays_avx512(contour, fan, args.num_rays, row);
        } else if (args.exact) {
          exact_rays(contour, fan, args.num_rays, scan, row);
        } else if (avx512) {
          squared_binned_rays_avx512(contour, bins, row);
        } else {
          squared_binned_rays(contour, bins, scan, row);
        }
      }
    }
  });
  if (!args.exact) take_roots(rays);
  return rays;
}

}  // namespace polarseg
