// How the CPU looks at a contour: one pass over its points that vectorises and marks the few that
// matter, then a list of those.
#pragma once

#include <cstdint>
#include <vector>

#include "polar_rays.h"

namespace polarseg {

// Points of one contour, and where their rays start.
struct ContourView {
  const float* points;  // [size, 2] x, y
  int64_t size;
  float origin_x;
  float origin_y;

  float dx(int64_t i) const { return points[2 * i] - origin_x; }
  float dy(int64_t i) const { return points[2 * i + 1] - origin_y; }
};

// Locations that look at one contour, and where their rays go.
struct LocationGroup {
  const float* points;  // [size, 2] x, y
  int64_t size;
  const float* locations;  // x, y of all locations
  const int64_t* numbers;  // [count] which of them
  int count;
  float* rays;  // [all locations, num_rays]
  int num_rays;

  const float* origin(int n) const { return locations + 2 * numbers[n]; }
  float* row(int n) const { return rays + numbers[n] * num_rays; }
  ContourView view(int n) const { return {points, size, origin(n)[0], origin(n)[1]}; }
};

// In ContourScan::marks: the point has to be looked at.
constexpr int32_t kMarked = 1 << 30;

// What a thread writes about the contour it is looking at; room for the longest of them.
struct ContourScan {
  static constexpr int64_t kSpare = 16;  // whole vectors are written

  std::vector<float> degrees;   // of each point, by the cheap angle (mode binned)
  std::vector<int32_t> sector;  // of each point (mode exact)
  std::vector<int32_t> marks;   // of each point
  std::vector<int32_t> chosen;  // indices of the points that are to be looked at

  ContourScan(int64_t longest, bool exact)
      : degrees(exact ? 0 : longest),
        sector(exact ? longest : 0),
        marks(longest),
        chosen(longest + kSpare) {}
};

// Enters the indices i of [0, size) with marks[i] & kMarked into chosen, in order; returns their
// number. chosen: room for size + ContourScan::kSpare.
int64_t choose_marked(const int32_t* marks, int64_t size, int32_t* chosen);

// Which ray looks at each degree bin first, or -1: the same for all contours of a call.
struct PrimaryBins {
  int num_rays;
  int step;
  int16_t ray_of_bin[kNumBins];

  explicit PrimaryBins(int num_rays) : num_rays(num_rays), step(360 / num_rays) {
    for (int16_t& ray : ray_of_bin) ray = -1;
    for (int ray = 0; ray < num_rays; ++ray) ray_of_bin[ray * step] = static_cast<int16_t>(ray);
  }
};

// Squared length of every ray by the binned rule, kEmptyBin where it meets nothing. rays:
// [num_rays].
void squared_binned_rays(const ContourView& contour, const PrimaryBins& bins, ContourScan& scan,
                         float* rays);

// Length of every ray to the farthest crossing with the polygon. rays: [num_rays].
void exact_rays(const ContourView& contour, const RayFan& fan, int num_rays, ContourScan& scan,
                float* rays);

// The same results for all locations that look at one contour, by vectors of one instruction set.
struct GroupKernels {
  void (*squared_binned_rays)(const LocationGroup& group);
  void (*exact_rays)(const LocationGroup& group, const RayFan& fan);

  // Rays must be far enough from each other.
  static constexpr int kLeastStep = 8;   // degrees, mode binned
  static constexpr int kMostRays = 360;  // of the fan, mode exact
};

// Null where they are not compiled.
const GroupKernels* avx2_kernels();
const GroupKernels* avx512_kernels();

}  // namespace polarseg
