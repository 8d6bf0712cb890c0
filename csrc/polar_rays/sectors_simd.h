// Between which rays points lie: by rough angles, so not of all of them.
#pragma once

#include <cmath>

#include "polar_rays_simd.h"

namespace polarseg::POLARSEG_SIMD {

static_assert(360.f / GroupKernels::kMostRays > 2 * kRoughSlack,
              "a rough angle tells the nearest ray of a point that is next to one");

// The ray that each of some points is nearest to.
struct NearestRay {
  Floats turn;  // from ray 0, a whole number in [-count / 2, count / 2]
  Ints number;  // in [0, count)
  Mask known;   // the point is not at the location, nor so near or far that the angle fails

  POLARSEG_SIMD_INLINE NearestRay(Floats dx, Floats dy, int count) {
    const Floats x = absolute(dx);
    const Floats y = absolute(dy);
    Mask steep;
    Floats degrees = rough_degrees_in_octant(x, y, steep);
    degrees = select(steep, floats(90.f) - degrees, degrees);
    degrees = flip_sign(select_if_negative(dy, floats(180.f) - degrees, degrees), dx);
    turn = round_to_nearest(degrees * floats(static_cast<float>(count) / 360.f));

    // positive floats are in the order of their bits, with infinity and NaN behind them
    constexpr int32_t kNear = (127 - 60) << 23;  // 2^-60
    constexpr int32_t kFar = (127 + 60) << 23;
    const Ints reach = add(bit_cast(x + y), ints(-kNear));
    known = is_at_most_unsigned(reach, ints(kFar - kNear));
    number = select(known, truncate(turn), ints(0));
    number = select(is_negative(number), add(number, ints(count)), number);
  }
};

// An entry of a list of points: the point's sector, whose float leaves at least as many low bits
// zero, and in these its place.
static_assert(GroupKernels::kMostRays < 1 << (24 - kPlaceBits), "sectors leave so many bits zero");

POLARSEG_SIMD_INLINE Floats entry_of(Floats sector, Ints places) {
  return bit_cast(add(bit_cast(sector), places));
}

inline float entry_of(float sector, int32_t place) {
  return float_of_bits(bits_of_float(sector) + place);
}

// Not a number stays one.
POLARSEG_SIMD_INLINE Floats sectors_of(Floats entries) {
  return bit_cast(both(bit_cast(entries), ints(~kPlaceMask)));
}

inline float sector_of(float entry) { return float_of_bits(bits_of_float(entry) & ~kPlaceMask); }

POLARSEG_SIMD_INLINE Ints places_of(Floats entries) {
  return both(bit_cast(entries), ints(kPlaceMask));
}

inline int32_t place_of(float entry) { return bits_of_float(entry) & kPlaceMask; }

// The sectors of a block's points as one location sees them, and which differ from that of the
// point before.
//
// They are written where they belong, and a loop of its own lists those that differ.
class SectorRow {
 public:
  void begin(float sector) { sectors_[kLanes - 1] = sector; }

  // Of the vector of points from i on.
  POLARSEG_SIMD_INLINE void take(int i, Floats sectors) { store(sectors_ + kLanes + i, sectors); }

  // Entries for the points among `size` that differ, with a place of `first_place` plus their
  // number. Returns how many they are; a vector more may be written.
  POLARSEG_SIMD_INLINE int list_differing(int size, int first_place, float* list) const {
    const auto differs = [&](int i) POLARSEG_SIMD_LAMBDA {
      return is_other(load(sectors_ + kLanes + i), load(sectors_ + kLanes + i - 1));
    };
    const auto enter = [&](int i, unsigned lanes, int listed) POLARSEG_SIMD_LAMBDA {
      const Ints places = add(lane_numbers(), ints(first_place + i));
      store_packed(list + listed, lanes, entry_of(load(sectors_ + kLanes + i), places));
    };
    return choose_points(size, differs, enter);
  }

 private:
  alignas(kAlign) float sectors_[kLanes + kBlock];  // kLanes of them before the first
};

// The sectors of points that are not too near to a ray.
class RoughSectors {
 public:
  // farthest: the largest coordinate of the points.
  POLARSEG_SIMD_INLINE RoughSectors(float farthest, float origin_x, float origin_y, int count)
      : origin_x_(floats(origin_x)),
        origin_y_(floats(origin_y)),
        quarter_(floats(static_cast<float>(count) / 4)),
        half_(floats(static_cast<float>(count) / 2)) {
    const float rays_per_degree = static_cast<float>(count) / 360.f;
    for (int n = 0; n < 4; ++n) arc_[n] = floats(kArc[n] * rays_per_degree);
    const float reach = farthest + std::max(std::fabs(origin_x), std::fabs(origin_y));
    const bool is_near = reach < kFar;  // no NaN either
    doubt_ = floats(is_near ? 0.5f - kSlack * rays_per_degree : -1.f);
  }

  // The sectors of all points, not a number where in doubt; that differs from any. Behind the last
  // one stands anything.
  POLARSEG_SIMD_INLINE void find(const SeparatePoints& points, SectorRow& row) const {
    for (int i = 0; i < points.size; i += kPair * kLanes) find_pair(points, i, row);
  }

 private:
  // Degrees. The polynomial is off by 4.7e-3.
  static constexpr float kSlack = 4.7e-3f + kReciprocalSlack;
  static constexpr float kArc[] = {57.2507324f, -18.4019699f, 8.38033676f, -2.23376298f};
  // Of larger numbers there is no cheap reciprocal.
  static constexpr float kFar = 0x1p100f;

  static constexpr int kPair = 2;  // so many vectors at a time keep the processor busy
  static_assert(kPair * kLanes <= SeparatePoints::kSpare);

  // Of two vectors of points from i on. Step by step for both of them, because each step waits for
  // the one before.
  POLARSEG_SIMD_INLINE void find_pair(const SeparatePoints& points, int i, SectorRow& row) const {
    Floats turn[kPair];
    look(points, i, turn);
    Mask sure[kPair];
    Floats sector[kPair];
    for (int k = 0; k < kPair; ++k) sector[k] = round_down(turn[k]);
    for (int k = 0; k < kPair; ++k) {
      sure[k] = is_less(absolute(turn[k] - sector[k] - floats(0.5f)), doubt_);
    }
    const Floats nowhere = floats(std::numeric_limits<float>::quiet_NaN());
    for (int k = 0; k < kPair; ++k) {
      row.take(i + k * kLanes, select(sure[k], sector[k], nowhere));
    }
  }

  // Rays from ray 0 to each point, [-count / 2, count / 2].
  POLARSEG_SIMD_INLINE void look(const SeparatePoints& points, int i, Floats* turn) const {
    Floats dx[kPair];
    Floats dy[kPair];
    Floats t[kPair];
    Mask steep[kPair];
    for (int k = 0; k < kPair; ++k) {
      dx[k] = load(points.x + i + k * kLanes) - origin_x_;
      dy[k] = load(points.y + i + k * kLanes) - origin_y_;
      const Floats x = absolute(dx[k]);
      const Floats y = absolute(dy[k]);
      steep[k] = is_less(y, x);
      // in this order, one of them is no number where x or y is none
      t[k] = smaller(x, y) * reciprocal(larger(y, x));
    }
    for (int k = 0; k < kPair; ++k) {
      const Floats u = t[k] * t[k];
      turn[k] = multiply_add(multiply_add(arc_[3], u, arc_[2]), u, arc_[1]);
      turn[k] = multiply_add(turn[k], u, arc_[0]) * t[k];
    }
    for (int k = 0; k < kPair; ++k) {
      turn[k] = select(steep[k], quarter_ - turn[k], turn[k]);
      turn[k] = flip_sign(select_if_negative(dy[k], half_ - turn[k], turn[k]), dx[k]);
    }
  }

  Floats origin_x_;
  Floats origin_y_;
  Floats quarter_;
  Floats half_;
  Floats arc_[4];
  Floats doubt_;  // sure is what is nearer to the middle of a sector
};

}  // namespace polarseg::POLARSEG_SIMD
