// What the CPU's AVX-512 passes over contours share.
//
// The angles here are cheap ones, with fused multiply-add. They decide only where a point is
// farther from a border than all the errors together; the exact arithmetic settles the others.
#pragma once

#include "../common/multiversion.h"
#include "polar_rays_scan.h"

#if defined(POLARSEG_X86_TARGETS)
#include <immintrin.h>

#if !defined(__clang__)
// GCC's own header initialises a vector by itself to say "any value", and warns of it (GCC 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

// always_inline: the vectors' functions take them by value, whatever the rest is compiled for
#define POLARSEG_AVX512 __attribute__((target("avx512f")))
#define POLARSEG_AVX512_INLINE __attribute__((target("avx512f"), always_inline)) inline

namespace polarseg {

constexpr int kLanes = 16;

inline bool has_avx512() {
  static const bool has = __builtin_cpu_supports("avx512f");
  return has;
}

// Degrees: what look_roughly() of either mode is off by. Polynomial 3.5e-2, reciprocal 1.8e-3.
constexpr float kRoughSlack = 5e-2f;

// Sixteen points as (x, y) pairs, of which `lanes` are there; the others are 0.
POLARSEG_AVX512_INLINE void load_differences(const ContourView& contour, int64_t i, __m512& dx,
                                             __m512& dy, __mmask16& lanes) {
  const float* points = contour.points + 2 * i;
  const int64_t left = contour.size - i;
  __m512 first, second;
  if (left >= kLanes) {
    lanes = 0xffff;
    first = _mm512_loadu_ps(points);
    second = _mm512_loadu_ps(points + kLanes);
  } else {
    lanes = static_cast<__mmask16>((1u << left) - 1);
    const uint32_t numbers = static_cast<uint32_t>((uint64_t{1} << (2 * left)) - 1);
    first = _mm512_maskz_loadu_ps(static_cast<__mmask16>(numbers), points);
    second = _mm512_maskz_loadu_ps(static_cast<__mmask16>(numbers >> 16), points + kLanes);
  }
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  dx = _mm512_sub_ps(_mm512_permutex2var_ps(first, even, second), _mm512_set1_ps(contour.origin_x));
  dy = _mm512_sub_ps(_mm512_permutex2var_ps(first, odd, second), _mm512_set1_ps(contour.origin_y));
}

// The angle within its octant, in degrees, off by less than kRoughSlack. steep: it counts from 90
// degrees backwards. Coordinates below 1e-18 and above 1e18 may give any number or NaN.
POLARSEG_AVX512_INLINE __m512 rough_degrees_in_octant(__m512 x, __m512 y, __mmask16& steep) {
  const __m512 t = _mm512_mul_ps(_mm512_min_ps(x, y), _mm512_rcp14_ps(_mm512_max_ps(x, y)));
  const __m512 u = _mm512_mul_ps(t, t);
  __m512 degrees = _mm512_fmadd_ps(_mm512_set1_ps(4.54579096f), u, _mm512_set1_ps(-16.540731f));
  degrees = _mm512_fmadd_ps(degrees, u, _mm512_set1_ps(57.0298097f));
  steep = _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ);
  return _mm512_mul_ps(degrees, t);
}

}  // namespace polarseg

#endif
