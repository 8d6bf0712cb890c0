// Between which rays points lie: by rough angles, so not of all of them.
#pragma once

#include "polar_rays_avx512.h"

#if defined(POLARSEG_X86_TARGETS)
#include <algorithm>
#include <cmath>

namespace polarseg {

// The ray that each of sixteen points is nearest to.
struct NearestRay {
  __m512 turn;      // from ray 0, a whole number in [-count / 2, count / 2]
  __m512i number;   // in [0, count)
  __mmask16 known;  // the point is not at the location, nor so near or far that the angle fails

  POLARSEG_AVX512_INLINE NearestRay(__m512 dx, __m512 dy, int count) {
    const __m512 x = _mm512_abs_ps(dx);
    const __m512 y = _mm512_abs_ps(dy);
    __mmask16 steep;
    __m512 degrees = rough_degrees_in_octant(x, y, steep);
    degrees = _mm512_mask_sub_ps(degrees, steep, _mm512_set1_ps(90.f), degrees);
    const __mmask16 above = _mm512_cmp_ps_mask(dy, _mm512_setzero_ps(), _CMP_LT_OQ);
    degrees = _mm512_mask_sub_ps(degrees, above, _mm512_set1_ps(180.f), degrees);
    const __m512 rays_per_degree = _mm512_set1_ps(static_cast<float>(count) / 360.f);
    turn = _mm512_roundscale_ps(_mm512_mul_ps(with_sign(dx, degrees), rays_per_degree),
                                _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);

    // positive floats are in the order of their bits, with infinity and NaN behind them
    constexpr int32_t kNear = (127 - 60) << 23;  // 2^-60
    constexpr int32_t kFar = (127 + 60) << 23;
    const __m512i reach = _mm512_castps_si512(_mm512_add_ps(x, y));
    known = _mm512_cmple_epu32_mask(_mm512_sub_epi32(reach, _mm512_set1_epi32(kNear)),
                                    _mm512_set1_epi32(kFar - kNear));
    number = _mm512_maskz_cvttps_epi32(known, turn);
    const __mmask16 negative = _mm512_cmplt_epi32_mask(number, _mm512_setzero_si512());
    number = _mm512_mask_add_epi32(number, negative, number, _mm512_set1_epi32(count));
  }
};

// The sectors of points that are not too near to a ray.
class RoughSectors {
 public:
  // farthest: the largest coordinate of the points.
  POLARSEG_AVX512_INLINE RoughSectors(float farthest, float origin_x, float origin_y, int count)
      : origin_x_(_mm512_set1_ps(origin_x)),
        origin_y_(_mm512_set1_ps(origin_y)),
        quarter_(_mm512_set1_ps(static_cast<float>(count) / 4)),
        half_(_mm512_set1_ps(static_cast<float>(count) / 2)) {
    const float rays_per_degree = static_cast<float>(count) / 360.f;
    for (int n = 0; n < 4; ++n) arc_[n] = _mm512_set1_ps(kArc[n] * rays_per_degree);
    const float reach = farthest + std::max(std::fabs(origin_x), std::fabs(origin_y));
    const bool is_near = reach < kFar;  // no NaN either
    doubt_ = _mm512_set1_ps(is_near ? 0.5f - kSlack * rays_per_degree : -1.f);
  }

  // Writes the sector of each point, not a number where it is in doubt, and lists the points whose
  // sector is in doubt or another than that of the point before, as `first_place` plus their
  // number. sectors: [points.size], behind that of the point before. Returns the number of listed
  // points.
  POLARSEG_AVX512_INLINE int find(const SeparatePoints& points, int first_place, float* sectors,
                                  int32_t* listed) const {
    constexpr int kPair = 2;  // so many vectors keep the processor busy
    constexpr __mmask16 kAll = 0xffff;
    int32_t* const begin = listed;
    const int size = points.size;
    __m512 before = _mm512_set1_ps(sectors[-1]);
    int i = 0;
    for (; i + kPair * kLanes <= size; i += kPair * kLanes) {
      listed = find_some<kPair>(points, i, kAll, first_place, before, sectors, listed);
    }
    for (; i < size; i += kLanes) {
      const __mmask16 lanes = first_lanes(size - i);
      listed = find_some<1>(points, i, lanes, first_place, before, sectors, listed);
    }
    return static_cast<int>(listed - begin);
  }

 private:
  // Degrees. Polynomial 4.7e-3, reciprocal 1.8e-3.
  static constexpr float kSlack = 1e-2f;
  static constexpr float kArc[] = {57.2507324f, -18.4019699f, 8.38033676f, -2.23376298f};
  // Of larger numbers there is no cheap reciprocal.
  static constexpr float kFar = 0x1p100f;

  // Of `kVectors` vectors of points from i on; before: the sectors of the points before, in the
  // last lane. Step by step for all of them, because each step waits for the one before.
  template <int kVectors>
  POLARSEG_AVX512_INLINE int32_t* find_some(const SeparatePoints& points, int i, __mmask16 lanes,
                                            int first_place, __m512& before, float* sectors,
                                            int32_t* listed) const {
    __m512 turn[kVectors];
    look<kVectors>(points, i, turn);
    __mmask16 sure[kVectors];
    __m512 sector[kVectors];
    for (int k = 0; k < kVectors; ++k) {
      sector[k] = _mm512_roundscale_ps(turn[k], _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    }
    for (int k = 0; k < kVectors; ++k) {
      const __m512 behind = _mm512_sub_ps(turn[k], sector[k]);
      const __m512 off = _mm512_abs_ps(_mm512_sub_ps(behind, _mm512_set1_ps(0.5f)));
      sure[k] = _mm512_cmp_ps_mask(off, doubt_, _CMP_LT_OQ);
    }
    __mmask16 differ[kVectors];
    const __m512 nowhere = _mm512_set1_ps(std::numeric_limits<float>::quiet_NaN());
    for (int k = 0; k < kVectors; ++k) {
      sector[k] = _mm512_mask_mov_ps(nowhere, sure[k], sector[k]);
      _mm512_store_ps(sectors + i + k * kLanes, sector[k]);
      const __m512 previous = _mm512_castsi512_ps(_mm512_alignr_epi32(
          _mm512_castps_si512(sector[k]), _mm512_castps_si512(before), kLanes - 1));
      differ[k] = _mm512_mask_cmp_ps_mask(lanes, sector[k], previous, _CMP_NEQ_UQ);
      before = sector[k];
    }
    for (int k = 0; k < kVectors; ++k) {
      const __m512i first = _mm512_set1_epi32(first_place + i + k * kLanes);
      const __m512i place = _mm512_add_epi32(lane_numbers(), first);
      _mm512_storeu_si512(listed, _mm512_maskz_compress_epi32(differ[k], place));
      listed += __builtin_popcount(differ[k]);
    }
    return listed;
  }

  // Rays from ray 0 to each point, [-count / 2, count / 2].
  template <int kVectors>
  POLARSEG_AVX512_INLINE void look(const SeparatePoints& points, int i, __m512* turn) const {
    __m512 dx[kVectors];
    __m512 dy[kVectors];
    __m512 t[kVectors];
    __mmask16 steep[kVectors];
    for (int k = 0; k < kVectors; ++k) {
      dx[k] = _mm512_sub_ps(_mm512_load_ps(points.x + i + k * kLanes), origin_x_);
      dy[k] = _mm512_sub_ps(_mm512_load_ps(points.y + i + k * kLanes), origin_y_);
      const __m512 x = _mm512_abs_ps(dx[k]);
      const __m512 y = _mm512_abs_ps(dy[k]);
      steep[k] = _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ);
      // in this order, one of them is no number where x or y is none
      t[k] = _mm512_mul_ps(_mm512_min_ps(x, y), _mm512_rcp14_ps(_mm512_max_ps(y, x)));
    }
    for (int k = 0; k < kVectors; ++k) {
      const __m512 u = _mm512_mul_ps(t[k], t[k]);
      turn[k] = _mm512_fmadd_ps(_mm512_fmadd_ps(arc_[3], u, arc_[2]), u, arc_[1]);
      turn[k] = _mm512_mul_ps(_mm512_fmadd_ps(turn[k], u, arc_[0]), t[k]);
    }
    for (int k = 0; k < kVectors; ++k) {
      const __mmask16 above = _mm512_cmp_ps_mask(dy[k], _mm512_setzero_ps(), _CMP_LT_OQ);
      turn[k] = _mm512_mask_sub_ps(turn[k], steep[k], quarter_, turn[k]);
      turn[k] = _mm512_mask_sub_ps(turn[k], above, half_, turn[k]);
      turn[k] = with_sign(dx[k], turn[k]);
    }
  }

  __m512 origin_x_;
  __m512 origin_y_;
  __m512 quarter_;
  __m512 half_;
  __m512 arc_[4];
  __m512 doubt_;  // sure is what is nearer to the middle of a sector
};

}  // namespace polarseg

#endif
