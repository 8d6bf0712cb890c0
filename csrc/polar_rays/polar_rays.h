// Ray lengths from a location to an instance contour: the arithmetic that the CPU and the CUDA
// operator share. Plain C++17 without torch, so that a host compiler and nvcc both take it alone.
//
// Angles follow PolarMask (arXiv 1909.13226): the angle of a point seen from a location is
// atan2(dx, dy) in degrees, x to the right and y down. Angle 0 points down, 90 points right.
//
// Two results must not depend on the compiler: the binned rule repeats float32 arithmetic operation
// by operation, and the side of a ray on which a point lies must come out the same each time that
// it is asked for. So no product is fused into a sum here: intrinsics see to that on the device,
// -ffp-contract=off (setup.py) on the host.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "../common/host_device.h"

namespace polarseg {

// The length of a ray that meets nothing. It is not 0, so that ratios and logarithms of lengths
// stay finite.
constexpr float kEmptyRay = 1e-6f;

// ---- arithmetic without fused multiply-add ------------------------------------------------------

POLARSEG_HOST_DEVICE inline float sum_of_squares(float x, float y) {
#if defined(__CUDA_ARCH__)
  return __fadd_rn(__fmul_rn(x, x), __fmul_rn(y, y));
#else
  return x * x + y * y;
#endif
}

// a * b + c * d
POLARSEG_HOST_DEVICE inline double sum_of_products(double a, double b, double c, double d) {
#if defined(__CUDA_ARCH__)
  return __dadd_rn(__dmul_rn(a, b), __dmul_rn(c, d));
#else
  return a * b + c * d;
#endif
}

// ---- angles -------------------------------------------------------------------------------------

// approximate_degrees() is off by less than this (the polynomial by 6.6e-4, rounding by 1e-4);
// whoever needs a sharper answer this near a border asks for the exact one.
constexpr float kDegreesSlack = 2e-3f;

// atan2(dx, dy) in degrees, in [0, 360], by an odd minimax polynomial of degree 9 on one octant.
// Without branches, so that a loop over points vectorises. (0, 0) gives NaN, a difference that is
// not finite any number of that interval or NaN.
POLARSEG_HOST_DEVICE inline float approximate_degrees(float dx, float dy) {
  const float x = std::fabs(dx);
  const float y = std::fabs(dy);
  const float larger = x > y ? x : y;
  const float smaller = x > y ? y : x;
  const float t = smaller / larger;
  const float u = t * t;
  float degrees = 1.19433474f;
  degrees = degrees * u - 4.879095f;
  degrees = degrees * u + 10.3223644f;
  degrees = degrees * u - 18.9250696f;
  degrees = degrees * u + 57.2881207f;
  degrees = degrees * t;
  degrees = x > y ? 90.f - degrees : degrees;
  degrees = dy < 0.f ? 180.f - degrees : degrees;
  degrees = dx < 0.f ? 360.f - degrees : degrees;
  return degrees;
}

// ---- mode "binned": the published rule ----------------------------------------------------------

// Bins of one degree. Bin 360 exists because 360 minus a tiny angle rounds to 360 in float32.
constexpr int kNumBins = 361;
// What a bin without points holds; any squared length is larger.
constexpr float kEmptyBin = -1.f;

// The whole degree of a point, 0..360, in the published float32 steps: atan2, times 180, divided by
// pi, plus 360 if negative, truncated. The arc tangent is taken in double and rounded once, which
// leaves nothing to the maths library in use, but for the one place where the published steps are
// visibly off: torch's vectorised float32 atan2 is a unit in the last place below pi / 4 on the
// diagonal, which puts its points into degree 44.
POLARSEG_HOST_DEVICE inline int exact_degree_bin(float dx, float dy) {
  if (dx == dy && dx > 0.f) return 44;
  const float radians = static_cast<float>(atan2(static_cast<double>(dx), static_cast<double>(dy)));
  constexpr float kPi = 3.14159265358979323846f;
#if defined(__CUDA_ARCH__)
  float degrees = __fdiv_rn(__fmul_rn(radians, 180.f), kPi);
#else
  float degrees = radians * 180.f / kPi;
#endif
  if (degrees < 0.f) degrees += 360.f;
  return static_cast<int>(degrees);
}

// The same from the cheap angle, or -1 where that is too near a whole degree to be sure. Without
// branches, so that a loop over points vectorises.
POLARSEG_HOST_DEVICE inline int cheap_degree_bin(float approximate) {
  const float bounded = approximate > 0.f ? approximate : 0.f;  // NaN becomes 0, too
  const int bin = static_cast<int>(bounded);
  const float fraction = bounded - static_cast<float>(bin);
  const int unsure = (fraction <= kDegreesSlack) | (fraction >= 1.f - kDegreesSlack);
  return bin | -unsure;
}

// Squared length of the ray at a whole angle, from the largest squared length of each bin, or
// kEmptyBin. Of the seven nearest bins the first that holds a point counts; the bins do not wrap
// around.
POLARSEG_HOST_DEVICE inline float look_up_squared_ray(const float* squared_by_bin, int angle) {
  for (int turn = 0; turn < 7; ++turn) {
    const int offset = (turn + 1) / 2;  // 0, 1, 1, 2, 2, 3, 3
    const int bin = (turn % 2 == 1) ? angle + offset : angle - offset;
    if (bin < 0 || bin >= kNumBins) continue;
    if (squared_by_bin[bin] > kEmptyBin) return squared_by_bin[bin];
  }
  return kEmptyBin;
}

// ---- mode "exact": the farthest intersection with the polygon -----------------------------------
//
// Every vertex is put into a sector: k, if it lies at or after ray k and before ray k + 1. An edge
// then crosses exactly the rays between the sectors of its ends, which are integers that both edges
// of a vertex share. So a ray through a vertex, or next to it, cannot slip between the two edges,
// whatever the rounding: walking round a polygon that encloses the location visits every ray.

struct RayDirection {
  double sine;
  double cosine;
};

// Direction of ray `index` of `count`: the angle 360 / count * index, reduced to one octant in
// integers, so that rays at multiples of 45 degrees are exact and opposite rays are opposite.
POLARSEG_HOST_DEVICE inline RayDirection ray_direction(int64_t index, int64_t count) {
  const int64_t octant = 8 * index / count;
  int64_t numerator = 8 * index - octant * count;
  if (octant % 2 == 1) numerator = count - numerator;
  constexpr double kQuarterPi = 0.78539816339744830962;
  const double angle = kQuarterPi * static_cast<double>(numerator) / static_cast<double>(count);
  const double s = numerator == count ? 0.70710678118654752440 : sin(angle);
  const double c = numerator == count ? 0.70710678118654752440 : cos(angle);
  switch (octant) {
    case 0:
      return {s, c};
    case 1:
      return {c, s};
    case 2:
      return {c, -s};
    case 3:
      return {s, -c};
    case 4:
      return {-s, -c};
    case 5:
      return {-c, -s};
    case 6:
      return {-c, s};
    default:
      return {-s, c};
  }
}

// The rays among which vertices are sorted: the wanted ones, and with fewer than eight of these,
// further ones between them. Sectors of at most 45 degrees leave no doubt which way round an edge
// runs.
struct RayFan {
  const RayDirection* directions;  // [count]
  int count;
  int stride;  // every stride-th ray is wanted

  // The wanted ray that a ray of the fan is, or -1. Divisions are slow, and rarely needed.
  POLARSEG_HOST_DEVICE int wanted(int ray) const {
    if (stride == 1) return ray;
    return ray % stride == 0 ? ray / stride : -1;
  }

  POLARSEG_HOST_DEVICE static int stride_for(int num_rays) {
    return num_rays >= 8 ? 1 : (8 + num_rays - 1) / num_rays;
  }
};

struct Offset {
  double x;
  double y;
};

// From the location to a vertex. Differences and products of float32 pixel coordinates are exact
// in double.
POLARSEG_HOST_DEVICE inline Offset offset_to(float x, float y, float origin_x, float origin_y) {
  return {static_cast<double>(x) - static_cast<double>(origin_x),
          static_cast<double>(y) - static_cast<double>(origin_y)};
}

// |b| |a| sin(angle of b - angle of a)
POLARSEG_HOST_DEVICE inline double turn_between(Offset a, Offset b) {
  return sum_of_products(b.x, a.y, -b.y, a.x);
}

// Signed distance of p from the line of the ray, positive towards larger angles.
POLARSEG_HOST_DEVICE inline double side_of_ray(RayDirection ray, Offset p) {
  return sum_of_products(ray.cosine, p.x, -ray.sine, p.y);
}

POLARSEG_HOST_DEVICE inline double along_ray(RayDirection ray, Offset p) {
  return sum_of_products(ray.sine, p.x, ray.cosine, p.y);
}

// A vertex as the walk sees it.
struct SeenVertex {
  int sector;   // kNoSector if the vertex coincides with the location or is not finite
  bool on_ray;  // it lies exactly on the ray that opens its sector
};

constexpr int kNoSector = -1;

POLARSEG_HOST_DEVICE inline int wrap(int ray, int count) {
  return ray < 0 ? ray + count : (ray >= count ? ray - count : ray);
}

// The sector of a vertex from its cheap angle, or kNoSector where that is too near a ray to be
// sure, or the vertex is nowhere (at the location, not finite). Without branches, so that a loop
// over vertices vectorises. dx, dy: the float32 differences.
POLARSEG_HOST_DEVICE inline int cheap_sector(float dx, float dy, float approximate, int count) {
  const float rays_per_degree = static_cast<float>(count) / 360.f;
  const float slack = kDegreesSlack * rays_per_degree;
  const float reach = std::fabs(dx) + std::fabs(dy);
  const int nowhere = !(reach > 0.f) | !(reach <= FLT_MAX);
  const float bounded = approximate > 0.f ? approximate : 0.f;  // NaN becomes 0, too
  const float position = bounded * rays_per_degree;
  const int ray = static_cast<int>(position);
  const float fraction = position - static_cast<float>(ray);
  const int unsure = (fraction <= slack) | (fraction >= 1.f - slack) | (ray >= count);
  return ray | -(unsure | nowhere);
}

// The same without doubt; p: the vertex from the location, in double.
POLARSEG_HOST_DEVICE inline SeenVertex see_exactly(float dx, float dy, float approximate, Offset p,
                                                   const RayFan& fan) {
  const float reach = std::fabs(dx) + std::fabs(dy);
  if (!(reach > 0.f && reach <= FLT_MAX)) return {kNoSector, false};
  const float rays_per_degree = static_cast<float>(fan.count) / 360.f;
  int ray = wrap(static_cast<int>(approximate * rays_per_degree), fan.count);
  while (side_of_ray(fan.directions[ray], p) < 0.) ray = wrap(ray - 1, fan.count);
  while (side_of_ray(fan.directions[wrap(ray + 1, fan.count)], p) >= 0.) {
    ray = wrap(ray + 1, fan.count);
  }
  return {ray, side_of_ray(fan.directions[ray], p) == 0.};
}

// Records, through keep(ray, length), a vertex on a ray: a polygon that only touches the ray
// crosses nothing there.
template <typename Keep>
POLARSEG_HOST_DEVICE inline void keep_touch(const SeenVertex& vertex, Offset p, const RayFan& fan,
                                            Keep& keep) {
  if (vertex.sector == kNoSector || !vertex.on_ray) return;
  const int wanted = fan.wanted(vertex.sector);
  if (wanted >= 0) keep(wanted, static_cast<float>(along_ray(fan.directions[vertex.sector], p)));
}

// Where the ray meets the edge p-q, which it crosses. turn: turn_between(p, q).
POLARSEG_HOST_DEVICE inline float crossing_length(RayDirection ray, Offset p, Offset q,
                                                  double turn) {
  const double along_p = along_ray(ray, p);
  const double along_q = along_ray(ray, q);
  const double nearer = along_p < along_q ? along_p : along_q;
  const double farther = along_p < along_q ? along_q : along_p;
  double length = turn / (side_of_ray(ray, q) - side_of_ray(ray, p));
  // An almost radial edge leaves little but rounding in both terms; its ends bound the truth.
  length = length > nearer ? length : nearer;
  length = length < farther ? length : farther;
  return static_cast<float>(length);
}

// Records, through keep(ray of the fan, length), every crossing of the edge p-q with a ray.
template <typename Keep>
POLARSEG_HOST_DEVICE inline void cross_edge(int sector_p, int sector_q, Offset p, Offset q,
                                            const RayFan& fan, Keep& keep) {
  const int ahead = wrap(sector_q - sector_p, fan.count);
  const double turn = turn_between(p, q);
  // The angle between p and q is within one sector of ahead sectors; only where that leaves both
  // ways round possible does the (then large) turn decide. Zero: the location is on the edge.
  const bool surely_forward = 2 * (ahead + 1) <= fan.count;
  const bool surely_backward = 2 * (ahead - 1) >= fan.count;
  if (!surely_forward && !surely_backward && turn == 0.) return;
  const bool forward = surely_forward || (!surely_backward && turn > 0.);

  int ray = forward ? sector_p : sector_q;
  const int steps = forward ? ahead : fan.count - ahead;
  for (int step = 0; step < steps; ++step) {
    ray = wrap(ray + 1, fan.count);
    const int wanted = fan.wanted(ray);
    if (wanted < 0) continue;
    keep(wanted, crossing_length(fan.directions[ray], p, q, turn));
  }
}

}  // namespace polarseg
