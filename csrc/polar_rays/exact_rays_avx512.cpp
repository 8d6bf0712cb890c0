// The farthest intersection with AVX-512, for up to 360 rays.
//
// A rough angle tells of most edges that both ends lie in one sector, sixteen at a time. The
// others, about two to a ray, are worked out exactly, eight at a time: of each end the nearest ray
// is known, and the side of it on which the end lies gives the sector. The arithmetic in double is
// that of polar_rays.h operation by operation, so the lengths are the same bit for bit.
#include "polar_rays_avx512.h"

#if defined(POLARSEG_X86_TARGETS)
#include <algorithm>
#include <limits>

namespace polarseg {
namespace {

constexpr int kBlock = 1024;  // edges that are chosen from together
constexpr int kEdges = 8;     // that are worked out together
// The rays must be so far apart that at most one of them is within kRoughSlack.
constexpr int kMostRays = 360;

struct KeepLongest {
  float* rays;
  void operator()(int ray, float length) { rays[ray] = std::max(rays[ray], length); }
};

// Where sixteen points are among the rays.
struct Turn {
  __m512 rays;      // from ray 0, in [-count / 2, count / 2]
  __mmask16 known;  // the point is not at the location, nor so near or far that the angle fails
};

POLARSEG_AVX512_INLINE Turn look_roughly(__m512 dx, __m512 dy, __m512 rays_per_degree) {
  const __m512 x = _mm512_abs_ps(dx);
  const __m512 y = _mm512_abs_ps(dy);
  __mmask16 steep;
  __m512 degrees = rough_degrees_in_octant(x, y, steep);
  degrees = _mm512_mask_sub_ps(degrees, steep, _mm512_set1_ps(90.f), degrees);
  const __mmask16 above = _mm512_cmp_ps_mask(dy, _mm512_setzero_ps(), _CMP_LT_OQ);
  degrees = _mm512_mask_sub_ps(degrees, above, _mm512_set1_ps(180.f), degrees);
  const __m512i turn = _mm512_castps_si512(_mm512_mul_ps(degrees, rays_per_degree));
  const __m512i sign = _mm512_set1_epi32(std::numeric_limits<int32_t>::min());
  constexpr int kFirstChooses = 0xca;  // between the bits of the second and the third
  // positive floats are in the order of their bits, with infinity and NaN behind them
  constexpr int32_t kNear = (127 - 60) << 23;  // 2^-60
  constexpr int32_t kFar = (127 + 60) << 23;
  const __m512i reach = _mm512_castps_si512(_mm512_add_ps(x, y));
  return {_mm512_castsi512_ps(
              _mm512_ternarylogic_epi32(sign, _mm512_castps_si512(dx), turn, kFirstChooses)),
          _mm512_cmple_epu32_mask(_mm512_sub_epi32(reach, _mm512_set1_epi32(kNear)),
                                  _mm512_set1_epi32(kFar - kNear))};
}

// Entries 0, 2, 4 ... and 1, 3, 5 ... of two vectors.
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

// One walk round a contour.
class EdgeWalk {
 public:
  EdgeWalk(const ContourView& contour, const RayFan& fan, float* rays)
      : contour_(contour), fan_(fan), keep_{rays} {
    const float* last = contour.points + 2 * (contour.size - 1);
    std::copy_n(last, 2, closing_);
    std::copy_n(contour.points, 2, closing_ + 2);
  }

  POLARSEG_AVX512 void walk() {
    int32_t chosen[kBlock + kLanes];
    __m512 before = _mm512_set1_ps(std::numeric_limits<float>::quiet_NaN());
    for (int64_t begin = 0; begin < contour_.size; begin += kBlock) {
      const int size = choose(begin, before, chosen);
      _mm512_storeu_si512(chosen + size, _mm512_setzero_si512());
      for (int n = 0; n < size; n += kEdges) cross(chosen + n, std::min(size - n, kEdges));
    }
  }

 private:
  // The edges of a block whose ends may lie in two sectors, by the numbers of the points that they
  // lead to. before: the last sectors of the block before, NaN where one is in doubt.
  POLARSEG_AVX512_INLINE int choose(int64_t begin, __m512& before, int32_t* chosen) const {
    const __m512 per_degree = _mm512_set1_ps(static_cast<float>(fan_.count) / 360.f);
    const __m512 doubt =
        _mm512_set1_ps(0.5f - kRoughSlack * static_cast<float>(fan_.count) / 360.f);
    const __m512 nan = _mm512_set1_ps(std::numeric_limits<float>::quiet_NaN());
    const int64_t end = std::min(begin + kBlock, contour_.size);
    __m512i index =
        _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(begin)),
                         _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    __m512 dx, dy;
    __mmask16 lanes;
    int size = 0;
    for (int64_t i = begin; i < end; i += kLanes) {
      load_differences(contour_, i, dx, dy, lanes);
      const Turn turn = look_roughly(dx, dy, per_degree);
      const __m512 floor =
          _mm512_roundscale_ps(turn.rays, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
      const __m512 off =
          _mm512_abs_ps(_mm512_sub_ps(_mm512_sub_ps(turn.rays, floor), _mm512_set1_ps(0.5f)));
      const __mmask16 sure = _mm512_mask_cmp_ps_mask(turn.known, off, doubt, _CMP_LT_OQ);
      const __m512 sector = _mm512_mask_mov_ps(nan, sure, floor);
      const __m512 previous = _mm512_castsi512_ps(_mm512_alignr_epi32(
          _mm512_castps_si512(sector), _mm512_castps_si512(before), kLanes - 1));
      const __mmask16 differ = _mm512_mask_cmp_ps_mask(lanes, sector, previous, _CMP_NEQ_UQ);
      _mm512_storeu_si512(chosen + size, _mm512_maskz_compress_epi32(differ, index));
      size += __builtin_popcount(differ);
      index = _mm512_add_epi32(index, _mm512_set1_epi32(kLanes));
      before = sector;
    }
    return size;
  }

  // Of the edge that leads to point i: x and y of its ends.
  const float* edge(int64_t i) const { return i == 0 ? closing_ : contour_.points + 2 * (i - 1); }

  Offset offset(const float* point) const {
    return offset_to(point[0], point[1], contour_.origin_x, contour_.origin_y);
  }

  SeenVertex see(const float* point) const {
    const float dx = point[0] - contour_.origin_x;
    const float dy = point[1] - contour_.origin_y;
    return see_exactly(dx, dy, approximate_degrees(dx, dy), offset(point), fan_);
  }

  // Enters the crossings of the first `size` of eight edges.
  POLARSEG_AVX512_INLINE void cross(const int32_t* chosen, int size) {
    const __m512 first =
        load_four(edge(chosen[0]), edge(chosen[1]), edge(chosen[2]), edge(chosen[3]));
    const __m512 second =
        load_four(edge(chosen[4]), edge(chosen[5]), edge(chosen[6]), edge(chosen[7]));
    // the first ends, then the second ends
    const __m512 x = _mm512_permutex2var_ps(
        first, _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 2, 6, 10, 14, 18, 22, 26, 30),
        second);
    const __m512 y = _mm512_permutex2var_ps(
        first, _mm512_setr_epi32(1, 5, 9, 13, 17, 21, 25, 29, 3, 7, 11, 15, 19, 23, 27, 31),
        second);
    const __m512 per_degree = _mm512_set1_ps(static_cast<float>(fan_.count) / 360.f);
    const Turn turn = look_roughly(_mm512_sub_ps(x, _mm512_set1_ps(contour_.origin_x)),
                                   _mm512_sub_ps(y, _mm512_set1_ps(contour_.origin_y)), per_degree);
    const __m512i count = _mm512_set1_epi32(fan_.count);
    const __m512i zero = _mm512_setzero_si512();
    const __m512 nearest =
        _mm512_roundscale_ps(turn.rays, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512i signed_ray = _mm512_maskz_cvttps_epi32(turn.known, nearest);
    const __m512i ray = _mm512_mask_add_epi32(signed_ray, _mm512_cmplt_epi32_mask(signed_ray, zero),
                                              signed_ray, count);

    const Offsets p = offsets(_mm512_castps512_ps256(x), _mm512_castps512_ps256(y));
    const Offsets q = offsets(upper(x), upper(y));
    alignas(64) int32_t rays[kLanes];
    _mm512_store_si512(rays, ray);
    Directions directions = load_directions(fan_.directions, rays);
    Directions other = directions;
    const auto lanes = static_cast<unsigned>((1 << size) - 1);
    const __m512i swapped = _mm512_shuffle_i64x2(ray, ray, 0x4e);
    const bool apart = (_mm512_cmpneq_epi32_mask(ray, swapped) & lanes) != 0;
    if (apart) other = load_directions(fan_.directions, rays + kEdges);

    const __m512d side_p = side_of_rays(directions, p);
    const __m512d side_q = side_of_rays(other, q);
    const __m512d none = _mm512_setzero_pd();
    const unsigned behind_p = _mm512_cmp_pd_mask(side_p, none, _CMP_LT_OQ);
    const unsigned behind_q = _mm512_cmp_pd_mask(side_q, none, _CMP_LT_OQ);
    const auto behind = static_cast<__mmask16>(behind_p | behind_q << kEdges);
    const __m512i one = _mm512_set1_epi32(1);
    __m512i sector = _mm512_mask_sub_epi32(ray, behind, ray, one);
    sector = _mm512_mask_add_epi32(sector, _mm512_cmplt_epi32_mask(sector, zero), sector, count);

    const __m512i to = _mm512_shuffle_i64x2(sector, sector, 0x4e);
    const __m512i ahead = _mm512_sub_epi32(to, sector);
    const __m512i most = _mm512_sub_epi32(count, one);
    const unsigned forward = _mm512_cmpeq_epi32_mask(ahead, one) |
                             _mm512_cmpeq_epi32_mask(ahead, _mm512_sub_epi32(zero, most));
    const unsigned backward = _mm512_cmpeq_epi32_mask(ahead, most) |
                              _mm512_cmpeq_epi32_mask(ahead, _mm512_set1_epi32(-1));
    const unsigned known = turn.known & (turn.known >> kEdges) & lanes;
    const unsigned single = (forward | backward) & known;
    const unsigned differ = _mm512_cmpneq_epi32_mask(ahead, zero);
    const unsigned touch = _mm512_cmp_pd_mask(side_q, none, _CMP_EQ_OQ) & known;

    const auto to_lanes = static_cast<__mmask16>(forward & 0xff);
    _mm512_store_si512(rays, _mm512_mask_mov_epi32(sector, to_lanes, to));
    if (apart) directions = load_directions(fan_.directions, rays);
    keep_some(rays, crossing_lengths(directions, p, q), single);
    // locations and points with whole coordinates: up, down, left and right touch as a rule
    if (touch != 0) keep_touches(rays + kEdges, _mm512_cvtpd_ps(along_rays(other, q)), touch);
    unsigned rest = (lanes & ~known) | (differ & ~single & known);
    for (; __builtin_expect(rest != 0, 0); rest &= rest - 1) {
      cross_exactly(edge(chosen[__builtin_ctz(rest)]));
    }
  }

  // Enters some of eight lengths: without branches, of which none could be predicted.
  POLARSEG_AVX512_INLINE void keep_some(const int32_t* ray, __m256 of_rays, unsigned some) {
    const __m512 empty = _mm512_set1_ps(kEmptyRay);
    const __m512 kept =
        _mm512_mask_mov_ps(empty, static_cast<__mmask16>(some), _mm512_castps256_ps512(of_rays));
    float lengths[kEdges];
    _mm256_storeu_ps(lengths, _mm512_castps512_ps256(kept));
    if (fan_.stride == 1) {
      for (int n = 0; n < kEdges; ++n) keep_(ray[n], lengths[n]);
      return;
    }
    for (int n = 0; n < kEdges; ++n) {
      const int wanted = fan_.wanted(ray[n]);
      if (wanted >= 0) keep_(wanted, lengths[n]);
    }
  }

  // Enters the lengths of touches: one of eight edges as a rule, so one by one.
  POLARSEG_AVX512_INLINE void keep_touches(const int32_t* ray, __m256 of_rays, unsigned touch) {
    float lengths[kEdges];
    _mm256_storeu_ps(lengths, of_rays);
    for (; touch != 0; touch &= touch - 1) {
      const int lane = __builtin_ctz(touch);
      const int wanted = fan_.wanted(ray[lane]);
      if (wanted >= 0) keep_(wanted, lengths[lane]);
    }
  }

  // Any edge, with the touch of its second end.
  void cross_exactly(const float* ends) {
    const SeenVertex p = see(ends);
    const SeenVertex q = see(ends + 2);
    keep_touch(q, offset(ends + 2), fan_, keep_);
    if (p.sector == kNoSector || q.sector == kNoSector || p.sector == q.sector) return;
    cross_edge(p.sector, q.sector, offset(ends), offset(ends + 2), fan_, keep_);
  }

  POLARSEG_AVX512_INLINE static __m256 upper(__m512 vector) {
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(vector), 1));
  }

  POLARSEG_AVX512_INLINE Offsets offsets(__m256 x, __m256 y) const {
    return {_mm512_sub_pd(_mm512_cvtps_pd(x), _mm512_set1_pd(contour_.origin_x)),
            _mm512_sub_pd(_mm512_cvtps_pd(y), _mm512_set1_pd(contour_.origin_y))};
  }

  const ContourView& contour_;
  const RayFan& fan_;
  KeepLongest keep_;
  float closing_[4];  // the edge from the last point to the first
};

}  // namespace

bool can_cross_by_avx512(const RayFan& fan) { return has_avx512() && fan.count <= kMostRays; }

void exact_rays_avx512(const ContourView& contour, const RayFan& fan, int num_rays, float* rays) {
  std::fill_n(rays, num_rays, kEmptyRay);
  if (contour.size == 0) return;
  EdgeWalk(contour, fan, rays).walk();
}

}  // namespace polarseg

#else

namespace polarseg {

bool can_cross_by_avx512(const RayFan&) { return false; }

void exact_rays_avx512(const ContourView&, const RayFan&, int, float*) {}

}  // namespace polarseg

#endif
