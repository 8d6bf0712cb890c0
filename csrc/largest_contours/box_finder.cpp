#include "box_finder.h"

#include "../common/multiversion.h"

namespace polarseg {
namespace {

constexpr int kStreams = BoxFinder::kStreams;

// Bit n: whether row n has a pixel.
POLARSEG_MULTIVERSION unsigned rows_with_pixels(const uint8_t* const* rows, int64_t width) {
  const uint8_t* const a = rows[0];
  const uint8_t* const b = rows[1];
  const uint8_t* const c = rows[2];
  const uint8_t* const d = rows[3];
  uint8_t any[kStreams] = {};
  for (int64_t x = 0; x < width; ++x) {
    any[0] |= a[x];
    any[1] |= b[x];
    any[2] |= c[x];
    any[3] |= d[x];
  }
  unsigned found = 0;
  for (int n = 0; n < kStreams; ++n) found |= static_cast<unsigned>(any[n] != 0) << n;
  return found;
}

POLARSEG_MULTIVERSION void add_row(const uint8_t* __restrict row, int64_t width,
                                   uint8_t* __restrict columns) {
  for (int64_t x = 0; x < width; ++x) columns[x] |= row[x];
}

}  // namespace

PixelBox BoxFinder::find(const uint8_t* mask) {
  std::fill(columns_.begin(), columns_.end(), uint8_t{0});
  top_ = height_;
  bottom_ = 0;
  const int64_t apart = (height_ + kStreams - 1) / kStreams;
  for (int64_t y = 0; y < apart; ++y) look(mask, y, apart);
  if (bottom_ == 0) return {0, 0, 0, 0};
  const auto is_set = [](uint8_t any) { return any != 0; };
  const auto first = std::find_if(columns_.begin(), columns_.end(), is_set);
  const auto last = std::find_if(columns_.rbegin(), columns_.rend(), is_set);
  return {first - columns_.begin(), top_, columns_.rend() - last, bottom_};
}

void BoxFinder::look(const uint8_t* mask, int64_t y, int64_t apart) {
  const uint8_t* rows[kStreams];
  for (int n = 0; n < kStreams; ++n) rows[n] = mask + number(y, apart, n) * width_;
  unsigned left = rows_with_pixels(rows, width_);
  for (int n = 0; left != 0; ++n, left >>= 1) {
    if ((left & 1) == 0) continue;
    add_row(rows[n], width_, columns_.data());
    top_ = std::min(top_, number(y, apart, n));
    bottom_ = std::max(bottom_, number(y, apart, n) + 1);
  }
}

}  // namespace polarseg
