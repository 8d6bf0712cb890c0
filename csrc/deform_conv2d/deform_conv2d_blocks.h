// How the CPU's backward pass cuts its work, and what all of it reads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "deform_conv2d_layout.h"

namespace polarseg {

constexpr int64_t kBlockChannels = 64;

// A block of input channels, all of one deform group.
struct Block {
  int64_t deform_group;
  int64_t begin;
  int64_t end;
};

inline std::vector<Block> blocks_of(const DeformConvShape& s) {
  std::vector<Block> blocks;
  for (int64_t dg = 0; dg < s.deform_groups; ++dg) {
    const int64_t end = (dg + 1) * s.deform_channels();
    for (int64_t c = dg * s.deform_channels(); c < end; c += kBlockChannels) {
      blocks.push_back({dg, c, std::min(c + kBlockChannels, end)});
    }
  }
  return blocks;
}

// The part of a block that lies in one group.
struct Part {
  int64_t group;
  int64_t begin;
  int64_t end;
  int64_t size() const { return end - begin; }
};

inline std::vector<Part> parts_of(const DeformConvShape& s, const Block& block) {
  std::vector<Part> parts;
  const int64_t size = s.group_channels();
  for (int64_t group = block.begin / size; group * size < block.end; ++group) {
    parts.push_back(
        {group, std::max(block.begin, group * size), std::min(block.end, (group + 1) * size)});
  }
  return parts;
}

// What both passes of the backward operator read.
template <typename T>
struct Backward {
  DeformConvShape shape;
  const Kernels<T>& kernels;
  Panels panels;   // of the output channels of a group
  const T* image;  // (batch, pixels, channels)
  const T* offset;
  const T* mask;    // or null
  const T* weight;  // (out channels, group channels, points)
  const T* grad;    // pack_output_grad

  const T* sample_image(int64_t sample) const {
    return image + sample * shape.pixels() * shape.channels;
  }
  // panels of the output gradient of one sample and group, from a position on
  const T* grad_panels(int64_t sample, int64_t group, int64_t p0) const {
    const int64_t panel = (sample * shape.groups + group) * panels.count;
    return grad + (panel * shape.positions() + p0) * panels.width;
  }
  int64_t chunks() const { return ceil_div(shape.positions(), kChunk); }
  int64_t chunk_begin(int64_t chunk) const { return shape.positions() * chunk / chunks(); }
};

}  // namespace polarseg
