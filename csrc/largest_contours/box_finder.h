// Where the pixels of a mask are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../rle/packed_mask.h"

namespace polarseg {

// Box of one mask after the other. Every byte is read once, and most are zero, so this is a matter
// of how fast memory comes. A processor fetches ahead in each page on its own: four rows that lie
// far apart, read side by side, come nearly twice as fast as one after the other.
class BoxFinder {
 public:
  static constexpr int kStreams = 4;

  BoxFinder(int64_t height, int64_t width) : height_(height), width_(width), columns_(width) {}

  // The smallest box round the pixels of mask [height, width] that are not 0; four zeros if all
  // are.
  PixelBox find(const uint8_t* mask);

 private:
  // At row y and those that lie so far apart; the last one again beyond the end.
  void look(const uint8_t* mask, int64_t y, int64_t apart);

  int64_t number(int64_t y, int64_t apart, int n) const {
    return std::min(y + n * apart, height_ - 1);
  }

  int64_t height_;
  int64_t width_;
  std::vector<uint8_t> columns_;  // whether they have a pixel
  int64_t top_ = 0;
  int64_t bottom_ = 0;
};

}  // namespace polarseg
