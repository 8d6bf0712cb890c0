// Circles round sixteen points of a contour each: most are nowhere near a certain ray.
#pragma once

#include "polar_rays_avx512.h"

#if defined(POLARSEG_X86_TARGETS)
#include <algorithm>
#include <array>
#include <cmath>

namespace polarseg {

constexpr int kCircles = kBlock / kLanes;

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
  alignas(64) float x[kCircles + kLanes];
  alignas(64) float y[kCircles + kLanes];
  alignas(64) float radius[kCircles + kLanes];  // or infinity, where a point is far away

  POLARSEG_AVX512_INLINE void draw(const SeparatePoints& points) {
    count = 0;
    for (int i = 0; i < points.size; i += kLanes, ++count) {
      const int middle = std::min(i + kLanes / 2, points.size - 1);
      x[count] = points.x[middle];
      y[count] = points.y[middle];
      const __m512 dx = _mm512_sub_ps(_mm512_load_ps(points.x + i), _mm512_set1_ps(x[count]));
      const __m512 dy = _mm512_sub_ps(_mm512_load_ps(points.y + i), _mm512_set1_ps(y[count]));
      radius[count] = reach(_mm512_abs_ps(dx), _mm512_abs_ps(dy), first_lanes(points.size - i));
    }
  }

  // Which of them, as bits, may have points up to three degrees and a half from the middle of the
  // own degree of one of the rays. rays: as bits, `step` degrees apart.
  POLARSEG_AVX512_INLINE uint64_t near(float origin_x, float origin_y, uint64_t rays,
                                       int step) const {
    static_assert(kCircles <= 64);
    constexpr int kWide = 2 * 4;  // half a degree more than asked for: rounding is nothing to it
    const float* sine = sines();
    const float* cosine = sine + 2 * 90;
    const __m512 narrow_sine = _mm512_set1_ps(sine[kWide]);
    const __m512 narrow_cosine = _mm512_set1_ps(cosine[kWide]);
    uint64_t found = 0;
    for (; rays != 0; rays &= rays - 1) {
      const int middle = 2 * __builtin_ctzll(rays) * step + 1;
      const __m512 s = _mm512_set1_ps(sine[middle]);
      const __m512 c = _mm512_set1_ps(cosine[middle]);
      for (int i = 0; i < count; i += kLanes) {
        const __m512 dx = _mm512_sub_ps(_mm512_load_ps(x + i), _mm512_set1_ps(origin_x));
        const __m512 dy = _mm512_sub_ps(_mm512_load_ps(y + i), _mm512_set1_ps(origin_y));
        const __m512 across = _mm512_abs_ps(_mm512_fmsub_ps(dx, c, _mm512_mul_ps(dy, s)));
        const __m512 along = _mm512_fmadd_ps(dx, s, _mm512_mul_ps(dy, c));
        const __m512 gap =
            _mm512_fmsub_ps(across, narrow_cosine, _mm512_mul_ps(along, narrow_sine));
        const __mmask16 own = _mm512_cmp_ps_mask(gap, _mm512_load_ps(radius + i), _CMP_NGT_UQ);
        found |= static_cast<uint64_t>(own) << i;
      }
    }
    return count < 64 ? found & ((uint64_t{1} << count) - 1) : found;
  }

 private:
  // No less than the longest of some sixteen distances, without a square that could vanish.
  POLARSEG_AVX512_INLINE static float reach(__m512 x, __m512 y, __mmask16 lanes) {
    constexpr float kOctagon = 0.41421357f;  // round the unit circle
    constexpr float kAbove = 1.001f;         // more than rounding can take away
    const __m512 length = _mm512_maskz_fmadd_ps(lanes, _mm512_min_ps(x, y),
                                                _mm512_set1_ps(kOctagon), _mm512_max_ps(x, y));
    if (_mm512_cmp_ps_mask(length, _mm512_set1_ps(FLT_MAX), _CMP_NLE_UQ) != 0) {
      return std::numeric_limits<float>::infinity();
    }
    return kAbove * _mm512_reduce_max_ps(length) + FLT_MIN;
  }
};

}  // namespace polarseg

#endif
