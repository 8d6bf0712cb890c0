// What the CPU's vectorised passes over contours share.
//
// Up to twelve locations look at a contour together, block by block. The work is cut into short
// loops over all of them: a processor can keep several rounds of a short loop in flight, and loops
// that run long end seldom.
//
// The angles here are cheap ones, with fused multiply-add. They decide only where a point is
// farther from a border than all the errors together; the exact arithmetic settles the others.
#pragma once

#include "polar_rays_scan.h"

#if !defined(POLARSEG_SIMD)
#error "The vectors come first: ../common/simd_avx2.h or ../common/simd_avx512.h."
#endif

#include <algorithm>
#include <cstring>
#include <limits>

namespace polarseg::POLARSEG_SIMD {

constexpr int kBatch = 12;    // locations that look together, mostly all of a contour
constexpr int kBlock = 1024;  // points that they look at together
constexpr int kAlign = sizeof(Floats);

// Sends the locations on their way, in batches of nearly the same size.
template <typename Walk>
void walk_in_batches(Walk& walk, int count) {
  const int batches = (count + kBatch - 1) / kBatch;
  const int size = (count + batches - 1) / batches;
  for (int begin = 0; begin < count; begin += size) walk.walk(begin, std::min(size, count - begin));
}

constexpr int round_up(int size, int multiple) {
  return (size + multiple - 1) / multiple * multiple;
}

// own = max(own, value) of two numbers. std::max may become a branch, which nobody could predict.
inline void keep_larger(float& own, float value) {
  _mm_store_ss(&own, _mm_max_ss(_mm_set_ss(value), _mm_load_ss(&own)));
}

inline int32_t bits_of_float(float number) {
  int32_t bits;
  std::memcpy(&bits, &number, sizeof bits);
  return bits;
}

inline float float_of_bits(int32_t bits) {
  float number;
  std::memcpy(&number, &bits, sizeof number);
  return number;
}

// Where the locations of a batch are.
struct Origins {
  static constexpr int kRoom = 16;  // of a table to look up in
  static_assert(kRoom >= kBatch);
  float x[kRoom] = {};
  float y[kRoom] = {};

  Origins() = default;

  Origins(const LocationGroup& group, int begin, int count) {
    for (int n = 0; n < count; ++n) {
      const float* origin = group.origin(begin + n);
      x[n] = origin[0];
      y[n] = origin[1];
    }
  }
};

// Points of a block of a contour, x and y apart. Whole sixteens, pairs of vectors and words may be
// read; of a word, what is behind kSpare numbers may be anything.
struct SeparatePoints {
  static constexpr int kSpare = std::max(16, 2 * kLanes);
  static_assert(kSpare % kLanes == 0);
  int size = 0;
  float farthest = 0;  // coordinate, without its sign; one that is not a number does not count
  alignas(kAlign) float x[kBlock + kSpare];
  alignas(kAlign) float y[kBlock + kSpare];

  // points: [count, 2]. Behind the last one stands what is not finite.
  POLARSEG_SIMD_INLINE void take(const float* points, int count) {
    Floats most = floats(0.f);
    size = count;
    int i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      const Floats first = load(points + 2 * i);
      const Floats second = load(points + 2 * i + kLanes);
      Floats own_x, own_y;
      separate(first, second, own_x, own_y);
      store(x + i, own_x);
      store(y + i, own_y);
      // the second where one is NaN
      most = larger(absolute(first), most);
      most = larger(absolute(second), most);
    }
    for (int n = i; n < i + kSpare; n += kLanes) {
      store(x + n, floats(std::numeric_limits<float>::infinity()));
      store(y + n, floats(std::numeric_limits<float>::infinity()));
    }
    const Mask rest = first_lanes(count - i);
    for (int n = i; n < count; ++n) {
      x[n] = points[2 * n];
      y[n] = points[2 * n + 1];
    }
    most = larger(select(rest, absolute(load(x + i)), floats(0.f)), most);
    most = larger(select(rest, absolute(load(y + i)), floats(0.f)), most);
    farthest = largest(most);
  }
};

// Points are chosen 64 at a time: it is told which of them, as bits, and then these are entered.
//
// Where one is entered depends on all before. If each vector were entered before the next one is
// looked at, a processor that took it for possible that the next points lie just there would begin
// no round before the last one is over. Some do, half as slow again for as long as a process lives,
// as it happens where in memory its pages are.
constexpr int kWord = 64;
static_assert(kBlock % kWord == 0, "whole words of a block are looked at");

// Chooses among `size` points and returns how many are chosen. look: takes where a vector of points
// begins and returns the mask of those wanted. enter: takes the same, the chosen lanes as bits, and
// how many have been chosen before.
template <typename Look, typename Enter>
POLARSEG_SIMD_INLINE int choose_points(int size, const Look& look, const Enter& enter) {
  constexpr unsigned kAll = (1u << kLanes) - 1;
  int chosen = 0;
  for (int i = 0; i < size; i += kWord) {
    uint64_t word = 0;
    for (int k = 0; k < kWord; k += kLanes) word |= uint64_t{bits(look(i + k))} << k;
    if (size - i < kWord) word &= (uint64_t{1} << (size - i)) - 1;
    for (int k = 0; k < kWord; k += kLanes) {
      const unsigned lanes = static_cast<unsigned>(word >> k) & kAll;
      enter(i + k, lanes, chosen);
      chosen += __builtin_popcount(lanes);
    }
  }
  return chosen;
}

// Degrees that a rough angle may be off by, besides the error of its polynomial: the reciprocal's
// error, which counts most on the diagonal, where the polynomials rise by up to 30.1, and rounding.
constexpr float kReciprocalSlack = 31.f * kReciprocalError + 2e-4f;

// Degrees: what rough_degrees_in_octant() is off by.
constexpr float kRoughSlack = 3.5e-2f + kReciprocalSlack;
constexpr float kRoughArc[] = {57.0298097f, -16.540731f, 4.54579096f};

// The angle within its octant, in degrees, off by less than kRoughSlack. steep: it counts from 90
// degrees backwards. Coordinates below 1e-18 and above 1e18 may give any number or NaN.
POLARSEG_SIMD_INLINE Floats rough_degrees_in_octant(Floats x, Floats y, Mask& steep) {
  const Floats t = smaller(x, y) * reciprocal(larger(x, y));
  const Floats u = t * t;
  Floats degrees = multiply_add(floats(kRoughArc[2]), u, floats(kRoughArc[1]));
  degrees = multiply_add(degrees, u, floats(kRoughArc[0]));
  steep = is_less(y, x);
  return degrees * t;
}

// Points of a batch: the location that looks at it, and its number in the block.
constexpr int kPointBits = 10;
static_assert(kBlock == 1 << kPointBits);

inline int location_of(int32_t place) { return place >> kPointBits; }

inline int point_of(int32_t place) { return place & (kBlock - 1); }

constexpr int kPlaceBits = kPointBits + 4;
constexpr int32_t kPlaceMask = (1 << kPlaceBits) - 1;
static_assert(kBatch < kPlaceMask >> kPointBits, "the last location's number is no location's");

POLARSEG_SIMD_INLINE Ints locations_of(Ints places) { return shift_down<kPointBits>(places); }

}  // namespace polarseg::POLARSEG_SIMD
