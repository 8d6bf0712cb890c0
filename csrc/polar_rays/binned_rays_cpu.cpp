// The binned rule on the CPU.
//
// Most rays find a point in their own degree, so at first only the points of those degrees are
// looked at, one in ten for 36 rays. For rays left empty, the neighbouring degrees are.
#include <algorithm>

#include "../common/multiversion.h"
#include "polar_rays_scan.h"

namespace polarseg {
namespace {

// The angle of every point in degrees, and a mark where it is, or may be, in a bin where a ray
// looks first. What is not finite may have any angle.
POLARSEG_MULTIVERSION void look_at_angles(const float* points, int64_t size, float origin_x,
                                          float origin_y, float step, float* __restrict degrees,
                                          int32_t* __restrict marks) {
  const float rays_per_degree = 1.f / step;
  for (int64_t i = 0; i < size; ++i) {
    const float dx = points[2 * i] - origin_x;
    const float dy = points[2 * i + 1] - origin_y;
    const float approximate = approximate_degrees(dx, dy);
    const float angle = approximate > 0.f ? approximate : 0.f;  // NaN becomes 0, too
    const float behind_ray =
        angle - step * static_cast<float>(static_cast<int>(angle * rays_per_degree));
    const int near = (behind_ray < 1.f + kDegreesSlack) | (behind_ray > step - kDegreesSlack);
    degrees[i] = angle;
    marks[i] = near ? kMarked : 0;
  }
}

// Which bins are wanted, behind an entry for the points whose bin is not settled, which is -1.
struct WantedBins {
  int32_t marks[kNumBins + 1] = {kMarked};

  int32_t& operator[](int bin) { return marks[bin + 1]; }
};

// Marks the points in wanted bins.
POLARSEG_MULTIVERSION void mark_wanted(const int32_t* __restrict wanted,
                                       const float* __restrict degrees, int64_t size,
                                       int32_t* __restrict marks) {
  for (int64_t i = 0; i < size; ++i) marks[i] = wanted[cheap_degree_bin(degrees[i]) + 1];
}

struct BinnedPoint {
  int bin;  // negative where the point is not finite, and so no point
  float squared;
};

BinnedPoint settle(const ContourView& contour, const ContourScan& scan, int32_t i) {
  const float dx = contour.dx(i);
  const float dy = contour.dy(i);
  const float squared = sum_of_squares(dx, dy);
  if (!(squared <= FLT_MAX)) return {-1, squared};
  const int bin = cheap_degree_bin(scan.degrees[i]);
  return {bin >= 0 ? bin : exact_degree_bin(dx, dy), squared};
}

// The rays that are empty still take the nearest of the other bins that holds a point.
void fill_empty_rays(const ContourView& contour, const PrimaryBins& bins, ContourScan& scan,
                     float* rays) {
  WantedBins wanted;
  float squared_by_bin[kNumBins];
  for (int ray = 0; ray < bins.num_rays; ++ray) {
    if (rays[ray] > kEmptyBin) continue;
    const int own = ray * bins.step;
    const int last = std::min(own + 3, kNumBins - 1);
    for (int bin = std::max(own - 3, 0); bin <= last; ++bin) {
      wanted[bin] = kMarked;
      squared_by_bin[bin] = kEmptyBin;
    }
  }
  mark_wanted(wanted.marks, scan.degrees.data(), contour.size, scan.marks.data());
  const int64_t count = choose_marked(scan.marks.data(), contour.size, scan.chosen.data());
  for (int64_t n = 0; n < count; ++n) {
    const BinnedPoint point = settle(contour, scan, scan.chosen[n]);
    if (point.bin < 0 || !wanted[point.bin]) continue;
    squared_by_bin[point.bin] = std::max(squared_by_bin[point.bin], point.squared);
  }
  for (int ray = 0; ray < bins.num_rays; ++ray) {
    if (!(rays[ray] > kEmptyBin)) rays[ray] = look_up_squared_ray(squared_by_bin, ray * bins.step);
  }
}

}  // namespace

void squared_binned_rays(const ContourView& contour, const PrimaryBins& bins, ContourScan& scan,
                         float* rays) {
  std::fill_n(rays, bins.num_rays, kEmptyBin);
  if (contour.size == 0) return;
  look_at_angles(contour.points, contour.size, contour.origin_x, contour.origin_y,
                 static_cast<float>(bins.step), scan.degrees.data(), scan.marks.data());
  const int64_t count = choose_marked(scan.marks.data(), contour.size, scan.chosen.data());
  for (int64_t n = 0; n < count; ++n) {
    const BinnedPoint point = settle(contour, scan, scan.chosen[n]);
    const int ray = point.bin < 0 ? -1 : bins.ray_of_bin[point.bin];
    if (ray >= 0) rays[ray] = std::max(rays[ray], point.squared);
  }
  float* const end = rays + bins.num_rays;
  if (std::find(rays, end, kEmptyBin) != end) fill_empty_rays(contour, bins, scan, rays);
}

}  // namespace polarseg
