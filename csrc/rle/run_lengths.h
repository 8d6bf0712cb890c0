// COCO's run-length encoding of one mask: columns one after the other, run lengths of background
// and foreground in turn, background first, compressed to a string of printable characters.
// Plain C++17 without torch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace polarseg {

// Pictures larger than this are refused: pixel positions fit an int32 and run lengths COCO's
// uint32.
constexpr int64_t kMaxPixels = (int64_t{1} << 31) - 1;

// Appends one number: groups of 5 bits, low ones first, as characters from '0' on; bit 5 says that
// the number goes on, and the last group's bit 4 is the sign.
inline char* write_number(int64_t value, char* out) {
  bool more = true;
  while (more) {
    int group = static_cast<int>(value & 0x1f);
    value >>= 5;
    more = (group & 0x10) != 0 ? value != -1 : value != 0;
    if (more) group |= 0x20;
    *out++ = static_cast<char>(group + '0');
  }
  return out;
}

// The compressed string of a mask, from the ascending positions (column * height + row) at which
// the colour changes, the first one to foreground. Positions that occur twice are no change.
inline std::string compress_changes(const std::vector<int64_t>& changes, int64_t num_pixels) {
  constexpr std::size_t kLongest = 8;  // characters of a difference of two numbers below 2^32
  std::string text((changes.size() + 1) * kLongest, '\0');
  char* out = text.data();
  int64_t start = 0;
  int64_t last = 0;         // the length before, and the one before that: from the fourth length
  int64_t before_last = 0;  // on, the difference to the one before the last is written
  std::size_t count = 0;
  const auto write_run = [&](int64_t end) {
    const int64_t length = end - start;
    out = write_number(count > 2 ? length - before_last : length, out);
    before_last = last;
    last = length;
    start = end;
    ++count;
  };
  const std::size_t size = changes.size();
  for (std::size_t i = 0; i < size; ++i) {
    if (i + 1 < size && changes[i] == changes[i + 1]) {
      ++i;
      continue;
    }
    write_run(changes[i]);
  }
  if (count == 0 || start < num_pixels) write_run(num_pixels);
  text.resize(static_cast<std::size_t>(out - text.data()));
  return text;
}

}  // namespace polarseg
