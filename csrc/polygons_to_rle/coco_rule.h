// A polygon as COCO's own tools fill it (pycocotools, frPyObjects): vertices rounded to fifths of a
// pixel, edges walked in steps of one fifth along their longer side, and for each pixel column the
// first row below each crossing of its centre. Plain C++17 without torch.
//
// The original walks every step. Here the steps that cross a column's centre are found directly,
// so that the work is proportional to the columns; the numbers are computed as they are there.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "line.h"

namespace polarseg {

constexpr int64_t kFifths = 5;
// Of a coordinate in fifths: nothing overflows then, here or in the original.
constexpr double kMaxFifths = double{1 << 30};

inline double to_fifths(double coordinate) { return kFifths * coordinate + .5; }

// The edge from `first` to `second`, ordered along its longer side.
class FifthEdge {
 public:
  FifthEdge(Point first, Point second) {
    const int64_t dx = std::abs(second.x - first.x);
    const int64_t dy = std::abs(second.y - first.y);
    flat_ = dx >= dy;
    if (flat_ ? first.x > second.x : first.y > second.y) std::swap(first, second);
    start_ = first;
    steps_ = flat_ ? dx : dy;
    const int64_t rise = flat_ ? second.y - first.y : second.x - first.x;
    slope_ = static_cast<double>(rise) / static_cast<double>(std::max<int64_t>(steps_, 1));
    x_low_ = std::min(first.x, second.x);
    x_high_ = std::max(first.x, second.x);
  }

  int64_t x_low() const { return x_low_; }
  int64_t x_high() const { return x_high_; }

  // The lower y of the two steps between which the edge goes from x to x + 1, both on it.
  int64_t y_where_leaving(int64_t x) const {
    if (flat_) {
      const int64_t step = x - start_.x;
      return std::min(across(start_.y, step), across(start_.y, step + 1));
    }
    return start_.y + (slope_ > 0 ? last_step_at_most(x) : last_step_above(x));
  }

 private:
  int64_t across(int64_t origin, int64_t step) const {
    return static_cast<int64_t>(static_cast<double>(origin) + slope_ * static_cast<double>(step) +
                                .5);
  }

  int64_t guess(int64_t x) const {
    const double step = (static_cast<double>(x - start_.x) + .5) / slope_;
    return std::clamp<int64_t>(static_cast<int64_t>(step), 0, steps_ - 1);
  }

  // Of a steep edge to the right: the last step before x + 1.
  int64_t last_step_at_most(int64_t x) const {
    int64_t step = guess(x);
    while (step > 0 && across(start_.x, step) > x) --step;
    while (step + 1 < steps_ && across(start_.x, step + 1) <= x) ++step;
    return step;
  }

  // Of a steep edge to the left: the last step after x.
  int64_t last_step_above(int64_t x) const {
    int64_t step = guess(x);
    while (step > 0 && across(start_.x, step) <= x) --step;
    while (step + 1 < steps_ && across(start_.x, step + 1) > x) ++step;
    return step;
  }

  Point start_;
  bool flat_;
  int64_t steps_;
  double slope_;
  int64_t x_low_;
  int64_t x_high_;
};

// Appends where an edge changes the colour, as positions (column * height + row), unordered.
inline void cross_columns(const FifthEdge& edge, int64_t height, int64_t width,
                          std::vector<int64_t>& positions) {
  // The centre of column c lies between fifths 5 c + 2 and 5 c + 3.
  const int64_t from = std::max<int64_t>(edge.x_low(), 2);
  const int64_t first = (from + 2) / kFifths;
  const int64_t last = edge.x_high() < 3 ? -1 : (edge.x_high() - 3) / kFifths;
  for (int64_t column = first; column <= std::min(last, width - 1); ++column) {
    const int64_t y = edge.y_where_leaving(kFifths * column + 2);
    const double row = (static_cast<double>(y) + .5) / kFifths - .5;
    const double bounded = std::clamp(row, 0., static_cast<double>(height));
    positions.push_back(column * height + static_cast<int64_t>(std::ceil(bounded)));
  }
}

// Positions at which the colour of the filled polygon changes, ascending. Vertices in fifths.
inline void fill_by_coco_rule(const std::vector<Point>& polygon, int64_t height, int64_t width,
                              std::vector<int64_t>& positions) {
  positions.clear();
  if (polygon.empty() || height == 0 || width == 0) return;
  for (std::size_t i = 0; i < polygon.size(); ++i) {
    const Point next = polygon[i + 1 < polygon.size() ? i + 1 : 0];
    if (polygon[i] != next) {
      cross_columns(FifthEdge(polygon[i], next), height, width, positions);
    }
  }
  std::sort(positions.begin(), positions.end());
}

}  // namespace polarseg
