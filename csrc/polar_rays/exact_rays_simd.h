// The farthest intersection with vectors, for up to 360 rays.
//
// A rough angle tells the sectors of most points, a vector of them at a time, and so of most edges
// that they cross nothing. The few points next to a ray are settled exactly: of each the nearest
// ray is known, and the side of it on which the point lies gives the sector. Then it is known which
// ray each of the other edges crosses, and these crossings are worked out, half a vector at a time.
#pragma once

#include <algorithm>

#include "crossing_simd.h"
#include "sectors_simd.h"

namespace polarseg::POLARSEG_SIMD {

struct KeepLongest {
  float* rays;
  void operator()(int ray, float length) { keep_larger(rays[ray], length); }
};

// Sectors of all points of a block as each location sees them, from -count to count, those that
// differ by count being the same; not a number where there is none. Before the first point stands
// the one that an edge leads from.
struct Sectors {
  static constexpr int kGapBits = kLaneBits + 1;
  static constexpr int kGap = 1 << kGapBits;
  alignas(kAlign) float of[kBatch * (kBlock + kGap)];

  float* row(int location) { return of + location * (kBlock + kGap) + kLanes; }
  float& at(int32_t place) { return row(location_of(place))[point_of(place)]; }
  float& before(int location) { return row(location)[-1]; }

  // Where they stand behind the first one.
  POLARSEG_SIMD_INLINE static Ints index(Ints places) {
    return add(places, shift_up<kGapBits>(locations_of(places)));
  }

  POLARSEG_SIMD_INLINE Floats of_points(Ints places) {
    return gather(row(0), index(places), all_lanes());
  }

  POLARSEG_SIMD_INLINE void of_edges(Ints places, Floats& from, Floats& to) {
    gather_pairs(row(0) - 1, index(places), from, to);
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

  POLARSEG_SIMD_TARGET void walk(int begin, int count) {
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
  static constexpr int kRoom = kBatch * kBlock + 2 * kLanes;
  static constexpr float kNowhere = std::numeric_limits<float>::quiet_NaN();

  bool is_one_block() const { return group_.size <= kBlock; }

  // Points `begin` on, x and y apart and together; those of a single block stay.
  POLARSEG_SIMD_INLINE void take_block(int64_t begin) {
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
  POLARSEG_SIMD_INLINE void choose_all(int count, bool is_first) {
    int chosen = 0;
    for (int n = 0; n < count; ++n) {
      sectors_.before(n) = is_first ? kNowhere : last_[n];
      const RoughSectors rough(points_.farthest, origins_.x[n], origins_.y[n], fan_.count);
      chosen += rough.find(points_, n << kPointBits, sectors_.row(n), chosen_ + chosen);
    }
    num_chosen_ = chosen;
  }

  // Settles the points in doubt, and enters those that lie on a ray.
  POLARSEG_SIMD_INLINE void settle_all() {
    int size = 0;
    for (int i = 0; i < num_chosen_; i += kLanes) {
      const Mask lanes = first_lanes(num_chosen_ - i);
      const Ints places = load_some(chosen_ + i, lanes);
      const unsigned doubt = bits(is_nan(sectors_.of_points(places)) & lanes);
      store_packed(unsure_ + size, doubt, places);
      size += __builtin_popcount(doubt);
    }
    store(unsure_ + size, ints(0));  // whole vectors are looked at
    for (int i = 0; i < size; i += kEdges) settle(unsure_ + i, std::min(size - i, kEdges));
  }

  POLARSEG_SIMD_INLINE void settle(const int32_t* unsure, int size) {
    const Mask lanes = first_lanes(size);
    const Ints places = load_some(unsure, lanes);
    const Ints points = both(places, ints(kBlock - 1));
    const Floats x = gather(points_.x, points, lanes);
    const Floats y = gather(points_.y, points, lanes);
    const Ints locations = locations_of(places);
    const Floats origin_x = look_up(origins_.x, locations);
    const Floats origin_y = look_up(origins_.y, locations);
    const NearestRay nearest(x - origin_x, y - origin_y, fan_.count);
    const Mask known = nearest.known & lanes;

    alignas(kAlign) int32_t ray[kLanes];
    store(ray, nearest.number);
    const Directions directions(fan_.directions, ray);
    const Offsets p =
        Offsets::of(lower(x), lower(y), widen(lower(origin_x)), widen(lower(origin_y)));
    const Doubles side = side_of_rays(directions, p);
    const Floats sector = select(is_negative(side), nearest.turn - floats(1.f), nearest.turn);
    scatter(sectors_.row(0), Sectors::index(places), known, sector);

    // of those on no ray 0, which is no length: no branch could be predicted
    alignas(kAlign) float length[kLanes];
    const Floats along = extend(narrow(along_rays(directions, p)));
    store(length, select(is_zero(side) & known, along, floats(0.f)));
    for (int lane = 0; lane < kEdges; ++lane) {
      keep(location_of(unsure[lane]))(ray[lane], length[lane]);
    }
    unsigned left = bits(without(lanes, known));
    for (; __builtin_expect(left != 0, 0); left &= left - 1) {
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
  POLARSEG_SIMD_INLINE void sort_out() {
    const Floats zero = floats(0.f);
    const Floats all = floats(static_cast<float>(fan_.count));
    const Floats most = floats(static_cast<float>(fan_.count - 1));
    int size = 0;
    for (int i = 0; i < num_chosen_; i += kLanes) {
      const Mask lanes = first_lanes(num_chosen_ - i);
      const Ints places = load_some(chosen_ + i, lanes);
      Floats from, to;
      sectors_.of_edges(places, from, to);
      const Floats steps = absolute(to - from);
      const Mask round = is_equal(steps, most) & lanes;
      const Mask single = (is_equal(steps, floats(1.f)) & lanes) | round;
      // the ray that opens the sector ahead, where they are numbered the other way round, too
      Floats ray = select(round, smaller(to, from), larger(to, from));
      ray = select(is_less(ray, zero), ray + all, ray);
      store_packed(single_ + size, bits(single), places);
      store_packed(ray_ + size, bits(single), truncate(ray));
      size += __builtin_popcount(bits(single));

      unsigned left = bits(is_less(zero, steps) & without(lanes, single));
      if (__builtin_expect(left == 0, 1)) continue;
      left &= ~bits(is_equal(steps, all));
      for (; left != 0; left &= left - 1) cross_alone(chosen_[i + __builtin_ctz(left)]);
    }
    num_single_ = size;
    // whole vectors are worked out
    store(single_ + size, ints(0));
    store(ray_ + size, ints(0));
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

  POLARSEG_SIMD_INLINE void cross_all() {
    const DoubleTable origins_x(origins_.x);
    const DoubleTable origins_y(origins_.y);
    const int size = num_single_;
    for (int i = 0; i < size; i += kEdges) {
      const int32_t* place = single_ + i;
      const HalfInts locations = shift_down<kPointBits>(load_half(place));
      HalfFloats p_x, p_y, q_x, q_y;
      load_quads([&](int n) POLARSEG_SIMD_LAMBDA { return edge(place[n]); }, p_x, p_y, q_x, q_y);
      const Doubles origin_x = origins_x.look_up(locations);
      const Doubles origin_y = origins_y.look_up(locations);
      const Offsets p = Offsets::of(p_x, p_y, origin_x, origin_y);
      const Offsets q = Offsets::of(q_x, q_y, origin_x, origin_y);
      store(length_ + i, crossing_lengths(Directions(fan_.directions, ray_ + i), p, q));
    }
    for (int i = 0; i < size; i += kLanes) {
      const Ints begin = multiply(locations_of(load(single_ + i)), ints(row_));
      store(cell_ + i, add(begin, load(ray_ + i)));
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
  float last_[kBatch];  // sectors of the last points of the block before
  alignas(
      kAlign) float ends_[2 * kBlock + 2];  // x, y of the point before the block, and of its own
  alignas(kAlign) int32_t chosen_[kRoom];   // places
  alignas(kAlign) int32_t unsure_[kRoom];   // places
  alignas(kAlign) int32_t single_[kRoom];   // places
  alignas(kAlign) int32_t ray_[kRoom];      // of the edges that cross a single one
  alignas(kAlign) float length_[kRoom];     // to these crossings
  alignas(kAlign) int32_t cell_[kRoom];     // where these lengths belong
  alignas(kAlign) float lengths_[kBatch * round_up(GroupKernels::kMostRays, kLanes)];
  Sectors sectors_;
};

POLARSEG_SIMD_TARGET inline void exact_rays(const LocationGroup& group, const RayFan& fan) {
  EdgeWalk walk(group, fan);
  walk_in_batches(walk, group.count);
}

}  // namespace polarseg::POLARSEG_SIMD
