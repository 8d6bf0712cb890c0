// The binned rule with vectors, for rays at least eight degrees apart.
//
// Then every degree answers for one ray at most, and what a contour comes to is a small table: of
// each of the seven degrees round a ray the largest squared length. Which row and ray a point falls
// into is arithmetic, a vector of points at a time; only entering them goes one by one.
//
// Most rays find a point in their own degree, so at first only the points of those degrees are
// looked for, by a rough angle. For the rays left empty the neighbouring degrees are, in those
// sixteens of points whose circle comes near such a ray.
//
// Cheap angles change no result: a point is entered only where its angle is farther from a border
// than all the errors together, and the exact rule settles the others.
#pragma once

#include <algorithm>

#include "binned_look_simd.h"
#include "circles_simd.h"

namespace polarseg::POLARSEG_SIMD {

// Shorter contours leave degrees without a point as a rule.
constexpr int64_t kLong = 200;

// Largest squared lengths by cell: row (degree round a ray, 0 to 6 for -3 to 3) * kStride + ray.
struct Table {
  static_assert(kStride % kLanes == 0, "whole vectors are cleared and read");
  float squared[kRows * kStride];

  POLARSEG_SIMD_INLINE void clear(int first_row, int end_row) {
    for (int i = first_row * kStride; i < end_row * kStride; i += kLanes) {
      store(squared + i, floats(kEmptyBin));
    }
  }
};

// Up to twelve locations on their way round a contour.
class BinnedWalk {
 public:
  explicit BinnedWalk(const LocationGroup& group) : group_(group), rays_(group.num_rays) {}

  POLARSEG_SIMD_TARGET void walk(int begin, int count) {
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
  static constexpr int kEntries = 2048;                    // of a list of points
  static constexpr int kVisits = 256;                      // of sixteen points each
  static constexpr int kLooks = kVisits * kCircleVectors;  // of chosen vectors there are fewer
  static_assert(kVisits > kCircles && kLooks > kEntries / kLanes + 1 && kEntries >= 2 * kBlock);

  // A vector of points as a location sees them.
  struct Sight {
    Floats dx;
    Floats dy;
    int location;
  };

  bool is_long() const { return group_.size >= kLong; }

  bool is_one_block() const { return group_.size <= kBlock; }

  // Separates the points of the block from `begin` on; those of a single block stay separate.
  POLARSEG_SIMD_INLINE void take_block(int64_t begin) {
    if (is_one_block() && points_.size == group_.size) return;
    points_.take(group_.points + 2 * begin,
                 static_cast<int>(std::min<int64_t>(group_.size - begin, kBlock)));
    circles_.count = 0;
  }

  // ---- the rays' own degrees ----

  POLARSEG_SIMD_INLINE void find_own(int begin, int count) {
    for (int64_t block = 0; block < group_.size; block += kBlock) {
      take_block(block);
      for (int n = 0; n < count; ++n) {
        if (chosen_ > kEntries - kBlock) look_at_chosen();
        rays_.fold() ? choose<true>(n) : choose<false>(n);
      }
      look_at_chosen();
    }
    enter_all();
    for (int n = 0; n < count; ++n) empty_[n] = read(tables_[n], 1, group_.row(begin + n));
  }

  // The points near a ray's own degree. Each location begins a new vector.
  template <bool kFolded>
  POLARSEG_SIMD_INLINE void choose(int n) {
    const Rays rays = rays_;  // a copy cannot be changed by what is stored
    const Floats origin_x = floats(origins_.x[n]);
    const Floats origin_y = floats(origins_.y[n]);
    float* const list_x = dx_ + chosen_;
    float* const list_y = dy_ + chosen_;
    const auto is_near = [&](int i) POLARSEG_SIMD_LAMBDA {
      return near_own<kFolded>(load(points_.x + i) - origin_x, load(points_.y + i) - origin_y,
                               rays);
    };
    const auto enter = [&](int i, unsigned lanes, int chosen) POLARSEG_SIMD_LAMBDA {
      store_packed(list_x + chosen, lanes, load(points_.x + i) - origin_x);
      store_packed(list_y + chosen, lanes, load(points_.y + i) - origin_y);
    };
    int size = chosen_ + choose_points(points_.size, is_near, enter);
    const Floats nowhere = floats(std::numeric_limits<float>::infinity());
    store(dx_ + size, nowhere);
    store(dy_ + size, nowhere);
    size = round_up(size, kLanes);
    for (int v = chosen_ / kLanes; v < size / kLanes; v += kLanes) store(location_ + v, ints(n));
    chosen_ = size;
  }

  POLARSEG_SIMD_INLINE Sight chosen(int n) const {
    return {load(dx_ + n * kLanes), load(dy_ + n * kLanes), location_[n]};
  }

  POLARSEG_SIMD_TARGET void look_at_chosen() {
    const auto get = [this](int n) POLARSEG_SIMD_LAMBDA { return chosen(n); };
    look_at<true>(chosen_ / kLanes, get);
    chosen_ = 0;
  }

  // ---- the other degrees ----

  POLARSEG_SIMD_INLINE void fill_empty(int num_needy) {
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

  POLARSEG_SIMD_INLINE uint64_t circles_near(int location) {
    if (circles_.count == 0) circles_.draw(points_);
    return circles_.near(origins_.x[location], origins_.y[location], empty_[location], rays_.step);
  }

  // Lists some sixteens of points of the block.
  POLARSEG_SIMD_INLINE void visit(uint64_t sixteens, int location) {
    Ints place = add(ints(location << kPointBits), multiply(lane_numbers(), ints(kCirclePoints)));
    const int count = (points_.size + kCirclePoints - 1) / kCirclePoints;
    for (int i = 0; i < count; i += kLanes) {
      const unsigned lanes = static_cast<unsigned>(sixteens >> i) & bits(first_lanes(count - i));
      store_packed(visits_ + visited_, lanes, place);
      visited_ += __builtin_popcount(lanes);
      place = add(place, ints(kLanes * kCirclePoints));
    }
  }

  POLARSEG_SIMD_INLINE Sight visited(int n) const {
    const int32_t visit = visits_[n / kCircleVectors];
    const int location = location_of(visit);
    const int point = point_of(visit) + n % kCircleVectors * kLanes;
    return {load(points_.x + point) - floats(origins_.x[location]),
            load(points_.y + point) - floats(origins_.y[location]), location};
  }

  POLARSEG_SIMD_TARGET void look_at_visited() {
    const auto get = [this](int n) POLARSEG_SIMD_LAMBDA { return visited(n); };
    look_at<false>(visited_ * kCircleVectors, get);
    visited_ = 0;
  }

  // ---- entering ----

  // Looks closely at so many vectors of points and enters those in rays' own degrees, or in the
  // degrees round empty rays. Where some are in doubt, which is rare, it looks again afterwards, so
  // that nothing has to wait for the answer.
  template <bool kOwn, typename Get>
  POLARSEG_SIMD_INLINE void look_at(int count, const Get& get) {
    const Rays rays = rays_;  // a copy cannot be changed by what is stored
    int num_doubtful = 0;
    for (int n = 0; n < count; ++n) {
      const Sight sight = get(n);
      const Seen seen = look_closely<kOwn>(sight.dx, sight.dy, rays);
      Mask lanes = seen.sure;
      // of a point without a cheap angle the answer means nothing
      if constexpr (!kOwn) lanes = lanes & is_among(truncate(seen.ray), empty_[sight.location]);
      if (entries_ > kEntries - kLanes) enter_all();
      take(seen, bits(lanes), sight.location);
      doubtful_[num_doubtful] = n;
      num_doubtful += bits(seen.unsure) != 0;
    }
    for (int i = 0; i < num_doubtful; ++i) {
      const Sight sight = get(doubtful_[i]);
      settle(bits(look_closely<kOwn>(sight.dx, sight.dy, rays).unsure), sight);
    }
  }

  // Lists some of the points.
  POLARSEG_SIMD_INLINE void take(const Seen& seen, unsigned lanes, int location) {
    constexpr int kCells = sizeof(Table) / sizeof(float);
    store_packed(cell_ + entries_, lanes, add(seen.cell, ints(location * kCells)));
    store_packed(squared_ + entries_, lanes, seen.squared);
    entries_ += __builtin_popcount(lanes);
  }

  // Enters some of the points by the exact rule.
  POLARSEG_SIMD_INLINE void settle(unsigned lanes, const Sight& sight) {
    float x[kLanes];
    float y[kLanes];
    store(x, sight.dx);
    store(y, sight.dy);
    for (; lanes != 0; lanes &= lanes - 1) {
      const int lane = __builtin_ctz(lanes);
      const int bin = exact_degree_bin(x[lane], y[lane]) + kReach;
      const int row = bin % rays_.step;
      if (row >= kRows) continue;
      float& cell = tables_[sight.location].squared[row * kStride + bin / rays_.step];
      keep_larger(cell, sum_of_squares(x[lane], y[lane]));
    }
  }

  POLARSEG_SIMD_TARGET void enter_all() {
    float* const cells = tables_[0].squared;
    const int size = entries_;
    for (int n = 0; n < size; ++n) keep_larger(cells[cell_[n]], squared_[n]);
    entries_ = 0;
  }

  // The first of so many degrees, in the rule's order, that holds a point, for each ray; the rays
  // without one, as bits.
  POLARSEG_SIMD_INLINE uint64_t read(const Table& table, int degrees, float* row) const {
    constexpr int kOrder[] = {3, 4, 2, 5, 1, 6, 0};
    const Floats none = floats(kEmptyBin);
    const int num_rays = group_.num_rays;
    uint64_t empty = 0;
    for (int ray = 0; ray < num_rays; ray += kLanes) {
      Floats found = none;
      for (int n = 0; n < degrees; ++n) {
        const Floats cells = load(table.squared + kOrder[n] * kStride + ray);
        found = select(is_equal(found, none), cells, found);
      }
      const Mask left = is_equal(found, none) & first_lanes(num_rays - ray);
      empty |= static_cast<uint64_t>(bits(left)) << ray;
      store_first(row + ray, num_rays - ray, found);
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
  uint64_t empty_[kBatch];                           // rays of each location, as bits
  int needy_[kBatch + 1];                            // locations that have such rays
  alignas(kAlign) float dx_[kEntries + 2 * kLanes];  // of the chosen points
  alignas(kAlign) float dy_[kEntries + 2 * kLanes];
  int32_t location_[kEntries / kLanes + 2 * kLanes];  // of a vector of chosen points
  int32_t visits_[kVisits + kLanes];                  // places: sixteen points from each on
  int32_t doubtful_[kLooks];                          // numbers of looks
  alignas(kAlign) int32_t cell_[kEntries + kLanes];   // of the listed points
  alignas(kAlign) float squared_[kEntries + kLanes];
  Circles circles_;  // of the block, where they have been needed
  alignas(kAlign) Table tables_[kBatch];
};

POLARSEG_SIMD_TARGET inline void squared_binned_rays(const LocationGroup& group) {
  BinnedWalk walk(group);
  walk_in_batches(walk, group.count);
}

}  // namespace polarseg::POLARSEG_SIMD
