// Where the pixels of a row or column of the picture lie in a map of probabilities that is stretched
// over a box. Plain C++17 without torch.
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

// Pixels are points at their centre; the map covers the box from `low` to `high`, zeros lie around
// it (torch's grid_sample with align_corners=False, as mmdet and detectron2 paste).
template <bool fused>
inline void sample_half_pixel(float low, float high, int64_t first_pixel, int map_size,
                              AxisSamples& samples) {
  const float half_size = static_cast<float>(map_size) / 2.f;
  for (int64_t i = 0; i < samples.size(); ++i) {
    const float centre = static_cast<float>(first_pixel + i) + .5f;
    float normalised = (centre - low) / (high - low) * 2.f - 1.f;
    if (std::isinf(normalised)) normalised = 0.f;
    const float position = multiply_add<fused>(normalised + 1.f, half_size, -.5f);
    const float floor = std::floor(position);
    const bool reaches = floor >= -1.f && floor < static_cast<float>(map_size);
    samples.cell[i] = reaches ? static_cast<int>(floor) : kBeside;
    samples.far[i] = position - floor;
    samples.near[i] = 1.f - samples.far[i];
  }
}

}  // namespace polarseg
