// largest_contours: of each mask the outer border that encloses most.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "border.h"
#include "box_finder.h"
#include "components.h"
#include "largest_contours_ops.h"

namespace polarseg {
namespace {

constexpr int64_t kLeast = 1 << 18;    // bytes worth a thread
constexpr int64_t kLongest = 1 << 24;  // side: float32 holds every whole number up to it

// Contour of one mask after the other.
class ContourFinder {
 public:
  ContourFinder(int64_t height, int64_t width) : width_(width), boxes_(height, width) {}

  // Empty where the mask is.
  const std::vector<Pixel>& find(const uint8_t* pixels) {
    const Bitmap mask{pixels, width_, boxes_.find(pixels)};
    largest_.clear();
    if (mask.box.empty()) return largest_;
    int64_t most = -1;
    for (const Pixel first : components_.first_pixels(mask)) {
      follow_border(mask, first, border_);
      const int64_t area = twice_area(border_);
      // Among equals the last one, as OpenCV has it first.
      if (area < most) continue;
      most = area;
      std::swap(largest_, border_);
    }
    return largest_;
  }

 private:
  int64_t width_;
  BoxFinder boxes_;
  Components components_;
  std::vector<Pixel> border_;
  std::vector<Pixel> largest_;
};

void check_masks(const at::Tensor& masks) {
  const auto type = masks.scalar_type();
  TORCH_CHECK_TYPE(type == at::kByte || type == at::kBool,
                   "largest_contours: masks must be uint8 or bool, got ", type, ".");
  TORCH_CHECK_VALUE(masks.dim() == 3, "largest_contours: masks must have shape (n, h, w), got ",
                    masks.sizes(), ".");
  TORCH_CHECK_VALUE(std::max(masks.size(1), masks.size(2)) <= kLongest,
                    "largest_contours: masks may have up to ", kLongest, " rows and columns, got ",
                    masks.sizes(), ".");
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> largest_contours(const at::Tensor& masks) {
  check_masks(masks);
  const at::Tensor here = masks.cpu().contiguous();
  const int64_t count = here.size(0);
  const int64_t size = here.size(1) * here.size(2);
  const auto* pixels = static_cast<const uint8_t*>(here.const_data_ptr());
  std::vector<std::vector<Pixel>> contours(count);
  const int64_t least = kLeast / std::max<int64_t>(size, 1) + 1;
  at::parallel_for(0, size > 0 ? count : 0, least, [&](int64_t begin, int64_t end) {
    ContourFinder finder(here.size(1), here.size(2));
    for (int64_t n = begin; n < end; ++n) contours[n] = finder.find(pixels + n * size);
  });

  at::Tensor offsets = at::empty({count + 1}, at::kLong);
  int64_t* const ends = offsets.mutable_data_ptr<int64_t>();
  ends[0] = 0;
  for (int64_t n = 0; n < count; ++n) {
    ends[n + 1] = ends[n] + static_cast<int64_t>(contours[n].size());
  }
  at::Tensor points = at::empty({ends[count], 2}, at::kFloat);
  float* next = points.mutable_data_ptr<float>();
  for (const auto& contour : contours) {
    for (const Pixel p : contour) {
      *next++ = static_cast<float>(p.x);
      *next++ = static_cast<float>(p.y);
    }
  }
  return {points.to(masks.device()), offsets.to(masks.device())};
}

}  // namespace polarseg
