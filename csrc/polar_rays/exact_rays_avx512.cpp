// The farthest intersection with AVX-512, for up to 360 rays.
//
// A rough angle tells the sectors of most points, sixteen at a time, and so of most edges that they
// cross nothing. The few points next to a ray are settled exactly, eight at a time: of each the
// nearest ray is known, and the side of it on which the point lies gives the sector. Then it is
// known which ray each of the other edges crosses, and these crossings are worked out, eight at a
// time again.
#include "polar_rays_avx512.h"

#if defined(POLARSEG_X86_TARGETS)
#include <algorithm>

#include "crossing_avx512.h"
#include "sectors_avx512.h"

namespace polarseg {
namespace {

// The rays must be so far apart that at most one of them is within kRoughSlack.
constexpr int kMostRays = 360;
constexpr int kRoom = kBatch * kBlock + 2 * kLanes;
constexpr float kNowhere = std::numeric_limits<float>::quiet_NaN();

struct KeepLongest {
  float* rays;
  void operator()(int ray, float length) { keep_larger(rays[ray], length); }
};

// Sectors of all points of a block as each location sees them, from -count to count, those that
// differ by count being the same; not a number where there is none. Before the first point stands
// the one that an edge leads from.
struct Sectors {
  static constexpr int kGap = 2 * kLanes;
  alignas(64) float of[kBatch * (kBlock + kGap)];

  float* row(int location) { return of + location * (kBlock + kGap) + kLanes; }
  float& at(int32_t place) { return row(location_of(place))[point_of(place)]; }
  float& before(int location) { return row(location)[-1]; }

  // Where they stand behind the first one.
  POLARSEG_AVX512_INLINE static __m512i index(__m512i places) {
    static_assert(kGap == 1 << 5);
    return _mm512_add_epi32(places, _mm512_slli_epi32(locations_of(places), 5));
  }

  // Those of sixteen points.
  POLARSEG_AVX512_INLINE __m512 gather(__m512i places) {
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), 0xffff, index(places), row(0), 4);
  }

  // Those of sixteen points and of the points before.
  POLARSEG_AVX512_INLINE void gather(__m512i places, __m512& from, __m512& to) {
    const __m512i at = index(places);
    const void* pairs = row(0) - 1;
    const __m512d zero = _mm512_setzero_pd();
    const __m512 first =
        _mm512_castpd_ps(_mm512_mask_i32gather_pd(zero, 0xff, lower(at), pairs, 4));
    const __m256i rest = _mm512_extracti64x4_epi64(at, 1);
    const __m512 second = _mm512_castpd_ps(_mm512_mask_i32gather_pd(zero, 0xff, rest, pairs, 4));
    separate(first, second, from, to);
  }
};

// Up to twelve locations on their way round a contour.
class EdgeWalk {
 public:
  EdgeWalk(const LocationGroup& group, const RayFan& fan)
      : group_(group),
        fan_(fan),
        every_{fan.directions, fan.count, 1},
        row_(round_up(fan.count, kLanes)) {}

  POLARSEG_AVX512 void walk(int begin, int count) {
    origins_ = Origins(group_, begin, count);
    std::fill_n(lengths_, count * row_, kEmptyRay);
    for (int64_t block = 0; block < group_.size; block += kBlock) {
      take_block(block);
      choose_all(count, block == 0);
      settle_all();
      if (block == 0) close(count);
      sort_out();
      cross_all();
      for (int n = 0; n < count; ++n) last_[n] = sectors_.row(n)[points_.size - 1];
    }
    for (int n = 0; n < count; ++n) write(lengths_ + n * row_, group_.row(begin + n));
  }

 private:
  bool is_one_block() const { return group_.size <= kBlock; }

  // Points `begin` on, x and y apart and together; those of a single block stay.
  POLARSEG_AVX512_INLINE void take_block(int64_t begin) {
    if (is_one_block() && points_.size == group_.size) return;
    const float* points = group_.points + 2 * begin;
    points_.take(points, static_cast<int>(std::min<int64_t>(group_.size - begin, kBlock)));
    std::copy_n(begin == 0 ? last_point() : points - 2, 2, ends_);
    std::copy_n(points, 2 * points_.size, ends_ + 2);
  }

  const float* last_point() const { return group_.points + 2 * (group_.size - 1); }

  // Both ends of the edge that leads to a point.
  const float* edge(int32_t place) const { return ends_ + 2 * point_of(place); }

  Offset offset(const float* point, int location) const {
    return offset_to(point[0], point[1], origins_.x[location], origins_.y[location]);
  }

  SeenVertex see(const float* point, int location) const {
    const float dx = point[0] - origins_.x[location];
    const float dy = point[1] - origins_.y[location];
    return see_exactly(dx, dy, approximate_degrees(dx, dy), offset(point, location), fan_);
  }

  static float as_sector(const SeenVertex& vertex) {
    return vertex.sector == kNoSector ? kNowhere : static_cast<float>(vertex.sector);
  }

  KeepLongest keep(int location) { return {lengths_ + location * row_}; }

  // ---- sectors ----

  // Lists the edges whose ends may lie in two sectors, by the points that they lead to; among them
  // all that lead to a point in doubt.
  POLARSEG_AVX512_INLINE void choose_all(int count, bool is_first) {
    int chosen = 0;
    for (int n = 0; n < count; ++n) {
      sectors_.before(n) = is_first ? kNowhere : last_[n];
      const RoughSectors rough(points_.farthest, origins_.x[n], origins_.y[n], fan_.count);
      chosen += rough.find(points_, n << kPointBits, sectors_.row(n), chosen_ + chosen);
    }
    num_chosen_ = chosen;
  }

  // Settles the points in doubt, and enters those that lie on a ray.
  POLARSEG_AVX512_INLINE void settle_all() {
    int size = 0;
    for (int i = 0; i < num_chosen_; i += kLanes) {
      const __mmask16 lanes = first_lanes(num_chosen_ - i);
      const __m512i places = _mm512_maskz_loadu_epi32(lanes, chosen_ + i);
      const __m512 sectors = sectors_.gather(places);
      const __mmask16 doubt = _mm512_mask_cmp_ps_mask(lanes, sectors, sectors, _CMP_UNORD_Q);
      _mm512_storeu_si512(unsure_ + size, _mm512_maskz_compress_epi32(doubt, places));
      size += __builtin_popcount(doubt);
    }
    _mm512_storeu_si512(unsure_ + size, _mm512_setzero_si512());  // whole vectors are looked at
    for (int i = 0; i < size; i += kEdges) settle(unsure_ + i, std::min(size - i, kEdges));
  }

  POLARSEG_AVX512_INLINE void settle(const int32_t* unsure, int size) {
    const __mmask16 lanes = first_lanes(size);
    const __m512i places = _mm512_maskz_loadu_epi32(lanes, unsure);
    const __m512i points = _mm512_and_si512(places, _mm512_set1_epi32(kBlock - 1));
    const __m512 x = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes, points, points_.x, 4);
    const __m512 y = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes, points, points_.y, 4);
    const __m512i locations = locations_of(places);
    const __m512 origin_x = _mm512_permutexvar_ps(locations, _mm512_loadu_ps(origins_.x));
    const __m512 origin_y = _mm512_permutexvar_ps(locations, _mm512_loadu_ps(origins_.y));
    const NearestRay nearest(_mm512_sub_ps(x, origin_x), _mm512_sub_ps(y, origin_y), fan_.count);
    const __mmask16 known = _mm512_kand(nearest.known, lanes);

    alignas(64) int32_t ray[kLanes];
    _mm512_store_si512(ray, nearest.number);
    const Directions directions = load_directions(fan_.directions, ray);
    const Offsets p = Offsets::of(lower(x), lower(y), _mm512_cvtps_pd(lower(origin_x)),
                                  _mm512_cvtps_pd(lower(origin_y)));
    const __m512d side = side_of_rays(directions, p);
    const __mmask16 behind = _mm512_cmp_pd_mask(side, _mm512_setzero_pd(), _CMP_LT_OQ);
    const __m512 sector =
        _mm512_mask_sub_ps(nearest.turn, behind, nearest.turn, _mm512_set1_ps(1.f));
    _mm512_mask_i32scatter_ps(sectors_.row(0), known, Sectors::index(places), sector, 4);

    // of the others 0, which is no length: no branch could be predicted
    const __mmask16 on_ray =
        _mm512_kand(_mm512_cmp_pd_mask(side, _mm512_setzero_pd(), _CMP_EQ_OQ), known);
    const __m512d along =
        _mm512_maskz_mov_pd(static_cast<__mmask8>(on_ray), along_rays(directions, p));
    alignas(32) float length[kEdges];
    _mm256_store_ps(length, _mm512_cvtpd_ps(along));
    for (int lane = 0; lane < kEdges; ++lane) {
      keep(location_of(unsure[lane]))(ray[lane], length[lane]);
    }
    for (unsigned left = lanes & ~known; __builtin_expect(left != 0, 0); left &= left - 1) {
      settle_alone(unsure[__builtin_ctz(left)]);
    }
  }

  void settle_alone(int32_t place) {
    const int location = location_of(place);
    const float* point = edge(place) + 2;
    const SeenVertex vertex = see(point, location);
    KeepLongest longest = keep(location);
    keep_touch(vertex, offset(point, location), every_, longest);
    sectors_.at(place) = as_sector(vertex);
  }

  // The first edge leads from the last point.
  void close(int count) {
    for (int n = 0; n < count; ++n) {
      sectors_.before(n) =
          is_one_block() ? sectors_.row(n)[points_.size - 1] : as_sector(see(last_point(), n));
    }
  }

  // ---- crossings ----

  // Lists the edges that cross one ray, and which; the few that cross several are crossed.
  POLARSEG_AVX512_INLINE void sort_out() {
    const __m512 zero = _mm512_setzero_ps();
    const __m512 all = _mm512_set1_ps(static_cast<float>(fan_.count));
    const __m512 most = _mm512_set1_ps(static_cast<float>(fan_.count - 1));
    int size = 0;
    for (int i = 0; i < num_chosen_; i += kLanes) {
      const __mmask16 lanes = first_lanes(num_chosen_ - i);
      const __m512i places = _mm512_maskz_loadu_epi32(lanes, chosen_ + i);
      __m512 from, to;
      sectors_.gather(places, from, to);
      const __m512 steps = _mm512_abs_ps(_mm512_sub_ps(to, from));
      const __mmask16 next = _mm512_mask_cmp_ps_mask(lanes, steps, _mm512_set1_ps(1.f), _CMP_EQ_OQ);
      const __mmask16 round = _mm512_mask_cmp_ps_mask(lanes, steps, most, _CMP_EQ_OQ);
      // the ray that opens the sector ahead, where they are numbered the other way round, too
      __m512 ray = _mm512_mask_min_ps(_mm512_max_ps(to, from), round, to, from);
      ray = _mm512_mask_add_ps(ray, _mm512_cmp_ps_mask(ray, zero, _CMP_LT_OQ), ray, all);
      const __mmask16 single = _mm512_kor(next, round);
      _mm512_storeu_si512(single_ + size, _mm512_maskz_compress_epi32(single, places));
      _mm512_storeu_si512(ray_ + size,
                          _mm512_maskz_compress_epi32(single, _mm512_cvttps_epi32(ray)));
      size += __builtin_popcount(single);

      const __mmask16 other = _mm512_kandn(single, lanes);
      unsigned left = _mm512_mask_cmp_ps_mask(other, steps, zero, _CMP_NEQ_OQ);
      if (__builtin_expect(left == 0, 1)) continue;
      left = _mm512_mask_cmp_ps_mask(static_cast<__mmask16>(left), steps, all, _CMP_NEQ_OQ);
      for (; left != 0; left &= left - 1) cross_alone(chosen_[i + __builtin_ctz(left)]);
    }
    num_single_ = size;
    // whole vectors are worked out
    _mm512_storeu_si512(single_ + size, _mm512_setzero_si512());
    _mm512_storeu_si512(ray_ + size, _mm512_setzero_si512());
  }

  void cross_alone(int32_t place) {
    const int location = location_of(place);
    const float* ends = edge(place);
    const float* sector = &sectors_.at(place);
    KeepLongest longest = keep(location);
    cross_edge(wrap(static_cast<int>(sector[-1]), fan_.count),
               wrap(static_cast<int>(sector[0]), fan_.count), offset(ends, location),
               offset(ends + 2, location), every_, longest);
  }

  POLARSEG_AVX512_INLINE void cross_all() {
    const __m512d first_x = _mm512_cvtps_pd(_mm256_loadu_ps(origins_.x));
    const __m512d first_y = _mm512_cvtps_pd(_mm256_loadu_ps(origins_.y));
    const __m512d other_x = _mm512_cvtps_pd(_mm256_loadu_ps(origins_.x + kEdges));
    const __m512d other_y = _mm512_cvtps_pd(_mm256_loadu_ps(origins_.y + kEdges));
    const RayDirection* of = fan_.directions;
    const int size = num_single_;
    for (int i = 0; i < size; i += kEdges) {
      const int32_t* place = single_ + i;
      const __m256i locations = lower(locations_of(_mm512_castsi256_si512(load_eight(place))));
      const __m512i location = _mm512_cvtepu32_epi64(locations);
      const Edges edges(edge(place[0]), edge(place[1]), edge(place[2]), edge(place[3]),
                        edge(place[4]), edge(place[5]), edge(place[6]), edge(place[7]));
      const __m512d origin_x = _mm512_permutex2var_pd(first_x, location, other_x);
      const __m512d origin_y = _mm512_permutex2var_pd(first_y, location, other_y);
      const Offsets p = Offsets::of(lower(edges.x), lower(edges.y), origin_x, origin_y);
      const Offsets q = Offsets::of(upper(edges.x), upper(edges.y), origin_x, origin_y);
      _mm256_store_ps(length_ + i, crossing_lengths(load_directions(of, ray_ + i), p, q));
      const __m256i begin = _mm256_mullo_epi32(locations, _mm256_set1_epi32(row_));
      _mm256_store_si256(reinterpret_cast<__m256i*>(cell_ + i),
                         _mm256_add_epi32(begin, load_eight(ray_ + i)));
    }
    for (int i = 0; i < size; ++i) keep_larger(lengths_[cell_[i]], length_[i]);
  }

  // The wanted ones of a location's lengths.
  void write(const float* lengths, float* row) const {
    if (fan_.stride == 1) {
      std::copy_n(lengths, group_.num_rays, row);
      return;
    }
    for (int ray = 0; ray < group_.num_rays; ++ray) row[ray] = lengths[ray * fan_.stride];
  }

  const LocationGroup& group_;
  const RayFan& fan_;
  const RayFan every_;  // the same, with every ray wanted
  const int row_;       // from one location's lengths to the next one's
  SeparatePoints points_;
  Origins origins_;
  int num_chosen_ = 0;
  int num_single_ = 0;
  float last_[kBatch];                      // sectors of the last points of the block before
  alignas(64) float ends_[2 * kBlock + 2];  // x, y of the point before the block, and of its own
  alignas(64) int32_t chosen_[kRoom];       // places
  alignas(64) int32_t unsure_[kRoom];       // places
  alignas(64) int32_t single_[kRoom];       // places
  alignas(64) int32_t ray_[kRoom];          // of the edges that cross a single one
  alignas(64) float length_[kRoom];         // to these crossings
  alignas(64) int32_t cell_[kRoom];         // where these lengths belong
  alignas(64) float lengths_[kBatch * round_up(kMostRays, kLanes)];
  Sectors sectors_;
};

}  // namespace

bool can_cross_by_avx512(const RayFan& fan) { return has_avx512() && fan.count <= kMostRays; }

POLARSEG_AVX512 void exact_rays_avx512(const LocationGroup& group, const RayFan& fan) {
  EdgeWalk walk(group, fan);
  walk_in_batches(walk, group.count);
}

}  // namespace polarseg

#else

namespace polarseg {

bool can_cross_by_avx512(const RayFan&) { return false; }

void exact_rays_avx512(const LocationGroup&, const RayFan&) {}

}  // namespace polarseg

#endif
