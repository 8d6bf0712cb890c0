// polar_ray_targets on the CPU: one task per location, so the result does not depend on the number
// of threads.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gt.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "polar_rays.h"
#include "polar_rays_check.h"
#include "polar_rays_ops.h"

namespace polarseg {
namespace {

struct Contour {
  const float* points;  // x, y of each
  int64_t size;
};

// Points are looked at in blocks: a first loop without branches takes differences and angles (and
// vectorises), a second one treats the few points for which that was not enough.
constexpr int64_t kBlock = 256;

struct Block {
  float dx[kBlock];
  float dy[kBlock];
  float degrees[kBlock];

  void look(const float* points, int64_t size, float origin_x, float origin_y) {
    for (int64_t i = 0; i < size; ++i) {
      const float x = points[2 * i] - origin_x;
      const float y = points[2 * i + 1] - origin_y;
      dx[i] = x;
      dy[i] = y;
      degrees[i] = approximate_degrees(x, y);
    }
  }
};

void fill_bins(Contour contour, float origin_x, float origin_y, float* squared_by_bin) {
  Block block;
  int bins[kBlock];
  float squared[kBlock];
  std::fill_n(squared_by_bin, kNumBins, kEmptyBin);
  for (int64_t start = 0; start < contour.size; start += kBlock) {
    const int64_t size = std::min(kBlock, contour.size - start);
    block.look(contour.points + 2 * start, size, origin_x, origin_y);
    for (int64_t i = 0; i < size; ++i) {
      bins[i] = cheap_degree_bin(block.degrees[i]);
      squared[i] = sum_of_squares(block.dx[i], block.dy[i]);
    }
    for (int64_t i = 0; i < size; ++i) {
      if (!(squared[i] <= FLT_MAX)) continue;  // not finite: no point
      const int bin = bins[i] >= 0 ? bins[i] : exact_degree_bin(block.dx[i], block.dy[i]);
      squared_by_bin[bin] = std::max(squared_by_bin[bin], squared[i]);
    }
  }
}

void squared_binned_rays(Contour contour, float origin_x, float origin_y, int num_rays,
                         float* rays) {
  float squared_by_bin[kNumBins];
  fill_bins(contour, origin_x, origin_y, squared_by_bin);
  const int step = 360 / num_rays;
  for (int ray = 0; ray < num_rays; ++ray) {
    rays[ray] = look_up_squared_ray(squared_by_bin, ray * step);
  }
}

struct KeepLongest {
  float* rays;
  void operator()(int ray, float length) { rays[ray] = std::max(rays[ray], length); }
};

void exact_rays(Contour contour, float origin_x, float origin_y, int num_rays, const RayFan& fan,
                float* rays) {
  std::fill_n(rays, num_rays, kEmptyRay);
  if (contour.size == 0) return;
  KeepLongest keep{rays};
  Block block;
  // The edge that closes the polygon comes first.
  const float* previous_point = contour.points + 2 * (contour.size - 1);
  block.look(previous_point, 1, origin_x, origin_y);
  SeenVertex previous = see_vertex(block.dx[0], block.dy[0], block.degrees[0], previous_point,
                                   origin_x, origin_y, fan);
  for (int64_t start = 0; start < contour.size; start += kBlock) {
    const int64_t size = std::min(kBlock, contour.size - start);
    block.look(contour.points + 2 * start, size, origin_x, origin_y);
    for (int64_t i = 0; i < size; ++i) {
      const float* point = contour.points + 2 * (start + i);
      const SeenVertex current =
          see_vertex(block.dx[i], block.dy[i], block.degrees[i], point, origin_x, origin_y, fan);
      visit_vertex(previous, current, previous_point, point, origin_x, origin_y, fan, keep);
      previous = current;
      previous_point = point;
    }
  }
}

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
  const float* points = args.contours.const_data_ptr<float>();
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
  at::parallel_for(0, args.num_locations(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t start = starts[instances[n]];
      const Contour contour{points + 2 * start, starts[instances[n] + 1] - start};
      const float x = origins[2 * n];
      const float y = origins[2 * n + 1];
      float* row = output + n * num_rays;
      if (args.exact) {
        exact_rays(contour, x, y, args.num_rays, fan, row);
      } else {
        squared_binned_rays(contour, x, y, args.num_rays, row);
      }
    }
  });
  // The root is torch's own. On a CPU it may come from a vector maths library that is off by a unit
  // in the last place, and the published lengths were taken with it: bit for bit means by it, too.
  return args.exact ? rays : at::where(at::gt(rays, kEmptyBin), at::sqrt(rays), kEmptyRay);
}

}  // namespace polarseg
