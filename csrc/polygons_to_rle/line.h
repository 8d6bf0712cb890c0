// The outline's lines as OpenCV draws them: clipped to the picture, then Bresenham's steps from the
// left end. Plain C++17 without torch.
#pragma once

#include <cstdint>
#include <utility>

#include "../rle/packed_mask.h"

namespace polarseg {

struct Point {
  int64_t x;
  int64_t y;
};

constexpr bool operator!=(Point a, Point b) { return a.x != b.x || a.y != b.y; }

inline bool inside_picture(Point p, int64_t height, int64_t width) {
  return p.x >= 0 && p.x < width && p.y >= 0 && p.y < height;
}

inline int64_t scaled_step(int64_t along, int64_t other_extent, int64_t extent) {
  return static_cast<int64_t>(static_cast<double>(along) * static_cast<double>(other_extent) /
                              static_cast<double>(extent));
}

// Moves the ends of a line into the picture, rounding as OpenCV's clipLine. False if nothing of the
// line is inside; the ends may have been moved all the same.
inline bool clip_line(int64_t height, int64_t width, Point& p, Point& q) {
  const int64_t right = width - 1;
  const int64_t bottom = height - 1;
  const auto beside = [right](Point r) { return (r.x < 0 ? 1 : 0) + (r.x > right ? 2 : 0); };
  const auto outside = [&](Point r) {
    return beside(r) + (r.y < 0 ? 4 : 0) + (r.y > bottom ? 8 : 0);
  };
  // Both see the other end where it is by then, as clipLine does.
  const auto to_row = [&](Point& r, int code) {
    const int64_t y = code < 8 ? 0 : bottom;
    r.x += scaled_step(y - r.y, q.x - p.x, q.y - p.y);
    r.y = y;
  };
  const auto to_column = [&](Point& r, int code) {
    const int64_t x = code == 1 ? 0 : right;
    r.y += scaled_step(x - r.x, q.y - p.y, q.x - p.x);
    r.x = x;
  };

  int code_p = outside(p);
  int code_q = outside(q);
  if ((code_p & code_q) != 0 || (code_p | code_q) == 0) return (code_p | code_q) == 0;
  if ((code_p & 12) != 0) {
    to_row(p, code_p);
    code_p = beside(p);
  }
  if ((code_q & 12) != 0) {
    to_row(q, code_q);
    code_q = beside(q);
  }
  if ((code_p & code_q) != 0) return false;
  if (code_p != 0) to_column(p, code_p);
  if (code_q != 0) to_column(q, code_q);
  return true;
}

// Sets every pixel of the 8-connected line from p to q, both inside the mask.
inline void draw_line(Point p, Point q, PackedMask& mask) {
  if (p.x > q.x) std::swap(p, q);
  const int64_t dx = q.x - p.x;
  const int64_t dy = q.y >= p.y ? q.y - p.y : p.y - q.y;
  const int64_t down = q.y >= p.y ? 1 : -1;
  const bool steep = dy > dx;
  const int64_t longer = steep ? dy : dx;
  const int64_t shorter = steep ? dx : dy;
  int64_t error = longer - 2 * shorter;
  int64_t x = p.x;
  int64_t y = p.y;
  for (int64_t i = 0; i <= longer; ++i) {
    mask.set(x, y);
    const bool aside = error < 0;
    error += (aside ? 2 * longer : 0) - 2 * shorter;
    x += steep ? (aside ? 1 : 0) : 1;
    y += steep ? down : (aside ? down : 0);
  }
}

}  // namespace polarseg
