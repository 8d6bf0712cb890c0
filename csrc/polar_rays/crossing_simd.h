// Crossings of edges and rays, half a vector of them at a time. The arithmetic in double is that of
// polar_rays.h operation by operation, so the lengths are the same bit for bit.
#pragma once

#include "polar_rays_simd.h"

namespace polarseg::POLARSEG_SIMD {

constexpr int kEdges = kHalf;  // that are worked out together

struct Directions {
  Doubles sine;
  Doubles cosine;

  POLARSEG_SIMD_INLINE Directions(const RayDirection* of, const int32_t* ray) {
    static_assert(sizeof(RayDirection) == 2 * sizeof(double));
    load_pairs(&of->sine, ray, sine, cosine);
  }
};

struct Offsets {
  Doubles x;
  Doubles y;

  // offset_to() of each
  POLARSEG_SIMD_INLINE static Offsets of(HalfFloats x, HalfFloats y, Doubles origin_x,
                                         Doubles origin_y) {
    return {widen(x) - origin_x, widen(y) - origin_y};
  }
};

POLARSEG_SIMD_INLINE Doubles side_of_rays(const Directions& rays, const Offsets& p) {
  return rays.cosine * p.x - rays.sine * p.y;
}

POLARSEG_SIMD_INLINE Doubles along_rays(const Directions& rays, const Offsets& p) {
  return rays.sine * p.x + rays.cosine * p.y;
}

// crossing_length() of each
POLARSEG_SIMD_INLINE HalfFloats crossing_lengths(const Directions& rays, const Offsets& p,
                                                 const Offsets& q) {
  const Doubles turn = q.x * p.y - q.y * p.x;
  const Doubles along_p = along_rays(rays, p);
  const Doubles along_q = along_rays(rays, q);
  Doubles length = turn / (side_of_rays(rays, q) - side_of_rays(rays, p));
  // the second where one is NaN, as in the original
  length = larger(length, smaller(along_p, along_q));
  return narrow(smaller(length, larger(along_q, along_p)));
}

}  // namespace polarseg::POLARSEG_SIMD
