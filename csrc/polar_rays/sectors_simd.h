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

  // Writes the sector of each point, not a number where it is in doubt, and lists the points whose
  // sector is in doubt or another than that of the point before, as `first_place` plus their
  // number. sectors: [points.size], behind that of the point before. Returns the number of listed
  // points.
  POLARSEG_SIMD_INLINE int find(const SeparatePoints& points, int first_place, float* sectors,
                                int32_t* listed) const {
    constexpr int kPair = 2;  // so many vectors keep the processor busy
    int32_t* const begin = listed;
    const int size = points.size;
    const unsigned all = bits(all_lanes());
    Floats before = floats(sectors[-1]);
    int i = 0;
    for (; i + kPair * kLanes <= size; i += kPair * kLanes) {
      listed = find_some<kPair>(points, i, all, first_place, before, sectors, listed);
    }
    for (; i < size; i += kLanes) {
      const unsigned lanes = bits(first_lanes(size - i));
      listed = find_some<1>(points, i, lanes, first_place, before, sectors, listed);
    }
    return static_cast<int>(listed - begin);
  }

 private:
  // Degrees. The polynomial is off by 4.7e-3.
  static constexpr float kSlack = 4.7e-3f + kReciprocalSlack;
  static constexpr float kArc[] = {57.2507324f, -18.4019699f, 8.38033676f, -2.23376298f};
  // Of larger numbers there is no cheap reciprocal.
  static constexpr float kFar = 0x1p100f;

  // Of `kVectors` vectors of points from i on; before: the sectors of the points before, in the
  // last lane. Step by step for all of them, because each step waits for the one before.
  template <int kVectors>
  POLARSEG_SIMD_INLINE int32_t* find_some(const SeparatePoints& points, int i, unsigned lanes,
                                          int first_place, Floats& before, float* sectors,
                                          int32_t* listed) const {
    Floats turn[kVectors];
    look<kVectors>(points, i, turn);
    Mask sure[kVectors];
    Floats sector[kVectors];
    for (int k = 0; k < kVectors; ++k) sector[k] = round_down(turn[k]);
    for (int k = 0; k < kVectors; ++k) {
      sure[k] = is_less(absolute(turn[k] - sector[k] - floats(0.5f)), doubt_);
    }
    unsigned differ[kVectors];
    const Floats nowhere = floats(std::numeric_limits<float>::quiet_NaN());
    for (int k = 0; k < kVectors; ++k) {
      sector[k] = select(sure[k], sector[k], nowhere);
      store(sectors + i + k * kLanes, sector[k]);
      differ[k] = bits(is_other(sector[k], shift_in(before, sector[k]))) & lanes;
      before = sector[k];
    }
    for (int k = 0; k < kVectors; ++k) {
      store_packed(listed, differ[k], add(lane_numbers(), ints(first_place + i + k * kLanes)));
      listed += __builtin_popcount(differ[k]);
    }
    return listed;
  }

  // Rays from ray 0 to each point, [-count / 2, count / 2].
  template <int kVectors>
  POLARSEG_SIMD_INLINE void look(const SeparatePoints& points, int i, Floats* turn) const {
    Floats dx[kVectors];
    Floats dy[kVectors];
    Floats t[kVectors];
    Mask steep[kVectors];
    for (int k = 0; k < kVectors; ++k) {
      dx[k] = load(points.x + i + k * kLanes) - origin_x_;
      dy[k] = load(points.y + i + k * kLanes) - origin_y_;
      const Floats x = absolute(dx[k]);
      const Floats y = absolute(dy[k]);
      steep[k] = is_less(y, x);
      // in this order, one of them is no number where x or y is none
      t[k] = smaller(x, y) * reciprocal(larger(y, x));
    }
    for (int k = 0; k < kVectors; ++k) {
      const Floats u = t[k] * t[k];
      turn[k] = multiply_add(multiply_add(arc_[3], u, arc_[2]), u, arc_[1]);
      turn[k] = multiply_add(turn[k], u, arc_[0]) * t[k];
    }
    for (int k = 0; k < kVectors; ++k) {
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
