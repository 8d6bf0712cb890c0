// Following the border of a component. Plain C++17 without torch.
#pragma once

#include <cstdlib>
#include <vector>

#include "bitmap.h"

namespace polarseg {

// The eight neighbours of a pixel, anticlockwise from the right one.
constexpr Pixel kNeighbours[] = {{1, 0},  {1, -1}, {0, -1}, {-1, -1},
                                 {-1, 0}, {-1, 1}, {0, 1},  {1, 1}};

inline Pixel neighbour(Pixel p, unsigned direction) {
  const Pixel step = kNeighbours[direction & 7];
  return {p.x + step.x, p.y + step.y};
}

// All pixels of the outer border, from the first pixel of the component on (Suzuki and Abe 1985,
// algorithm 1, step 3, of an outer border). points: cleared before.
inline void follow_border(const Bitmap& mask, Pixel first, std::vector<Pixel>& points) {
  constexpr unsigned kRight = 0;
  constexpr unsigned kBelowLeft = 5;
  points.clear();
  // Clockwise from the left; left of it and above it is nothing.
  unsigned direction = kRight + 8;
  while (direction > kBelowLeft && !mask.has(neighbour(first, direction))) --direction;
  if (!mask.has(neighbour(first, direction))) {
    points.push_back(first);
    return;
  }
  const Pixel last = neighbour(first, direction);
  Pixel here = first;
  for (;;) {
    // anticlockwise from where the border came from
    do {
      ++direction;
    } while (!mask.has(neighbour(here, direction)));
    points.push_back(here);
    const Pixel next = neighbour(here, direction);
    if (next == first && here == last) return;
    here = next;
    direction = (direction + 4) & 7;
  }
}

// Twice the area that a polygon encloses.
inline int64_t twice_area(const std::vector<Pixel>& points) {
  int64_t sum = 0;
  Pixel before = points.back();
  for (const Pixel p : points) {
    sum += int64_t{before.x} * p.y - int64_t{before.y} * p.x;
    before = p;
  }
  return std::abs(sum);
}

}  // namespace polarseg
