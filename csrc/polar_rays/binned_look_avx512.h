// How the binned rule looks at sixteen points: which ray and degree they belong to.
#pragma once

#include "polar_rays_avx512.h"

#if defined(POLARSEG_X86_TARGETS)
namespace polarseg {

constexpr int kReach = 3;    // a ray takes points up to so many degrees from its own
constexpr int kRows = 8;     // the seven degrees round a ray; a point on the last border has d = 7
constexpr int kStride = 48;  // of a row: 45 rays, and one past the end for the last few degrees

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
POLARSEG_AVX512_INLINE __m512 unfold(__m512 degrees, __m512 dx, __m512 dy, __mmask16 steep) {
  const __m512 zero = _mm512_setzero_ps();
  degrees = _mm512_mask_sub_ps(degrees, steep, _mm512_set1_ps(90.f), degrees);
  degrees = _mm512_mask_sub_ps(degrees, _mm512_cmp_ps_mask(dy, zero, _CMP_LT_OQ),
                               _mm512_set1_ps(180.f), degrees);
  return _mm512_mask_sub_ps(degrees, _mm512_cmp_ps_mask(dx, zero, _CMP_LT_OQ),
                            _mm512_set1_ps(360.f), degrees);
}

// Rays behind the middle of a ray's own degree; roughly. Folded: modulo the distance of two rays,
// and the sign may be another.
template <bool kFolded>
POLARSEG_AVX512_INLINE __m512 turn_from_own(__m512 dx, __m512 dy, const Rays& rays) {
  const __m512 x = _mm512_abs_ps(dx);
  const __m512 y = _mm512_abs_ps(dy);
  const __m512 half = _mm512_set1_ps(0.5f * rays.per_degree);
  if constexpr (!kFolded) {
    __mmask16 steep;
    const __m512 in_octant = rough_degrees_in_octant(x, y, steep);
    const __m512 degrees = unfold(in_octant, dx, dy, steep);
    return _mm512_fmsub_ps(degrees, _mm512_set1_ps(rays.per_degree), half);
  }
  const __m512 t = _mm512_mul_ps(_mm512_min_ps(x, y), _mm512_rcp14_ps(_mm512_max_ps(x, y)));
  const __m512 u = _mm512_mul_ps(t, t);
  const auto arc = [&](int n) __attribute__((target("avx512f"), always_inline)) {
    return _mm512_set1_ps(kRoughArc[n] * rays.per_degree);
  };
  const __m512 turn = _mm512_fmadd_ps(_mm512_fmadd_ps(arc(2), u, arc(1)), u, arc(0));
  // Each reflection puts the own degree on the other side of the ray.
  constexpr int kEven = 0x69;  // number of negative ones among three
  const __m512i behind = _mm512_ternarylogic_epi32(_mm512_castps_si512(dx), _mm512_castps_si512(dy),
                                                   _mm512_castps_si512(_mm512_sub_ps(y, x)), kEven);
  return _mm512_fmadd_ps(turn, t, with_sign(_mm512_castsi512_ps(behind), half));
}

// Leaves out what is not near a ray's own degree.
template <bool kFolded>
POLARSEG_AVX512_INLINE __mmask16 near_own(__m512 dx, __m512 dy, const Rays& rays) {
  const __m512 turn = turn_from_own<kFolded>(dx, dy, rays);
  const __m512 ray = _mm512_roundscale_ps(turn, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 bound = _mm512_set1_ps((0.5f + kRoughSlack) * rays.per_degree);
  return _mm512_cmp_ps_mask(_mm512_abs_ps(_mm512_sub_ps(turn, ray)), bound, _CMP_NGT_UQ);
}

// Which ray a point is near to, and its angle behind that ray's first degree, [-0.5, step - 0.5]:
// the degrees round the ray are 0 to 7. NaN where the angle is.
POLARSEG_AVX512_INLINE __m512 behind_ray(__m512 degrees, const Rays& rays, __m512& ray) {
  const __m512 turn = _mm512_fmadd_ps(degrees, _mm512_set1_ps(rays.per_degree),
                                      _mm512_set1_ps((kReach + 0.5f) * rays.per_degree));
  ray = _mm512_roundscale_ps(turn, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  return _mm512_fnmadd_ps(ray, _mm512_set1_ps(static_cast<float>(rays.step)),
                          _mm512_add_ps(degrees, _mm512_set1_ps(kReach)));
}

// Rays as bits, 32 to a lane. Of a point without a cheap angle the answer means nothing.
POLARSEG_AVX512_INLINE __mmask16 is_among(__m512 ray, uint64_t rays) {
  const __m512i bits = _mm512_zextsi128_si512(_mm_cvtsi64_si128(static_cast<int64_t>(rays)));
  const __m512i number = _mm512_cvttps_epi32(ray);
  const __m512i word = _mm512_permutexvar_epi32(_mm512_srli_epi32(number, 5), bits);
  const __m512i place = _mm512_and_epi32(number, _mm512_set1_epi32(31));
  return _mm512_test_epi32_mask(_mm512_srlv_epi32(word, place), _mm512_set1_epi32(1));
}

// What a close look at sixteen points finds.
struct Seen {
  __mmask16 sure;    // in the degree of the cell
  __mmask16 unsure;  // too near a border to be sure
  __m512 ray;
  __m512i cell;
  __m512 squared;
};

POLARSEG_AVX512_INLINE __m512 close_degrees(__m512 dx, __m512 dy, __m512 x, __m512 y) {
  const __m512 larger = _mm512_max_ps(x, y);
  const __m512 rough = _mm512_rcp14_ps(larger);
  const __m512 rest = _mm512_fnmadd_ps(rough, larger, _mm512_set1_ps(2.f));
  // after a Newton step
  const __m512 t = _mm512_mul_ps(_mm512_mul_ps(_mm512_min_ps(x, y), rough), rest);
  // in pairs: each step waits for the one before
  const __m512 u = _mm512_mul_ps(t, t);
  const __m512 v = _mm512_mul_ps(u, u);
  const __m512 high = _mm512_fmadd_ps(_mm512_set1_ps(-0.6714568f), u, _mm512_set1_ps(3.0164705f));
  const __m512 middle =
      _mm512_fmadd_ps(_mm512_set1_ps(-6.67074556f), u, _mm512_set1_ps(11.0890465f));
  const __m512 low = _mm512_fmadd_ps(_mm512_set1_ps(-19.0578842f), u, _mm512_set1_ps(57.2944743f));
  const __m512 degrees = _mm512_fmadd_ps(_mm512_fmadd_ps(high, v, middle), v, low);
  return unfold(_mm512_mul_ps(degrees, t), dx, dy, _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ));
}

// Points in the rays' own degrees, or in all seven round them.
template <bool kOwn>
POLARSEG_AVX512_INLINE Seen look_closely(__m512 dx, __m512 dy, const Rays& rays) {
  constexpr float kHalfWidth = kOwn ? 0.5f : kReach + 0.5f;
  const __m512 x = _mm512_abs_ps(dx);
  const __m512 y = _mm512_abs_ps(dy);
  Seen seen;
  const __m512 behind = behind_ray(close_degrees(dx, dy, x, y), rays, seen.ray);
  // not contracted: squared lengths are results
  seen.squared = _mm512_add_ps(_mm512_mul_ps(dx, dx), _mm512_mul_ps(dy, dy));
  const __mmask16 finite = _mm512_cmp_ps_mask(seen.squared, _mm512_set1_ps(FLT_MAX), _CMP_LE_OQ);
  const __m512 aside = _mm512_abs_ps(_mm512_sub_ps(behind, _mm512_set1_ps(kReach + 0.5f)));
  const __mmask16 near =
      _mm512_mask_cmp_ps_mask(finite, aside, _mm512_set1_ps(kHalfWidth + kCloseSlack), _CMP_NGT_UQ);

  // straight below, right, above and left the angle is a whole number, here as in the exact rule
  const __m512 zero = _mm512_setzero_ps();
  __mmask16 settled = _mm512_cmp_ps_mask(_mm512_min_ps(x, y), zero, _CMP_EQ_OQ);
  if constexpr (kOwn) {
    settled = _mm512_mask_cmp_ps_mask(settled, behind, _mm512_set1_ps(kReach), _CMP_EQ_OQ);
    const __m512 inside = _mm512_set1_ps(kHalfWidth - kCloseSlack);
    settled = _mm512_kor(settled, _mm512_cmp_ps_mask(aside, inside, _CMP_LT_OQ));
    seen.cell =
        _mm512_add_epi32(_mm512_cvttps_epi32(seen.ray), _mm512_set1_epi32(kReach * kStride));
  } else {
    const __m512 border =
        _mm512_roundscale_ps(behind, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 off = _mm512_abs_ps(_mm512_sub_ps(behind, border));
    settled = _mm512_mask_cmp_ps_mask(settled, off, zero, _CMP_EQ_OQ);
    const __m512 slack = _mm512_set1_ps(kCloseSlack);
    settled = _mm512_kor(settled, _mm512_cmp_ps_mask(off, slack, _CMP_GT_OQ));
    const __m512 row = _mm512_roundscale_ps(behind, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    seen.cell = _mm512_cvttps_epi32(_mm512_fmadd_ps(row, _mm512_set1_ps(kStride), seen.ray));
  }
  seen.sure = _mm512_kand(near, settled);
  seen.unsure = _mm512_kandn(settled, near);
  return seen;
}

}  // namespace polarseg

#endif
