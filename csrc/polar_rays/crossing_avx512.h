// Crossings of edges and rays, eight at a time. The arithmetic in double is that of polar_rays.h
// operation by operation, so the lengths are the same bit for bit.
#pragma once

#include "polar_rays_avx512.h"

#if defined(POLARSEG_X86_TARGETS)
namespace polarseg {

constexpr int kEdges = 8;  // that are worked out together

// As of single numbers.
POLARSEG_AVX512_INLINE void separate(__m512d first, __m512d second, __m512d& even, __m512d& odd) {
  even = _mm512_permutex2var_pd(first, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), second);
  odd = _mm512_permutex2var_pd(first, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), second);
}

// Sixteen bytes from each of four places.
POLARSEG_AVX512_INLINE __m512 load_four(const void* a, const void* b, const void* c,
                                        const void* d) {
  const auto load = [](const void* place) __attribute__((target("avx512f"), always_inline)) {
    return _mm_loadu_ps(static_cast<const float*>(place));
  };
  const __m512 two = _mm512_insertf32x4(_mm512_castps128_ps512(load(a)), load(b), 1);
  return _mm512_insertf32x4(_mm512_insertf32x4(two, load(c), 2), load(d), 3);
}

POLARSEG_AVX512_INLINE __m256i load_eight(const int32_t* numbers) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(numbers));
}

struct Directions {
  __m512d sine;
  __m512d cosine;
};

POLARSEG_AVX512_INLINE Directions load_directions(const RayDirection* of, const int32_t* ray) {
  static_assert(sizeof(RayDirection) == 16);
  const __m512 first = load_four(of + ray[0], of + ray[1], of + ray[2], of + ray[3]);
  const __m512 second = load_four(of + ray[4], of + ray[5], of + ray[6], of + ray[7]);
  Directions directions;
  separate(_mm512_castps_pd(first), _mm512_castps_pd(second), directions.sine, directions.cosine);
  return directions;
}

struct Offsets {
  __m512d x;
  __m512d y;

  // offset_to() of eight
  POLARSEG_AVX512_INLINE static Offsets of(__m256 x, __m256 y, __m512d origin_x, __m512d origin_y) {
    return {_mm512_sub_pd(_mm512_cvtps_pd(x), origin_x),
            _mm512_sub_pd(_mm512_cvtps_pd(y), origin_y)};
  }
};

// The halves of a vector.
POLARSEG_AVX512_INLINE __m256i lower(__m512i vector) { return _mm512_castsi512_si256(vector); }

POLARSEG_AVX512_INLINE __m256 lower(__m512 vector) { return _mm512_castps512_ps256(vector); }

POLARSEG_AVX512_INLINE __m256 upper(__m512 vector) {
  return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(vector), 1));
}

// Eight edges.
struct Edges {
  __m512 x;  // of the first ends, then of the second ends
  __m512 y;

  // Each: x, y, x, y.
  POLARSEG_AVX512_INLINE Edges(const float* a, const float* b, const float* c, const float* d,
                               const float* e, const float* f, const float* g, const float* h) {
    const __m512 first = load_four(a, b, c, d);
    const __m512 second = load_four(e, f, g, h);
    x = _mm512_permutex2var_ps(
        first, _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 2, 6, 10, 14, 18, 22, 26, 30),
        second);
    y = _mm512_permutex2var_ps(
        first, _mm512_setr_epi32(1, 5, 9, 13, 17, 21, 25, 29, 3, 7, 11, 15, 19, 23, 27, 31),
        second);
  }
};

POLARSEG_AVX512_INLINE __m512d side_of_rays(const Directions& rays, const Offsets& p) {
  return _mm512_sub_pd(_mm512_mul_pd(rays.cosine, p.x), _mm512_mul_pd(rays.sine, p.y));
}

POLARSEG_AVX512_INLINE __m512d along_rays(const Directions& rays, const Offsets& p) {
  return _mm512_add_pd(_mm512_mul_pd(rays.sine, p.x), _mm512_mul_pd(rays.cosine, p.y));
}

// crossing_length() of eight
POLARSEG_AVX512_INLINE __m256 crossing_lengths(const Directions& rays, const Offsets& p,
                                               const Offsets& q) {
  const __m512d turn = _mm512_sub_pd(_mm512_mul_pd(q.x, p.y), _mm512_mul_pd(q.y, p.x));
  const __m512d along_p = along_rays(rays, p);
  const __m512d along_q = along_rays(rays, q);
  const __m512d width = _mm512_sub_pd(side_of_rays(rays, q), side_of_rays(rays, p));
  __m512d length = _mm512_div_pd(turn, width);
  // the second where one is NaN, as in the original
  length = _mm512_max_pd(length, _mm512_min_pd(along_p, along_q));
  length = _mm512_min_pd(length, _mm512_max_pd(along_q, along_p));
  return _mm512_cvtpd_ps(length);
}

}  // namespace polarseg

#endif
