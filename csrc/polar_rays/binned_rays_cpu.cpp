// The binned rule on the CPU.
//
// Most rays find a point in their own degree, so at first only the points of those degrees are
// looked at, one in ten for 36 rays. For rays left empty, the neighbouring degrees are.
#include <algorithm>

#include "../common/multiversion.h"
#include "polar_rays_scan.h"

namespace polarseg {
namespace {

// Where a point that is not finite goes: no ray looks there.
constexpr int kNoBin = kNumBins;

// In ContourScan::place beside the bin: the cheap angle does not settle it. Marked are such points
// and those of the bins where a ray looks first.
constexpr int32_t kUnsettled = 1 << 29;
constexpr int32_t kBinBits = kUnsettled - 1;

// The bin of every point, with its marks.
POLARSEG_MULTIVERSION void look_for_bins(const float* points, int64_t size, float origin_x,
                                         float origin_y, float step, int32_t* place) {
  const float rays_per_degree = 1.f / step;
  for (int64_t i = 0; i < size; ++i) {
    const float dx = points[2 * i] - origin_x;
    const float dy = points[2 * i + 1] - origin_y;
    const float approximate = approximate_degrees(dx, dy);
    const float degrees = approximate > 0.f ? approximate : 0.f;
    // Degrees behind the last ray; next to a border, where rounding matters, the bin is unsettled.
    const float behind =
        degrees - step * static_cast<float>(static_cast<int>(degrees * rays_per_degree));
    const int bin = cheap_degree_bin(approximate);
    const int settled = behind < 1.f ? bin | kMarked : bin;
    const int found = bin < 0 ? kMarked | kUnsettled : settled;
    place[i] = sum_of_squares(dx, dy) <= FLT_MAX ? found : kNoBin;
  }
}

// Marks the points in the bins that `wanted` has marked.
POLARSEG_MULTIVERSION void mark_wanted(const int32_t* __restrict wanted,
                                       const int32_t* __restrict place, int64_t size,
                                       int32_t* __restrict marks) {
  for (int64_t i = 0; i < size; ++i) marks[i] = wanted[place[i] & kBinBits];
}

void enter(const ContourView& contour, int64_t i, float& squared) {
  squared = std::max(squared, sum_of_squares(contour.dx(i), contour.dy(i)));
}

// The rays that are empty still take the nearest of the other bins that holds a point.
void fill_empty_rays(const ContourView& contour, const PrimaryBins& bins, ContourScan& scan,
                     float* rays) {
  int32_t wanted[kNumBins + 1] = {};  // with kNoBin
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
  const int32_t* place = scan.place.data();
  mark_wanted(wanted, place, contour.size, scan.marks.data());
  const int64_t count = choose_marked(scan.marks.data(), contour.size, scan.chosen.data());
  for (int64_t n = 0; n < count; ++n) {
    const int32_t i = scan.chosen[n];
    enter(contour, i, squared_by_bin[place[i] & kBinBits]);
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
  look_for_bins(contour.points, contour.size, contour.origin_x, contour.origin_y,
                static_cast<float>(bins.step), scan.place.data());
  int32_t* place = scan.place.data();
  const int64_t count = choose_marked(place, contour.size, scan.chosen.data());
  for (int64_t n = 0; n < count; ++n) {
    const int32_t i = scan.chosen[n];
    if (place[i] & kUnsettled) place[i] = exact_degree_bin(contour.dx(i), contour.dy(i));
    const int ray = bins.ray_of_bin[place[i] & kBinBits];
    if (ray >= 0) enter(contour, i, rays[ray]);
  }
  float* const end = rays + bins.num_rays;
  if (std::find(rays, end, kEmptyBin) != end) fill_empty_rays(contour, bins, scan, rays);
}

}  // namespace polarseg
