// Which pixels of the picture a pasted map may cover, and where they lie in it. Plain C++17 without
// torch.
//
// All arithmetic is float32, operation by operation that of torch, with which the published masks
// are made. Whether torch fuses products into sums depends on its build and on the processor, hence
// the template argument: the fused ones are compiled for processors that have the instruction.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace polarseg {

// a * b + c in torch's rounding.
template <bool fused>
inline float multiply_add(float a, float b, float c) {
  if constexpr (fused) return std::fma(a, b, c);
  return a * b + c;
}

// How a map lies on the picture.
enum class PasteRule {
  // Pixels are points at their centre, the map covers the box and zeros lie around it: torch's
  // grid_sample with align_corners=False, as mmdet and detectron2 paste. Foreground: at least the
  // threshold.
  kHalfPixel,
  // The map with a ring of zeros is resized (torch's interpolate with align_corners=False) to a box
  // of whole pixels, both ends included, that is wider by the ring: as CenterMask's and earlier
  // code paste. Foreground: above the threshold.
  kIntegerBox,
};

// One side of a box: its pixels of the picture, and what sampling needs to know of it.
struct Side {
  float low;  // kHalfPixel: the side itself
  float high;
  int64_t origin;  // kIntegerBox: first pixel of the resized map, and its size
  int64_t size;
  int64_t first_pixel;  // pixels first_pixel to end_pixel - 1 may be foreground
  int64_t end_pixel;
};

// The box, a pixel wider on each side, inside the picture: the pixels that mmdet looks at.
inline Side half_pixel_side(float low, float high, int64_t picture_size) {
  Side side{low, high, 0, 0, 0, 0};
  if (!std::isfinite(low) || !std::isfinite(high)) return side;
  const auto size = static_cast<float>(picture_size);
  const float first = std::max(std::floor(low) - 1.f, 0.f);
  const float end = std::ceil(high) + 1.f;
  side.first_pixel = first < size ? static_cast<int64_t>(first) : picture_size;
  side.end_pixel = end < size ? static_cast<int64_t>(std::max(end, 0.f)) : picture_size;
  return side;
}

// The ends are truncated towards zero. Nothing where they are no int32.
inline Side integer_box_side(float low, float high, int64_t picture_size, int map_size) {
  const auto widening = static_cast<float>(static_cast<double>(map_size + 2) / map_size);
  const float half = (high - low) * .5f * widening;
  const float centre = (high + low) * .5f;
  Side side{centre - half, centre + half, 0, 1, 0, 0};
  const auto fits = [](float end) { return end >= -2147483648.f && end < 2147483648.f; };
  if (!fits(side.low) || !fits(side.high)) return side;
  side.origin = static_cast<int64_t>(side.low);
  const auto last = static_cast<int64_t>(side.high);
  side.size = std::max<int64_t>(last - side.origin + 1, 1);
  side.first_pixel = std::max<int64_t>(side.origin, 0);
  side.end_pixel = std::min<int64_t>(last + 1, picture_size);
  return side;
}

// A pixel beside the map lies in this cell, whose two neighbours are zero.
constexpr int kBeside = -2;

// For each pixel of a stretch of the picture: the map's cell whose centre lies at or before it, and
// the weights of that cell and the next.
struct AxisSamples {
  std::vector<int> cell;
  std::vector<float> near;
  std::vector<float> far;

  int64_t size() const { return static_cast<int64_t>(cell.size()); }

  void resize(int64_t size) {
    cell.resize(static_cast<std::size_t>(size));
    near.resize(static_cast<std::size_t>(size));
    far.resize(static_cast<std::size_t>(size));
  }
};

template <bool fused>
inline void sample_half_pixel(const Side& side, int map_size, AxisSamples& samples) {
  const float half_size = static_cast<float>(map_size) / 2.f;
  for (int64_t i = 0; i < samples.size(); ++i) {
    const float centre = static_cast<float>(side.first_pixel + i) + .5f;
    float normalised = (centre - side.low) / (side.high - side.low) * 2.f - 1.f;
    if (std::isinf(normalised)) normalised = 0.f;
    const float position = multiply_add<fused>(normalised + 1.f, half_size, -.5f);
    const float floor = std::floor(position);
    const bool reaches = floor >= -1.f && floor < static_cast<float>(map_size);
    samples.cell[i] = reaches ? static_cast<int>(floor) : kBeside;
    samples.far[i] = position - floor;
    samples.near[i] = 1.f - samples.far[i];
  }
}

// The ring of zeros is cell -1 and the one after the last, which are zero anyhow.
template <bool fused>
inline void sample_integer_box(const Side& side, int map_size, AxisSamples& samples) {
  const int ringed = map_size + 2;
  const float scale = static_cast<float>(ringed) / static_cast<float>(side.size);
  const int64_t skipped = side.first_pixel - side.origin;
  for (int64_t i = 0; i < samples.size(); ++i) {
    const float centre = static_cast<float>(skipped + i) + .5f;
    const float position = std::max(multiply_add<fused>(scale, centre, -.5f), 0.f);
    const int cell = std::min(static_cast<int>(std::floor(position)), ringed - 1);
    samples.cell[i] = cell - 1;
    samples.far[i] = std::min(std::max(position - static_cast<float>(cell), 0.f), 1.f);
    samples.near[i] = 1.f - samples.far[i];
  }
}

template <PasteRule rule>
inline Side side_of_box(float low, float high, int64_t picture_size, int map_size) {
  if constexpr (rule == PasteRule::kHalfPixel) return half_pixel_side(low, high, picture_size);
  return integer_box_side(low, high, picture_size, map_size);
}

template <PasteRule rule, bool fused>
inline void sample_side(const Side& side, int map_size, AxisSamples& samples) {
  samples.resize(side.end_pixel - side.first_pixel);
  if constexpr (rule == PasteRule::kHalfPixel) {
    sample_half_pixel<fused>(side, map_size, samples);
  } else {
    sample_integer_box<fused>(side, map_size, samples);
  }
}

}  // namespace polarseg
