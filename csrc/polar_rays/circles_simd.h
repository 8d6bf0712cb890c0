// Circles round sixteen points of a contour each: most are nowhere near a certain ray.
#pragma once

#include <array>
#include <cmath>

#include "polar_rays_simd.h"

namespace polarseg::POLARSEG_SIMD {

constexpr int kCirclePoints = 16;
static_assert(kCirclePoints <= SeparatePoints::kSpare && kCirclePoints % kLanes == 0);
constexpr int kCircles = kBlock / kCirclePoints;
constexpr int kCircleVectors = kCirclePoints / kLanes;
static_assert(kCircles <= 64, "they are the bits of a number");

// sines()[n] is that of n half degrees, up to 450 degrees.
inline const float* sines() {
  constexpr int kMost = 2 * 450;
  static const auto table = [] {
    std::array<float, kMost + 1> sine{};
    for (int n = 0; n <= kMost; ++n) {
      sine[n] = static_cast<float>(std::sin(n * 3.14159265358979323846 / 360));
    }
    return sine;
  }();
  return table.data();
}

// Round sixteen points each: the centre is one of them.
struct Circles {
  int count = 0;
  alignas(kAlign) float x[kCircles + kLanes];
  alignas(kAlign) float y[kCircles + kLanes];
  alignas(kAlign) float radius[kCircles + kLanes];  // or infinity, where a point is far away

  POLARSEG_SIMD_INLINE void draw(const SeparatePoints& points) {
    count = 0;
    for (int i = 0; i < points.size; i += kCirclePoints, ++count) {
      const int middle = std::min(i + kCirclePoints / 2, points.size - 1);
      x[count] = points.x[middle];
      y[count] = points.y[middle];
      Floats most = floats(0.f);
      for (int n = i; n < std::min(i + kCirclePoints, points.size); n += kLanes) {
        const Floats dx = absolute(load(points.x + n) - floats(x[count]));
        const Floats dy = absolute(load(points.y + n) - floats(y[count]));
        // NaN may be lost here: such a point is no point, and its circle need not hold it
        most = larger(most, select(first_lanes(points.size - n), reach(dx, dy), floats(0.f)));
      }
      radius[count] = no_less(most);
    }
  }

  // Which of them, as bits, may have points up to three degrees and a half from the middle of the
  // own degree of one of the rays. rays: as bits, `step` degrees apart.
  POLARSEG_SIMD_INLINE uint64_t near(float origin_x, float origin_y, uint64_t rays,
                                     int step) const {
    constexpr int kWide = 2 * 4;  // half a degree more than asked for: rounding is nothing to it
    const float* sine = sines();
    const float* cosine = sine + 2 * 90;
    const Floats narrow_sine = floats(sine[kWide]);
    const Floats narrow_cosine = floats(cosine[kWide]);
    uint64_t found = 0;
    for (; rays != 0; rays &= rays - 1) {
      const int middle = 2 * __builtin_ctzll(rays) * step + 1;
      const Floats s = floats(sine[middle]);
      const Floats c = floats(cosine[middle]);
      for (int i = 0; i < count; i += kLanes) {
        const Floats dx = load(x + i) - floats(origin_x);
        const Floats dy = load(y + i) - floats(origin_y);
        const Floats across = absolute(multiply_subtract(dx, c, dy * s));
        const Floats along = multiply_add(dx, s, dy * c);
        const Floats gap = multiply_subtract(across, narrow_cosine, along * narrow_sine);
        found |= static_cast<uint64_t>(bits(is_not_greater(gap, load(radius + i)))) << i;
      }
    }
    return count < 64 ? found & ((uint64_t{1} << count) - 1) : found;
  }

 private:
  // No less than the lengths, without a square that could vanish.
  POLARSEG_SIMD_INLINE static Floats reach(Floats x, Floats y) {
    constexpr float kOctagon = 0.41421357f;  // round the unit circle
    return multiply_add(smaller(x, y), floats(kOctagon), larger(x, y));
  }

  POLARSEG_SIMD_INLINE static float no_less(Floats lengths) {
    constexpr float kAbove = 1.001f;  // more than rounding can take away
    const unsigned bounded = bits(is_at_most(lengths, floats(FLT_MAX)));
    if (bounded != bits(all_lanes())) return std::numeric_limits<float>::infinity();
    return kAbove * largest(lengths) + FLT_MIN;
  }
};

}  // namespace polarseg::POLARSEG_SIMD
