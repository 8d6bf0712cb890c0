// Compressed run lengths of many masks as tensors: all characters one after the other, and where
// those of each mask begin and end.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "run_lengths.h"

namespace polarseg {

using RleTensors = std::tuple<at::Tensor, at::Tensor>;  // (B,) uint8, (N + 1,) int64

inline void check_picture(const char* op, int64_t height, int64_t width) {
  TORCH_CHECK_VALUE(height >= 0 && width >= 0, op, ": height and width must not be negative, got ",
                    height, " and ", width, ".");
  TORCH_CHECK_VALUE(
      height <= kMaxPixels && width <= kMaxPixels && (width == 0 || height <= kMaxPixels / width),
      op, ": a picture must have fewer than 2^31 pixels and rows and columns, got ", height, " x ",
      width, ".");
}

inline RleTensors join_texts(const std::vector<std::string>& texts) {
  at::Tensor offsets = at::empty({static_cast<int64_t>(texts.size()) + 1}, at::kLong);
  int64_t* ends = offsets.mutable_data_ptr<int64_t>();
  ends[0] = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    ends[i + 1] = ends[i] + static_cast<int64_t>(texts[i].size());
  }
  at::Tensor bytes = at::empty({ends[texts.size()]}, at::kByte);
  uint8_t* out = bytes.mutable_data_ptr<uint8_t>();
  for (const std::string& text : texts) out = std::copy(text.begin(), text.end(), out);
  return {bytes, offsets};
}

}  // namespace polarseg
