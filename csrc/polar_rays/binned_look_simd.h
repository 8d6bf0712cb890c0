// How the binned rule looks at a vector of points: which ray and degree they belong to.
#pragma once

#include "polar_rays_simd.h"

namespace polarseg::POLARSEG_SIMD {

constexpr int kReach = 3;    // a ray takes points up to so many degrees from its own
constexpr int kRows = 8;     // the seven degrees round a ray; a point on the last border has d = 7
constexpr int kStride = 48;  // of a row: 45 rays, and one past the end for the last few degrees
static_assert(GroupKernels::kLeastStep > 2 * kReach + 1, "a degree answers for one ray at most");

// As kRoughSlack, for what look_closely() compares, the rounding of the exact rule included:
// polynomial 9.6e-5 and rounding 1.2e-4.
constexpr float kCloseSlack = 5e-4f;

struct Rays {
  int count;
  int step;  // degrees
  float per_degree;

  explicit Rays(int count)
      : count(count), step(360 / count), per_degree(static_cast<float>(count) / 360.f) {}

  // They look the same from both sides of the axes and of the diagonals.
  bool fold() const { return count % 4 == 0; }
};

// From the angle within an octant to the angle in [0, 360].
POLARSEG_SIMD_INLINE Floats unfold(Floats degrees, Floats dx, Floats dy, Mask steep) {
  degrees = select(steep, floats(90.f) - degrees, degrees);
  degrees = select_if_negative(dy, floats(180.f) - degrees, degrees);
  // not by the sign: -0 is straight below, too
  return select(is_less(dx, floats(0.f)), floats(360.f) - degrees, degrees);
}

// Rays behind the middle of a ray's own degree; roughly. Folded: modulo the distance of two rays,
// and the sign may be another.
template <bool kFolded>
POLARSEG_SIMD_INLINE Floats turn_from_own(Floats dx, Floats dy, const Rays& rays) {
  const Floats x = absolute(dx);
  const Floats y = absolute(dy);
  const float half = 0.5f * rays.per_degree;
  if constexpr (!kFolded) {
    Mask steep;
    const Floats in_octant = rough_degrees_in_octant(x, y, steep);
    const Floats degrees = unfold(in_octant, dx, dy, steep);
    return multiply_subtract(degrees, floats(rays.per_degree), floats(half));
  }
  const Floats t = smaller(x, y) * reciprocal(larger(x, y));
  const Floats u = t * t;
  const auto arc = [&](int n)
                       POLARSEG_SIMD_LAMBDA { return floats(kRoughArc[n] * rays.per_degree); };
  const Floats turn = multiply_add(multiply_add(arc(2), u, arc(1)), u, arc(0));
  // Each reflection puts the own degree on the other side of the ray.
  const Floats reflected = product_of_signs(dx, dy, y - x);
  return multiply_add(turn, t, flip_sign(floats(-half), reflected));
}

// Leaves out what is not near a ray's own degree.
template <bool kFolded>
POLARSEG_SIMD_INLINE Mask near_own(Floats dx, Floats dy, const Rays& rays) {
  const Floats turn = turn_from_own<kFolded>(dx, dy, rays);
  const Floats bound = floats((0.5f + kRoughSlack) * rays.per_degree);
  return is_not_greater(absolute(turn - round_to_nearest(turn)), bound);
}

// Which ray a point is near to, and its angle behind that ray's first degree, [-0.5, step - 0.5]:
// the degrees round the ray are 0 to 7. NaN where the angle is.
POLARSEG_SIMD_INLINE Floats behind_ray(Floats degrees, const Rays& rays, Floats& ray) {
  const Floats turn =
      multiply_add(degrees, floats(rays.per_degree), floats((kReach + 0.5f) * rays.per_degree));
  ray = round_down(turn);
  return subtract_product(ray, floats(static_cast<float>(rays.step)),
                          degrees + floats(static_cast<float>(kReach)));
}

// What a close look at some points finds.
struct Seen {
  Mask sure;    // in the degree of the cell
  Mask unsure;  // too near a border to be sure
  Floats ray;
  Ints cell;
  Floats squared;
};

POLARSEG_SIMD_INLINE Floats close_degrees(Floats dx, Floats dy, Floats x, Floats y) {
  const Floats far = larger(x, y);
  const Floats rough = reciprocal(far);
  const Floats rest = subtract_product(rough, far, floats(2.f));
  // after a Newton step
  const Floats t = smaller(x, y) * rough * rest;
  // in pairs: each step waits for the one before
  const Floats u = t * t;
  const Floats v = u * u;
  const Floats high = multiply_add(floats(-0.6714568f), u, floats(3.0164705f));
  const Floats middle = multiply_add(floats(-6.67074556f), u, floats(11.0890465f));
  const Floats low = multiply_add(floats(-19.0578842f), u, floats(57.2944743f));
  const Floats degrees = multiply_add(multiply_add(high, v, middle), v, low);
  return unfold(degrees * t, dx, dy, is_less(y, x));
}

// Points in the rays' own degrees, or in all seven round them.
template <bool kOwn>
POLARSEG_SIMD_INLINE Seen look_closely(Floats dx, Floats dy, const Rays& rays) {
  constexpr float kHalfWidth = kOwn ? 0.5f : kReach + 0.5f;
  const Floats x = absolute(dx);
  const Floats y = absolute(dy);
  const Floats zero = floats(0.f);
  Seen seen;
  const Floats behind = behind_ray(close_degrees(dx, dy, x, y), rays, seen.ray);
  seen.squared = dx * dx + dy * dy;
  const Mask finite = is_at_most(seen.squared, floats(FLT_MAX));
  const Floats aside = absolute(behind - floats(kReach + 0.5f));
  const Mask near = is_not_greater(aside, floats(kHalfWidth + kCloseSlack)) & finite;

  // straight below, right, above and left the angle is a whole number, here as in the exact rule
  const Mask straight = is_equal(smaller(x, y), zero);
  Mask settled;
  if constexpr (kOwn) {
    settled = is_equal(behind, floats(kReach)) & straight;
    settled = settled | is_less(aside, floats(kHalfWidth - kCloseSlack));
    seen.cell = add(truncate(seen.ray), ints(kReach * kStride));
  } else {
    const Floats off = absolute(behind - round_to_nearest(behind));
    settled = is_equal(off, zero) & straight;
    settled = settled | is_less(floats(kCloseSlack), off);
    seen.cell = truncate(multiply_add(round_down(behind), floats(kStride), seen.ray));
  }
  seen.sure = near & settled;
  seen.unsure = without(near, settled);
  return seen;
}

}  // namespace polarseg::POLARSEG_SIMD
