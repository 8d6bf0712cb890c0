// A polygon filled as OpenCV fills it (cv2.fillPoly, cv2.drawContours with FILLED): its outline,
// and by the even-odd rule what lies between its edges, which are followed row by row in fixed
// point of 16 fractional bits. Plain C++17 without torch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../rle/packed_mask.h"
#include "line.h"

namespace polarseg {

// Whose rule; the OpenCV versions differ in the start and slope of an edge.
enum class FillRule {
  kUpTo47,    // up to 4.7: edges go from vertex to vertex, a row's pixels from the first whole one
  kSince48,   // 4.8 to 4.10: an edge that leaves the picture has the slope of its clipped line, the
              // others are half a pixel to the right, and a row's pixels begin with a partial one
  kSince411,  // from 4.11: clipped slopes as before, upright where the clipped ends are level;
              // elsewhere as up to 4.7
};

constexpr int kFixedBits = 16;
constexpr int64_t kFixedOne = int64_t{1} << kFixedBits;

// From row y0 to row y1 - 1; x and its step for each row in fixed point.
struct FillEdge {
  int64_t y0;
  int64_t y1;
  int64_t x;
  int64_t step;
};

inline FillEdge edge_between(Point p, Point q, Point slope_p, Point slope_q) {
  const int64_t rise = slope_q.y - slope_p.y;
  const int64_t step = rise != 0 ? (slope_q.x - slope_p.x) / rise : 0;
  const bool downwards = p.y < q.y;
  const Point start = downwards ? slope_p : slope_q;
  const int64_t y0 = downwards ? p.y : q.y;
  const int64_t y1 = downwards ? q.y : p.y;
  // 64 bits hold every product of vertices; extrapolated clipped lines may wrap as OpenCV's do.
  const uint64_t back = static_cast<uint64_t>(y0 - start.y) * static_cast<uint64_t>(step);
  return {y0, y1, static_cast<int64_t>(static_cast<uint64_t>(start.x) + back), step};
}

inline Point to_fixed(Point p) { return {p.x * kFixedOne, p.y}; }

// The line p-q of the outline: draws it and appends the edge that it is, if it is one.
inline void take_line(Point p, Point q, FillRule rule, int64_t height, int64_t width,
                      PackedMask& mask, std::vector<FillEdge>& edges) {
  Point clipped_p = p;
  Point clipped_q = q;
  const bool inside = inside_picture(p, height, width) && inside_picture(q, height, width);
  if (inside || clip_line(height, width, clipped_p, clipped_q)) {
    draw_line(clipped_p, clipped_q, mask);
  }
  if (p.y == q.y) return;
  Point slope_p = to_fixed(p);
  Point slope_q = to_fixed(q);
  if (rule != FillRule::kUpTo47 && inside) {
    const int64_t shift = rule == FillRule::kSince48 ? kFixedOne / 2 : 0;
    slope_p.x += shift;
    slope_q.x += shift;
  } else if (rule != FillRule::kUpTo47 &&
             (rule == FillRule::kSince411 || clipped_p.y != clipped_q.y)) {
    slope_p = to_fixed(clipped_p);
    slope_q = to_fixed(clipped_q);
  }
  edges.push_back(edge_between(p, q, slope_p, slope_q));
}

// OpenCV's early test for polygons beside the picture. It matters only where it errs: the rows of
// an edge are counted in 32 bits, so an edge of 2^31 rows or more may hide its polygon's inside.
inline bool seems_beside(const std::vector<FillEdge>& edges, int64_t width) {
  int64_t x_max = -1;
  int64_t x_min = INT64_MAX;
  for (const FillEdge& edge : edges) {
    const auto rows = static_cast<uint64_t>(
        static_cast<int64_t>(static_cast<int32_t>(static_cast<uint32_t>(edge.y1 - edge.y0))));
    const auto end = static_cast<int64_t>(static_cast<uint64_t>(edge.x) +
                                          rows * static_cast<uint64_t>(edge.step));
    x_max = std::max({x_max, edge.x, end});
    x_min = std::min({x_min, edge.x, end});
  }
  return x_max < 0 || x_min >= width * kFixedOne;
}

// Fills between the first and second edge of each row, the third and fourth, and so on.
class RowFiller {
 public:
  void fill(std::vector<FillEdge>& edges, FillRule rule, int64_t height, int64_t width,
            PackedMask& mask) {
    round_up_ = rule == FillRule::kSince48 ? 0 : kFixedOne - 1;
    // by x, too, so that edges which begin in one row need no sorting there
    std::sort(edges.begin(), edges.end(), [](const FillEdge& a, const FillEdge& b) {
      return a.y0 != b.y0 ? a.y0 < b.y0 : a.x < b.x;
    });
    active_.clear();
    std::size_t next = 0;
    int64_t y = 0;
    while (y < height && (next < edges.size() || !active_.empty())) {
      if (active_.empty()) y = std::max(y, edges[next].y0);
      if (y >= height) return;
      for (; next < edges.size() && edges[next].y0 <= y; ++next) enter(edges[next], y);
      leave(y);
      fill_row(y, width, mask);
      ++y;
    }
  }

 private:
  void enter(const FillEdge& edge, int64_t y) {
    if (edge.y1 <= y) return;
    const uint64_t skipped = static_cast<uint64_t>(y - edge.y0) * static_cast<uint64_t>(edge.step);
    active_.push_back(edge);
    active_.back().x = static_cast<int64_t>(static_cast<uint64_t>(edge.x) + skipped);
  }

  void leave(int64_t y) {
    const auto ended = [y](const FillEdge& edge) { return edge.y1 <= y; };
    active_.erase(std::remove_if(active_.begin(), active_.end(), ended), active_.end());
  }

  // Crossings change little from row to row, which insertion sort likes.
  void sort_active() {
    for (std::size_t i = 1; i < active_.size(); ++i) {
      for (std::size_t j = i; j > 0 && active_[j - 1].x > active_[j].x; --j) {
        std::swap(active_[j - 1], active_[j]);
      }
    }
  }

  void fill_row(int64_t y, int64_t width, PackedMask& mask) {
    sort_active();
    for (std::size_t i = 0; i + 1 < active_.size(); i += 2) {
      const int64_t first = std::max<int64_t>((active_[i].x + round_up_) >> kFixedBits, 0);
      const int64_t last = std::min<int64_t>(active_[i + 1].x >> kFixedBits, width - 1);
      if (first <= last) mask.set_span(first, last, y);
    }
    for (FillEdge& edge : active_) {
      edge.x =
          static_cast<int64_t>(static_cast<uint64_t>(edge.x) + static_cast<uint64_t>(edge.step));
    }
  }

  int64_t round_up_ = 0;
  std::vector<FillEdge> active_;
};

// The part of the picture that the filled polygon may cover.
inline PixelBox fill_extent(const std::vector<Point>& polygon, FillRule rule, int64_t height,
                            int64_t width) {
  PixelBox box{polygon[0].x, polygon[0].y, polygon[0].x, polygon[0].y};
  for (Point p : polygon) {
    box = {std::min(box.x0, p.x), std::min(box.y0, p.y), std::max(box.x1, p.x),
           std::max(box.y1, p.y)};
  }
  const bool clipped = box.x0 < 0 || box.y0 < 0 || box.x1 >= width || box.y1 >= height;
  if (clipped && rule != FillRule::kUpTo47) {  // slopes of clipped lines lead anywhere in the row
    box.x0 = 0;
    box.x1 = width - 1;
  }
  return {std::max<int64_t>(box.x0, 0), std::max<int64_t>(box.y0, 0),
          std::min<int64_t>(box.x1 + 1, width), std::min<int64_t>(box.y1 + 1, height)};
}

// One polygon after the other into one mask; memory is kept between them.
class PolygonFiller {
 public:
  // The mask covers what it must of the picture, which may be nothing.
  void fill(const std::vector<Point>& polygon, FillRule rule, int64_t height, int64_t width,
            PackedMask& mask) {
    mask.reset({0, 0, 0, 0});
    if (polygon.empty()) return;
    const PixelBox extent = fill_extent(polygon, rule, height, width);
    if (extent.empty()) return;
    mask.reset(extent);
    edges_.clear();
    Point previous = polygon.back();
    for (Point p : polygon) {
      take_line(previous, p, rule, height, width, mask, edges_);
      previous = p;
    }
    if (!seems_beside(edges_, width)) rows_.fill(edges_, rule, height, width, mask);
  }

 private:
  std::vector<FillEdge> edges_;
  RowFiller rows_;
};

}  // namespace polarseg
