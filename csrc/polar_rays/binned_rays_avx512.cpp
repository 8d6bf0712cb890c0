// The binned rule with AVX-512, for rays at least eight degrees apart.
//
// Then every degree answers for one ray at most, and what a contour comes to is a small table: of
// each of the seven degrees round a ray the largest squared length. Which row and ray a point falls
// into is arithmetic, sixteen points at a time; only entering them goes one by one.
//
// Most rays find a point in their own degree, so at first only the points of those degrees are
// looked for, by a rough angle. For the rays left empty the neighbouring degrees are, in those
// sixteens of points whose circle comes near such a ray.
//
// Cheap angles change no result: a point is entered only where its angle is farther from a border
// than all the errors together, and the exact rule settles the others.
#include "polar_rays_avx512.h"

#if defined(POLARSEG_X86_TARGETS)
#include <algorithm>

#include "binned_look_avx512.h"
#include "circles_avx512.h"

namespace polarseg {
namespace {

constexpr int kRoom = 2048;   // of a list
constexpr int kVisits = 256;  // of sixteen points each; of chosen ones there are fewer
static_assert(kVisits > kRoom / kLanes + 1);
// Shorter contours leave degrees without a point as a rule.
constexpr int64_t kLong = 200;

// Largest squared lengths by cell: row (degree round a ray, 0 to 6 for -3 to 3) * kStride + ray.
struct Table {
  float squared[kRows * kStride];

  POLARSEG_AVX512_INLINE void clear(int first_row, int end_row) {
    for (int i = first_row * kStride; i < end_row * kStride; i += kLanes) {
      _mm512_store_ps(squared + i, _mm512_set1_ps(kEmptyBin));
    }
  }
};

// Up to twelve locations on their way round a contour.
class BinnedWalk {
 public:
  explicit BinnedWalk(const LocationGroup& group) : group_(group), rays_(group.num_rays) {}

  POLARSEG_AVX512 void walk(int begin, int count) {
    origins_ = Origins(group_, begin, count);
    for (int n = 0; n < count; ++n) tables_[n].clear(kReach, kReach + 1);
    std::fill_n(empty_, count, ~uint64_t{0});
    if (is_long()) find_own(begin, count);
    // no branch could be predicted
    int num_needy = 0;
    for (int n = 0; n < count; ++n) {
      needy_[num_needy] = n;
      num_needy += empty_[n] != 0;
    }
    if (num_needy == 0) return;
    for (int i = 0; i < num_needy; ++i) {
      tables_[needy_[i]].clear(0, kReach);
      tables_[needy_[i]].clear(kReach + 1, kRows);
    }
    fill_empty(num_needy);
    for (int i = 0; i < num_needy; ++i) {
      read(tables_[needy_[i]], 7, group_.row(begin + needy_[i]));
    }
  }

 private:
  // Sixteen points as a location sees them.
  struct Sight {
    __m512 dx;
    __m512 dy;
    int location;
  };

  bool is_long() const { return group_.size >= kLong; }

  bool is_one_block() const { return group_.size <= kBlock; }

  // Separates the points of the block from `begin` on; those of a single block stay separate.
  POLARSEG_AVX512_INLINE void take_block(int64_t begin) {
    if (is_one_block() && points_.size == group_.size) return;
    points_.take(group_.points + 2 * begin,
                 static_cast<int>(std::min<int64_t>(group_.size - begin, kBlock)));
    circles_.count = 0;
  }

  // ---- the rays' own degrees ----

  POLARSEG_AVX512_INLINE void find_own(int begin, int count) {
    for (int64_t block = 0; block < group_.size; block += kBlock) {
      take_block(block);
      for (int n = 0; n < count; ++n) {
        if (chosen_ > kRoom - kBlock) look_at_chosen();
        rays_.fold() ? choose<true>(n) : choose<false>(n);
      }
      look_at_chosen();
    }
    enter_all();
    for (int n = 0; n < count; ++n) empty_[n] = read(tables_[n], 1, group_.row(begin + n));
  }

  // The points near a ray's own degree. Each location begins a new vector.
  template <bool kFolded>
  POLARSEG_AVX512_INLINE void choose(int n) {
    const Rays rays = rays_;  // a copy cannot be changed by what is stored
    const __m512 origin_x = _mm512_set1_ps(origins_.x[n]);
    const __m512 origin_y = _mm512_set1_ps(origins_.y[n]);
    int size = chosen_;
    const auto choose_some =
        [&](int i, __mmask16 lanes) __attribute__((target("avx512f"), always_inline)) {
          const __m512 dx = _mm512_sub_ps(_mm512_load_ps(points_.x + i), origin_x);
          const __m512 dy = _mm512_sub_ps(_mm512_load_ps(points_.y + i), origin_y);
          const __mmask16 near = _mm512_kand(near_own<kFolded>(dx, dy, rays), lanes);
          _mm512_storeu_ps(dx_ + size, _mm512_maskz_compress_ps(near, dx));
          _mm512_storeu_ps(dy_ + size, _mm512_maskz_compress_ps(near, dy));
          size += __builtin_popcount(near);
        };
    const int points = points_.size;
    int i = 0;
    for (; i + kLanes <= points; i += kLanes) choose_some(i, 0xffff);
    if (i < points) choose_some(i, first_lanes(points - i));
    const __m512 nowhere = _mm512_set1_ps(std::numeric_limits<float>::infinity());
    _mm512_storeu_ps(dx_ + size, nowhere);
    _mm512_storeu_ps(dy_ + size, nowhere);
    size = round_up(size, kLanes);
    for (int v = chosen_ / kLanes; v < size / kLanes; v += kLanes) {
      _mm512_storeu_si512(location_ + v, _mm512_set1_epi32(n));
    }
    chosen_ = size;
  }

  POLARSEG_AVX512_INLINE Sight chosen(int n) const {
    return {_mm512_load_ps(dx_ + n * kLanes), _mm512_load_ps(dy_ + n * kLanes), location_[n]};
  }

  POLARSEG_AVX512 void look_at_chosen() {
    const auto get = [this](int n)
                         __attribute__((target("avx512f"), always_inline)) { return chosen(n); };
    look_at<true>(chosen_ / kLanes, get);
    chosen_ = 0;
  }

  // ---- the other degrees ----

  POLARSEG_AVX512_INLINE void fill_empty(int num_needy) {
    for (int64_t block = 0; block < group_.size; block += kBlock) {
      take_block(block);
      for (int i = 0; i < num_needy; ++i) {
        const uint64_t circles = is_long() ? circles_near(needy_[i]) : ~uint64_t{0};
        if (visited_ > kVisits - kCircles) look_at_visited();
        visit(circles, needy_[i]);
      }
      look_at_visited();
    }
    enter_all();
  }

  POLARSEG_AVX512_INLINE uint64_t circles_near(int location) {
    if (circles_.count == 0) circles_.draw(points_);
    return circles_.near(origins_.x[location], origins_.y[location], empty_[location], rays_.step);
  }

  // Lists some sixteens of points of the block.
  POLARSEG_AVX512_INLINE void visit(uint64_t sixteens, int location) {
    __m512i place = _mm512_add_epi32(_mm512_set1_epi32(location << kPointBits),
                                     _mm512_slli_epi32(lane_numbers(), 4));
    const int count = (points_.size + kLanes - 1) / kLanes;
    for (int i = 0; i < count; i += kLanes) {
      const __mmask16 lanes =
          _mm512_kand(static_cast<__mmask16>(sixteens >> i), first_lanes(count - i));
      _mm512_storeu_si512(visits_ + visited_, _mm512_maskz_compress_epi32(lanes, place));
      visited_ += __builtin_popcount(lanes);
      place = _mm512_add_epi32(place, _mm512_set1_epi32(kLanes * kLanes));
    }
  }

  POLARSEG_AVX512_INLINE Sight visited(int n) const {
    const int location = location_of(visits_[n]);
    const int point = point_of(visits_[n]);
    return {_mm512_sub_ps(_mm512_load_ps(points_.x + point), _mm512_set1_ps(origins_.x[location])),
            _mm512_sub_ps(_mm512_load_ps(points_.y + point), _mm512_set1_ps(origins_.y[location])),
            location};
  }

  POLARSEG_AVX512 void look_at_visited() {
    const auto get = [this](int n)
                         __attribute__((target("avx512f"), always_inline)) { return visited(n); };
    look_at<false>(visited_, get);
    visited_ = 0;
  }

  // ---- entering ----

  // Looks closely at so many times sixteen points and enters those in rays' own degrees, or in the
  // degrees round empty rays. Where some are in doubt, which is rare, it looks again afterwards, so
  // that nothing has to wait for the answer.
  template <bool kOwn, typename Get>
  POLARSEG_AVX512_INLINE void look_at(int count, const Get& get) {
    const Rays rays = rays_;  // a copy cannot be changed by what is stored
    int num_doubtful = 0;
    for (int n = 0; n < count; ++n) {
      const Sight sight = get(n);
      const Seen seen = look_closely<kOwn>(sight.dx, sight.dy, rays);
      __mmask16 lanes = seen.sure;
      if constexpr (!kOwn) lanes = _mm512_kand(lanes, is_among(seen.ray, empty_[sight.location]));
      if (entries_ > kRoom - kLanes) enter_all();
      take(seen, lanes, sight.location);
      doubtful_[num_doubtful] = n;
      num_doubtful += seen.unsure != 0;
    }
    for (int i = 0; i < num_doubtful; ++i) {
      const Sight sight = get(doubtful_[i]);
      settle(look_closely<kOwn>(sight.dx, sight.dy, rays).unsure, sight);
    }
  }

  // Lists some of sixteen points.
  POLARSEG_AVX512_INLINE void take(const Seen& seen, __mmask16 lanes, int location) {
    constexpr int kCells = sizeof(Table) / sizeof(float);
    const __m512i cell = _mm512_add_epi32(seen.cell, _mm512_set1_epi32(location * kCells));
    _mm512_storeu_si512(cell_ + entries_, _mm512_maskz_compress_epi32(lanes, cell));
    _mm512_storeu_ps(squared_ + entries_, _mm512_maskz_compress_ps(lanes, seen.squared));
    entries_ += __builtin_popcount(lanes);
  }

  // Enters some of sixteen points by the exact rule.
  POLARSEG_AVX512_INLINE void settle(unsigned lanes, const Sight& sight) {
    float x[kLanes];
    float y[kLanes];
    _mm512_storeu_ps(x, sight.dx);
    _mm512_storeu_ps(y, sight.dy);
    for (; lanes != 0; lanes &= lanes - 1) {
      const int lane = __builtin_ctz(lanes);
      const int bin = exact_degree_bin(x[lane], y[lane]) + kReach;
      const int row = bin % rays_.step;
      if (row >= kRows) continue;
      float& cell = tables_[sight.location].squared[row * kStride + bin / rays_.step];
      keep_larger(cell, sum_of_squares(x[lane], y[lane]));
    }
  }

  POLARSEG_AVX512 void enter_all() {
    float* const cells = tables_[0].squared;
    const int size = entries_;
    for (int n = 0; n < size; ++n) keep_larger(cells[cell_[n]], squared_[n]);
    entries_ = 0;
  }

  // The first of so many degrees, in the rule's order, that holds a point, for each ray; the rays
  // without one, as bits.
  POLARSEG_AVX512_INLINE uint64_t read(const Table& table, int degrees, float* row) const {
    constexpr int kOrder[] = {3, 4, 2, 5, 1, 6, 0};
    const __m512 none = _mm512_set1_ps(kEmptyBin);
    const int num_rays = group_.num_rays;
    uint64_t empty = 0;
    for (int ray = 0; ray < num_rays; ray += kLanes) {
      const __mmask16 lanes = first_lanes(num_rays - ray);
      __m512 found = none;
      for (int n = 0; n < degrees; ++n) {
        const __mmask16 open = _mm512_cmp_ps_mask(found, none, _CMP_EQ_OQ);
        const float* cells = table.squared + kOrder[n] * kStride + ray;
        found = _mm512_mask_load_ps(found, open, cells);
      }
      const unsigned left = _mm512_mask_cmp_ps_mask(lanes, found, none, _CMP_EQ_OQ);
      empty |= static_cast<uint64_t>(left) << ray;
      _mm512_mask_storeu_ps(row + ray, lanes, found);
    }
    return empty;
  }

  const LocationGroup& group_;
  const Rays rays_;
  SeparatePoints points_;
  Origins origins_;
  int chosen_ = 0;
  int visited_ = 0;
  int entries_ = 0;
  uint64_t empty_[kBatch];                    // rays of each location, as bits
  int needy_[kBatch + 1];                     // locations that have such rays
  alignas(64) float dx_[kRoom + 2 * kLanes];  // of the chosen points
  alignas(64) float dy_[kRoom + 2 * kLanes];
  int32_t location_[kRoom / kLanes + 2 * kLanes];  // of sixteen chosen points
  int32_t visits_[kVisits + kLanes];               // places: sixteen points from each on
  int32_t doubtful_[kVisits];                      // numbers of times sixteen points
  alignas(64) int32_t cell_[kRoom + kLanes];       // of the listed points
  alignas(64) float squared_[kRoom + kLanes];
  Circles circles_;  // of the block, where they have been needed
  alignas(64) Table tables_[kBatch];
};

}  // namespace

bool can_bin_by_avx512(int step) { return has_avx512() && step > 2 * kReach + 1; }

POLARSEG_AVX512 void squared_binned_rays_avx512(const LocationGroup& group) {
  BinnedWalk walk(group);
  walk_in_batches(walk, group.count);
}

}  // namespace polarseg

#else

namespace polarseg {

bool can_bin_by_avx512(int) { return false; }

void squared_binned_rays_avx512(const LocationGroup&) {}

}  // namespace polarseg

#endif
