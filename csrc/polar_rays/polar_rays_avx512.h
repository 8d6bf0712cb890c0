// What the CPU's AVX-512 passes over contours share.
//
// Up to twelve locations look at a contour together, block by block. The work is cut into short
// loops over all of them: a processor can keep several rounds of a short loop in flight, and loops
// that run long end seldom.
//
// The angles here are cheap ones, with fused multiply-add. They decide only where a point is
// farther from a border than all the errors together; the exact arithmetic settles the others.
#pragma once

#include "../common/multiversion.h"
#include "polar_rays_scan.h"

#if defined(POLARSEG_X86_TARGETS)
#include <immintrin.h>

#include <algorithm>
#include <limits>

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
constexpr int kBatch = 12;    // locations that look together, mostly all of a contour
constexpr int kBlock = 1024;  // points that they look at together

inline bool has_avx512() {
  static const bool has = __builtin_cpu_supports("avx512f");
  return has;
}

// The lowest `count` of sixteen lanes, all of them where there are more.
inline __mmask16 first_lanes(int count) {
  return static_cast<__mmask16>(count < kLanes ? (1u << count) - 1 : 0xffff);
}

// Sends the locations on their way, in batches of nearly the same size.
template <typename Walk>
void walk_in_batches(Walk& walk, int count) {
  const int batches = (count + kBatch - 1) / kBatch;
  const int size = (count + batches - 1) / batches;
  for (int begin = 0; begin < count; begin += size) walk.walk(begin, std::min(size, count - begin));
}

constexpr int round_up(int size, int multiple) {
  return (size + multiple - 1) / multiple * multiple;
}

// own = max(own, value) of two numbers. std::max may become a branch, which nobody could predict.
inline void keep_larger(float& own, float value) {
  _mm_store_ss(&own, _mm_max_ss(_mm_set_ss(value), _mm_load_ss(&own)));
}

// Entries 0, 2, 4 ... and 1, 3, 5 ... of two vectors.
POLARSEG_AVX512_INLINE void separate(__m512 first, __m512 second, __m512& even, __m512& odd) {
  even = _mm512_permutex2var_ps(
      first, _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), second);
  odd = _mm512_permutex2var_ps(
      first, _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31), second);
}

// Where the locations of a batch are.
struct Origins {
  float x[kLanes] = {};
  float y[kLanes] = {};

  Origins() = default;

  Origins(const LocationGroup& group, int begin, int count) {
    for (int n = 0; n < count; ++n) {
      const float* origin = group.origin(begin + n);
      x[n] = origin[0];
      y[n] = origin[1];
    }
  }
};

// Points of a block of a contour, x and y apart. Whole vectors may be read.
struct SeparatePoints {
  int size = 0;
  float farthest = 0;  // coordinate, without its sign; one that is not a number does not count
  alignas(64) float x[kBlock + kLanes];
  alignas(64) float y[kBlock + kLanes];

  // points: [count, 2]. Behind the last one stands what is not finite.
  POLARSEG_AVX512_INLINE void take(const float* points, int count) {
    __m512 largest = _mm512_setzero_ps();
    size = count;
    int i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      const __m512 first = _mm512_loadu_ps(points + 2 * i);
      const __m512 second = _mm512_loadu_ps(points + 2 * i + kLanes);
      __m512 own_x, own_y;
      separate(first, second, own_x, own_y);
      _mm512_store_ps(x + i, own_x);
      _mm512_store_ps(y + i, own_y);
      // the second where one is NaN
      largest = _mm512_max_ps(_mm512_abs_ps(first), largest);
      largest = _mm512_max_ps(_mm512_abs_ps(second), largest);
    }
    const __m512 nowhere = _mm512_set1_ps(std::numeric_limits<float>::infinity());
    _mm512_store_ps(x + i, nowhere);
    _mm512_store_ps(y + i, nowhere);
    const __mmask16 rest = first_lanes(count - i);
    for (int n = i; n < count; ++n) {
      x[n] = points[2 * n];
      y[n] = points[2 * n + 1];
    }
    largest = _mm512_max_ps(_mm512_abs_ps(_mm512_maskz_loadu_ps(rest, x + i)), largest);
    largest = _mm512_max_ps(_mm512_abs_ps(_mm512_maskz_loadu_ps(rest, y + i)), largest);
    farthest = _mm512_reduce_max_ps(largest);
  }
};

// Degrees: what rough_degrees_in_octant() is off by. Polynomial 3.5e-2, reciprocal 1.8e-3.
constexpr float kRoughSlack = 5e-2f;
constexpr float kRoughArc[] = {57.0298097f, -16.540731f, 4.54579096f};

// The angle within its octant, in degrees, off by less than kRoughSlack. steep: it counts from 90
// degrees backwards. Coordinates below 1e-18 and above 1e18 may give any number or NaN.
POLARSEG_AVX512_INLINE __m512 rough_degrees_in_octant(__m512 x, __m512 y, __mmask16& steep) {
  const __m512 t = _mm512_mul_ps(_mm512_min_ps(x, y), _mm512_rcp14_ps(_mm512_max_ps(x, y)));
  const __m512 u = _mm512_mul_ps(t, t);
  __m512 degrees = _mm512_fmadd_ps(_mm512_set1_ps(kRoughArc[2]), u, _mm512_set1_ps(kRoughArc[1]));
  degrees = _mm512_fmadd_ps(degrees, u, _mm512_set1_ps(kRoughArc[0]));
  steep = _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ);
  return _mm512_mul_ps(degrees, t);
}

// Points of a batch: the location that looks at it, and its number in the block.
constexpr int kPointBits = 10;
static_assert(kBlock == 1 << kPointBits);

inline int location_of(int32_t place) { return place >> kPointBits; }

inline int point_of(int32_t place) { return place & (kBlock - 1); }

POLARSEG_AVX512_INLINE __m512i locations_of(__m512i places) {
  return _mm512_srli_epi32(places, kPointBits);
}

POLARSEG_AVX512_INLINE __m512i lane_numbers() {
  return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// With the bits of the sign of the first and the others of the second.
POLARSEG_AVX512_INLINE __m512 with_sign(__m512 sign, __m512 number) {
  const __m512i sign_bit = _mm512_set1_epi32(std::numeric_limits<int32_t>::min());
  constexpr int kFirstChooses = 0xca;  // between the bits of the second and the third
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(sign_bit, _mm512_castps_si512(sign),
                                                       _mm512_castps_si512(number), kFirstChooses));
}

}  // namespace polarseg

#endif
