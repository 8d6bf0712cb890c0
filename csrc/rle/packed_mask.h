// A mask of one bit for each pixel of a rectangle of the picture: what an object's rasteriser draws
// into. It is as large as the object, not as the picture. Plain C++17 without torch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace polarseg {

// Columns x0 to x1 - 1 and rows y0 to y1 - 1 of the picture.
struct PixelBox {
  int64_t x0;
  int64_t y0;
  int64_t x1;
  int64_t y1;

  int64_t width() const { return x1 - x0; }
  int64_t height() const { return y1 - y0; }
  bool empty() const { return x1 <= x0 || y1 <= y0; }
};

inline int lowest_bit(uint64_t word) {
#if defined(__GNUC__)
  return __builtin_ctzll(word);
#else
  int bit = 0;
  for (; (word & 1) == 0; word >>= 1) ++bit;
  return bit;
#endif
}

class PackedMask {
 public:
  // Clears the mask for another rectangle; memory is kept from object to object.
  void reset(const PixelBox& box) {
    box_ = box;
    words_in_row_ = (box.width() + 63) / 64;
    words_.assign(static_cast<std::size_t>(words_in_row_ * box.height()), 0);
  }

  const PixelBox& box() const { return box_; }

  // Both take pixels of the picture, which must lie inside the rectangle.
  void set(int64_t x, int64_t y) {
    const int64_t column = x - box_.x0;
    row(y)[column >> 6] |= uint64_t{1} << (column & 63);
  }

  // Pixels first to last of a row, both included.
  void set_span(int64_t first, int64_t last, int64_t y) {
    uint64_t* words = row(y);
    const int64_t from = first - box_.x0;
    const int64_t to = last - box_.x0;
    const uint64_t head = ~uint64_t{0} << (from & 63);
    const uint64_t tail = ~uint64_t{0} >> (63 - (to & 63));
    if ((from >> 6) == (to >> 6)) {
      words[from >> 6] |= head & tail;
      return;
    }
    words[from >> 6] |= head;
    std::fill(words + (from >> 6) + 1, words + (to >> 6), ~uint64_t{0});
    words[to >> 6] |= tail;
  }

  // Positions (column * picture_height + row) of the picture at which the colour changes, ascending
  // as compress_changes() wants them: a change at the end of a column may be repeated at the start
  // of the next one.
  void changes(int64_t picture_height, std::vector<int64_t>& positions) {
    collect_changes();
    // Rows came in order; a counting sort by column keeps them so.
    int64_t total = 0;
    for (int64_t& start : starts_) {
      const int64_t count = start;
      start = total;
      total += count;
    }
    positions.resize(static_cast<std::size_t>(total));
    for (const Change& change : changes_) {
      const int64_t x = box_.x0 + change.column;
      positions[static_cast<std::size_t>(starts_[change.column]++)] =
          x * picture_height + change.row;
    }
  }

 private:
  struct Change {
    int32_t column;  // of the rectangle
    int32_t row;     // of the picture
  };

  uint64_t* row(int64_t y) { return words_.data() + (y - box_.y0) * words_in_row_; }

  // Where a row differs from the one above it; outside the rectangle all is background.
  void collect_changes() {
    changes_.clear();
    starts_.assign(static_cast<std::size_t>(std::max<int64_t>(box_.width(), 0)), 0);
    for (int64_t y = box_.y0; y <= box_.y1; ++y) {
      const uint64_t* above = y > box_.y0 ? row(y - 1) : nullptr;
      const uint64_t* here = y < box_.y1 ? row(y) : nullptr;
      for (int64_t i = 0; i < words_in_row_; ++i) {
        uint64_t differ = (above != nullptr ? above[i] : 0) ^ (here != nullptr ? here[i] : 0);
        for (; differ != 0; differ &= differ - 1) {
          const int64_t column = 64 * i + lowest_bit(differ);
          changes_.push_back({static_cast<int32_t>(column), static_cast<int32_t>(y)});
          ++starts_[static_cast<std::size_t>(column)];
        }
      }
    }
  }

  PixelBox box_{0, 0, 0, 0};
  int64_t words_in_row_ = 0;
  std::vector<uint64_t> words_;
  std::vector<Change> changes_;
  std::vector<int64_t> starts_;
};

}  // namespace polarseg
