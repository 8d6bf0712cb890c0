// The farthest intersection with vectors, for up to 360 rays.
//
// A rough angle tells the sectors of most points, a vector of them at a time. Listed are the points
// that may lie in another sector than the point before. All that follow a listed point lie where it
// does, up to the next one; so an edge to a listed point begins in the sector of the one listed
// before.
//
// The few points next to a ray are settled exactly: of each the nearest ray is known, and the side
// of it on which the point lies gives the sector. Then it is known which ray each edge crosses, and
// these crossings are worked out, half a vector at a time.
#pragma once

#include <algorithm>

#include "crossing_simd.h"
#include "sectors_simd.h"

namespace polarseg::POLARSEG_SIMD {

struct KeepLongest {
  float* rays;
  void operator()(int ray, float length) { keep_larger(rays[ray], length); }
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
      settle_all(count);
      if (block == 0) close(count);
      sort_out(count);
      cross_all();
      for (int n = 0; n < count; ++n) last_[n] = last_sector(n);
    }
    for (int n = 0; n < count; ++n) write(lengths_ + n * row_, group_.row(begin + n));
  }

 private:
  static constexpr int kRoom = kBatch * (kBlock + 1) + 2 * kLanes;
  static_assert(kRoom < 1 << (31 - kPlaceBits) && GroupKernels::kMostRays < kRoom,
                "above a place there is room for what is marked");
  static constexpr int32_t kBefore = kPlaceMask;  // place of the point before the block
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

  // Of the last point of the block.
  float last_sector(int location) const { return sector_of(list_[begin_[location + 1] - 1]); }

  // The first `count` entries of a vector that are of points in the block.
  POLARSEG_SIMD_INLINE static Mask points_among(Ints places, int count) {
    return is_at_most_unsigned(places, ints(kBefore - 1)) & first_lanes(count);
  }

  void open(int location, float sector) { list_[begin_[location]] = entry_of(sector, kBefore); }

  // Lists the points to which an edge from another sector may lead; among them all in doubt, whose
  // sector is not a number. Before those of each location stands the point before the block.
  POLARSEG_SIMD_INLINE void choose_all(int count, bool is_first) {
    int size = 0;
    for (int n = 0; n < count; ++n) {
      const float before = is_first ? kNowhere : last_[n];
      begin_[n] = size;
      open(n, before);
      ++size;
      const RoughSectors rough(points_.farthest, origins_.x[n], origins_.y[n], fan_.count);
      sectors_.begin(before);
      rough.find(points_, sectors_);
      size += sectors_.list_differing(points_.size, n << kPointBits, list_ + size);
    }
    begin_[count] = size;
  }

  // Settles the points in doubt, and enters those that lie on a ray.
  POLARSEG_SIMD_INLINE void settle_all(int count) {
    const int num_listed = begin_[count];
    int size = 0;
    for (int i = 0; i < num_listed; i += kLanes) {
      const Floats entries = load(list_ + i);
      const Ints places = places_of(entries);
      const unsigned doubt = bits(is_nan(entries) & points_among(places, num_listed - i));
      const Ints at = shift_up<kPlaceBits>(add(lane_numbers(), ints(i)));
      store_packed(marked_ + size, doubt, add(at, places));
      size += __builtin_popcount(doubt);
    }
    store(marked_ + size, ints(0));  // whole vectors are looked at
    for (int i = 0; i < size; i += kEdges) settle(marked_ + i, std::min(size - i, kEdges));
  }

  // unsure: places, and above them, where they stand in the list.
  POLARSEG_SIMD_INLINE void settle(const int32_t* unsure, int size) {
    const Mask lanes = first_lanes(size);
    const Ints listed = load_some(unsure, lanes);
    const Ints places = both(listed, ints(kPlaceMask));
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
    scatter(list_, shift_down<kPlaceBits>(listed), known, entry_of(sector, places));

    // of those on no ray 0, which is no length: no branch could be predicted
    alignas(kAlign) float length[kLanes];
    const Floats along = extend(narrow(along_rays(directions, p)));
    store(length, select(is_zero(side) & known, along, floats(0.f)));
    for (int lane = 0; lane < kEdges; ++lane) {
      keep(location_of(unsure[lane] & kPlaceMask))(ray[lane], length[lane]);
    }
    unsigned left = bits(without(lanes, known));
    for (; __builtin_expect(left != 0, 0); left &= left - 1) {
      const int32_t alone = unsure[__builtin_ctz(left)];
      const int32_t place = alone & kPlaceMask;
      list_[alone >> kPlaceBits] = entry_of(settle_alone(place), place);
    }
  }

  // Returns the sector.
  float settle_alone(int32_t place) {
    const int location = location_of(place);
    const float* point = edge(place) + 2;
    const SeenVertex vertex = see(point, location);
    KeepLongest longest = keep(location);
    keep_touch(vertex, offset(point, location), every_, longest);
    return as_sector(vertex);
  }

  // The first edge leads from the last point.
  void close(int count) {
    for (int n = 0; n < count; ++n) {
      open(n, is_one_block() ? last_sector(n) : as_sector(see(last_point(), n)));
    }
  }

  // ---- crossings ----

  // Marks the listed edges that cross one ray; the few that cross several are crossed.
  POLARSEG_SIMD_INLINE void sort_out(int count) {
    const Floats zero = floats(0.f);
    const Floats all = floats(static_cast<float>(fan_.count));
    const Floats most = floats(static_cast<float>(fan_.count - 1));
    const int num_listed = begin_[count];
    int size = 0;
    Floats before = zero;
    for (int i = 0; i < num_listed; i += kLanes) {
      const Floats entries = load(list_ + i);
      const Ints places = places_of(entries);
      const Mask lanes = points_among(places, num_listed - i);
      const Floats to = sectors_of(entries);
      const Floats from = shift_in(before, to);
      before = to;
      const Floats steps = absolute(to - from);
      const Mask round = is_equal(steps, most) & lanes;
      const Mask single = (is_equal(steps, floats(1.f)) & lanes) | round;
      // the ray that opens the sector ahead, where they are numbered the other way round, too
      Floats ray = select(round, smaller(to, from), larger(to, from));
      ray = select(is_less(ray, zero), ray + all, ray);
      const Ints rays = shift_up<kPlaceBits>(truncate(ray));
      store_packed(marked_ + size, bits(single), add(rays, places));
      size += __builtin_popcount(bits(single));

      unsigned left = bits(is_less(zero, steps) & without(lanes, single));
      if (__builtin_expect(left == 0, 1)) continue;
      left &= ~bits(is_equal(steps, all));
      alignas(kAlign) float ends[2][kLanes];
      store(ends[0], from);
      store(ends[1], to);
      for (; left != 0; left &= left - 1) {
        const int lane = __builtin_ctz(left);
        cross_alone(place_of(list_[i + lane]), ends[0][lane], ends[1][lane]);
      }
    }
    num_marked_ = size;
    store(marked_ + size, ints(0));  // whole vectors are worked out
  }

  // from, to: sectors.
  void cross_alone(int32_t place, float from, float to) {
    const int location = location_of(place);
    const float* ends = edge(place);
    KeepLongest longest = keep(location);
    cross_edge(wrap(static_cast<int>(from), fan_.count), wrap(static_cast<int>(to), fan_.count),
               offset(ends, location), offset(ends + 2, location), every_, longest);
  }

  // Crosses the marked edges.
  POLARSEG_SIMD_INLINE void cross_all() {
    const int size = num_marked_;
    for (int i = 0; i < size; i += kLanes) {
      store(ray_ + i, shift_down<kPlaceBits>(load(marked_ + i)));
    }
    const DoubleTable origins_x(origins_.x);
    const DoubleTable origins_y(origins_.y);
    for (int i = 0; i < size; i += kEdges) {
      const int32_t* marked = marked_ + i;
      // with the ray above; of an index to look up, four bits count
      const HalfInts locations = shift_down<kPointBits>(load_half(marked));
      HalfFloats p_x, p_y, q_x, q_y;
      load_quads([&](int n) POLARSEG_SIMD_LAMBDA { return edge(marked[n]); }, p_x, p_y, q_x, q_y);
      const Doubles origin_x = origins_x.look_up(locations);
      const Doubles origin_y = origins_y.look_up(locations);
      const Offsets p = Offsets::of(p_x, p_y, origin_x, origin_y);
      const Offsets q = Offsets::of(q_x, q_y, origin_x, origin_y);
      store(length_ + i, crossing_lengths(Directions(fan_.directions, ray_ + i), p, q));
    }
    for (int i = 0; i < size; i += kLanes) {
      const Ints places = both(load(marked_ + i), ints(kPlaceMask));
      store(cell_ + i, add(multiply(locations_of(places), ints(row_)), load(ray_ + i)));
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
  SectorRow sectors_;      // as the location sees them that has just looked
  int begin_[kBatch + 1];  // of each location's entries in the list
  int num_marked_ = 0;
  float last_[kBatch];  // sectors of the last points of the block before
  // x, y of the point before the block, and of its own
  alignas(kAlign) float ends_[2 * kBlock + 2];
  // sectors from -count to count, those that differ by count being the same; and places
  alignas(kAlign) float list_[kRoom];
  // places of some of them, and above these, of those in doubt, where they stand in the list, or
  // of edges that cross a single ray, which
  alignas(kAlign) int32_t marked_[kRoom];
  alignas(kAlign) int32_t ray_[kRoom];   // that a marked edge crosses
  alignas(kAlign) float length_[kRoom];  // to these crossings
  alignas(kAlign) int32_t cell_[kRoom];  // where these lengths belong
  alignas(kAlign) float lengths_[kBatch * round_up(GroupKernels::kMostRays, kLanes)];
};

POLARSEG_SIMD_TARGET inline void exact_rays(const LocationGroup& group, const RayFan& fan) {
  EdgeWalk walk(group, fan);
  walk_in_batches(walk, group.count);
}

}  // namespace polarseg::POLARSEG_SIMD
