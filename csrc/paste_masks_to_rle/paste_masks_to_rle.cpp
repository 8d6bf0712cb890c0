// paste_masks_to_rle: one task per mask, so the result does not depend on the number of threads.
// Run lengths are wanted on the host, so tensors of other devices are copied here first.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/grid_sampler_2d.h>

#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "../rle/rle_tensors.h"
#include "paste.h"
#include "paste_masks_to_rle_ops.h"

namespace polarseg {
namespace {

constexpr const char* kOp = "paste_masks_to_rle";

struct Arguments {
  at::Tensor masks;  // (N, R, S) float32
  at::Tensor boxes;  // (N, 4) float32

  ProbabilityMap map(int64_t n) const {
    const int64_t size = masks.size(1) * masks.size(2);
    return {masks.const_data_ptr<float>() + n * size, static_cast<int>(masks.size(1)),
            static_cast<int>(masks.size(2))};
  }
  const float* box(int64_t n) const { return boxes.const_data_ptr<float>() + 4 * n; }
};

Arguments check_arguments(const at::Tensor& masks, const at::Tensor& boxes, double threshold) {
  TORCH_CHECK_TYPE(masks.is_floating_point(), kOp, ": masks must be floating-point, got ",
                   masks.scalar_type(), ".");
  TORCH_CHECK_TYPE(boxes.is_floating_point(), kOp, ": boxes must be floating-point, got ",
                   boxes.scalar_type(), ".");
  TORCH_CHECK_VALUE(masks.dim() == 3, kOp, ": masks must have shape (n, r, s), got ", masks.sizes(),
                    ".");
  TORCH_CHECK_VALUE(boxes.dim() == 2 && boxes.size(1) == 4, kOp,
                    ": boxes must have shape (n, 4), x1, y1, x2, y2 of each, got ", boxes.sizes(),
                    ".");
  TORCH_CHECK_VALUE(boxes.size(0) == masks.size(0), kOp,
                    ": there must be one box for each mask, got ", boxes.size(0), " for ",
                    masks.size(0), " masks.");
  TORCH_CHECK_VALUE(masks.size(0) == 0 || (masks.size(1) > 0 && masks.size(2) > 0), kOp,
                    ": masks must not be of size 0, got shape ", masks.sizes(), ".");
  constexpr int64_t kMostCells = std::numeric_limits<int32_t>::max() / 2;
  TORCH_CHECK_VALUE(masks.size(1) <= kMostCells && masks.size(2) <= kMostCells, kOp,
                    ": a mask may have at most ", kMostCells, " rows and columns, got shape ",
                    masks.sizes(), ".");
  TORCH_CHECK_VALUE(threshold >= 0. && std::isfinite(threshold), kOp,
                    ": threshold must be finite and at least 0, got ", threshold, ".");
  return {masks.detach().cpu().to(at::kFloat).contiguous(),
          boxes.detach().cpu().to(at::kFloat).contiguous()};
}

PasteRule rule_named(std::string_view name) {
  if (name == "half_pixel") return PasteRule::kHalfPixel;
  TORCH_CHECK_VALUE(name == "integer_box", kOp,
                    ": rule must be 'half_pixel' or 'integer_box', got '", name, "'.");
  return PasteRule::kIntegerBox;
}

// Whether torch's grid_sample fuses products into sums here, which depends on its build and on the
// processor: asked once, with values whose last bit tells.
bool torch_fuses() {
  constexpr int kPoints = 64;
  const at::Tensor map = at::empty({1, 1, 2, 2}, at::kFloat);
  const at::Tensor grid = at::empty({1, 1, kPoints, 2}, at::kFloat);
  float* values = map.mutable_data_ptr<float>();
  float* places = grid.mutable_data_ptr<float>();
  for (int i = 0; i < 4; ++i) values[i] = .1f + .2137f * static_cast<float>(i * i);
  for (int i = 0; i < 2 * kPoints; ++i) {
    places[i] = -.45f + .9f * static_cast<float>((i * 37) % (2 * kPoints)) / (2.f * kPoints);
  }
  const at::Tensor sampled = at::grid_sampler_2d(map, grid, 0, 0, false);
  const float* result = sampled.const_data_ptr<float>();
  for (int i = 0; i < kPoints; ++i) {
    const float x = std::fma(places[2 * i] + 1.f, 1.f, -.5f);
    const float y = std::fma(places[2 * i + 1] + 1.f, 1.f, -.5f);
    const float upper = 1.f - y;
    const float left = 1.f - x;
    float value = values[0] * (upper * left);
    value = std::fma(values[1], upper * x, value);
    value = std::fma(values[2], y * left, value);
    value = std::fma(values[3], y * x, value);
    if (value != result[i]) return false;
  }
  return true;
}

// What one thread needs for one mask after the other.
template <PasteRule rule, bool fused>
class Worker {
 public:
  Worker(int64_t height, int64_t width, float threshold)
      : height_(height), width_(width), threshold_(threshold) {}

  std::string encode(const ProbabilityMap& map, const float* box) {
    const Side x = side_of_box<rule>(box[0], box[2], width_, map.width);
    const Side y = side_of_box<rule>(box[1], box[3], height_, map.height);
    changes_.clear();
    if (x.first_pixel < x.end_pixel && y.first_pixel < y.end_pixel) {
      sample_side<rule, fused>(x, map.width, x_);
      sample_side<rule, fused>(y, map.height, y_);
      const CompareStretch compare = compare_stretch_for<rule, fused>(y.size, x.size);
      paster_.paste(map, compare, x_, x.first_pixel, y_, y.first_pixel, threshold_, height_,
                    changes_);
    }
    return compress_changes(changes_, height_ * width_);
  }

 private:
  int64_t height_;
  int64_t width_;
  float threshold_;
  MapPaster paster_;
  AxisSamples x_;
  AxisSamples y_;
  std::vector<int64_t> changes_;
};

template <PasteRule rule, bool fused>
std::vector<std::string> encode_all(const Arguments& args, int64_t height, int64_t width,
                                    float threshold) {
  std::vector<std::string> texts(static_cast<std::size_t>(args.masks.size(0)));
  at::parallel_for(0, args.masks.size(0), 1, [&](int64_t begin, int64_t end) {
    Worker<rule, fused> worker(height, width, threshold);
    for (int64_t n = begin; n < end; ++n) {
      texts[static_cast<std::size_t>(n)] = worker.encode(args.map(n), args.box(n));
    }
  });
  return texts;
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> paste_masks_to_rle(const at::Tensor& masks,
                                                      const at::Tensor& boxes, int64_t height,
                                                      int64_t width, double threshold,
                                                      std::string_view rule) {
  const PasteRule chosen = rule_named(rule);
  check_picture(kOp, height, width);
  const Arguments args = check_arguments(masks, boxes, threshold);
  static const bool fuses = torch_fuses();
  const bool half_pixel = chosen == PasteRule::kHalfPixel;
  const auto encode = half_pixel ? (fuses ? encode_all<PasteRule::kHalfPixel, true>
                                          : encode_all<PasteRule::kHalfPixel, false>)
                                 : (fuses ? encode_all<PasteRule::kIntegerBox, true>
                                          : encode_all<PasteRule::kIntegerBox, false>);
  return join_texts(encode(args, height, width, static_cast<float>(threshold)));
}

}  // namespace polarseg
