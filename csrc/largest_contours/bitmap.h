// A mask of one byte for each pixel, where it has pixels. Plain C++17 without torch.
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <cstdint>
#include <cstring>

#include "../rle/packed_mask.h"

namespace polarseg {

struct Pixel {
  int32_t x;
  int32_t y;

  friend bool operator==(Pixel a, Pixel b) { return a.x == b.x && a.y == b.y; }
};

struct Bitmap {
  const uint8_t* pixels;  // not 0 inside
  int64_t width;          // of a row
  PixelBox box;           // beyond it there is nothing

  const uint8_t* row(int64_t y) const { return pixels + y * width; }

  bool has(Pixel p) const {
    return p.x >= box.x0 && p.x < box.x1 && p.y >= box.y0 && p.y < box.y1 && row(p.y)[p.x] != 0;
  }
};

constexpr int64_t kWordPixels = 64;

// Bit n: whether byte n of 64 is not 0.
inline uint64_t set_pixels(const uint8_t* bytes) {
  uint64_t found = 0;
#if defined(__SSE2__)
  constexpr int kBytes = sizeof(__m128i);
  for (int i = 0; i < kWordPixels; i += kBytes) {
    const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i));
    const int zeros = _mm_movemask_epi8(_mm_cmpeq_epi8(part, _mm_setzero_si128()));
    found |= static_cast<uint64_t>(~zeros & 0xffff) << i;
  }
#else
  for (int i = 0; i < kWordPixels; ++i) found |= static_cast<uint64_t>(bytes[i] != 0) << i;
#endif
  return found;
}

// Calls take(first, end) for each run of pixels of a row from x = begin to end - 1, from the left.
template <typename Take>
void for_each_run(const uint8_t* row, int64_t begin, int64_t end, const Take& take) {
  uint64_t inside = 0;  // whether the pixel before is set
  int64_t first = begin;
  for (int64_t x = begin; x < end; x += kWordPixels) {
    uint64_t word;
    if (x + kWordPixels <= end) {
      word = set_pixels(row + x);
    } else {
      uint8_t rest[kWordPixels] = {};
      std::memcpy(rest, row + x, end - x);
      word = set_pixels(rest);
    }
    for (uint64_t edges = word ^ (word << 1 | inside); edges != 0; edges &= edges - 1) {
      const int64_t edge = x + lowest_bit(edges);
      inside ^= 1;
      if (inside != 0) {
        first = edge;
      } else {
        take(first, edge);
      }
    }
  }
  if (inside != 0) take(first, end);
}

}  // namespace polarseg
