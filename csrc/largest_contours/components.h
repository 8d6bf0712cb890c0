// The connected parts of a mask, by the runs of pixels in its rows. Plain C++17 without torch.
#pragma once

#include <algorithm>
#include <vector>

#include "bitmap.h"

namespace polarseg {

// Pixels that touch at a side or a corner are connected.
class Components {
 public:
  // Of each component the first pixel, row by row from the left; in that order.
  const std::vector<Pixel>& first_pixels(const Bitmap& mask) {
    parents_.clear();
    firsts_.clear();
    above_.clear();
    for (int64_t y = mask.box.y0; y < mask.box.y1; ++y) {
      take_row(mask.row(y), y, mask.box);
      std::swap(above_, here_);
    }
    roots_.clear();
    for (int32_t n = 0; n < static_cast<int32_t>(parents_.size()); ++n) {
      if (parents_[n] == n) roots_.push_back(firsts_[n]);
    }
    return roots_;
  }

 private:
  struct Run {
    int64_t begin;
    int64_t end;
    int32_t component;
  };

  void take_row(const uint8_t* row, int64_t y, const PixelBox& box) {
    here_.clear();
    size_t next = 0;  // of the runs above, the first that may touch this one
    for_each_run(row, box.x0, box.x1, [&](int64_t begin, int64_t end) {
      while (next < above_.size() && above_[next].end < begin) ++next;
      int32_t component = -1;
      for (size_t n = next; n < above_.size() && above_[n].begin <= end; ++n) {
        component = component < 0 ? above_[n].component : join(component, above_[n].component);
      }
      if (component < 0) component = add({static_cast<int32_t>(begin), static_cast<int32_t>(y)});
      here_.push_back({begin, end, component});
    });
  }

  int32_t add(Pixel first) {
    firsts_.push_back(first);
    parents_.push_back(static_cast<int32_t>(parents_.size()));
    return parents_.back();
  }

  int32_t root(int32_t n) {
    while (parents_[n] != n) n = parents_[n] = parents_[parents_[n]];
    return n;
  }

  // The older one stays: its first pixel comes first.
  int32_t join(int32_t a, int32_t b) {
    a = root(a);
    b = root(b);
    parents_[std::max(a, b)] = std::min(a, b);
    return std::min(a, b);
  }

  std::vector<int32_t> parents_;  // the component itself, or an older one that it belongs to
  std::vector<Pixel> firsts_;
  std::vector<Pixel> roots_;
  std::vector<Run> above_;
  std::vector<Run> here_;
};

}  // namespace polarseg
