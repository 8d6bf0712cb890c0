// mask_boxes: where the pixels of masks are. Every byte is read once, and most are zero, so this is
// a matter of how fast memory comes. A processor fetches ahead in each page on its own: four rows
// that lie far apart, read side by side, come nearly twice as fast as one after the other.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "../common/multiversion.h"
#include "mask_boxes_ops.h"

namespace polarseg {
namespace {

constexpr int kStreams = 4;
constexpr int64_t kLeast = 1 << 18;  // bytes worth a thread

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

// Box of one mask after the other.
class BoxFinder {
 public:
  BoxFinder(int64_t height, int64_t width) : height_(height), width_(width), columns_(width) {}

  // box: [4]
  void find(const uint8_t* mask, int64_t* box) {
    std::fill(columns_.begin(), columns_.end(), uint8_t{0});
    top_ = height_;
    bottom_ = 0;
    const int64_t apart = (height_ + kStreams - 1) / kStreams;
    for (int64_t y = 0; y < apart; ++y) look(mask, y, apart);
    const auto is_set = [](uint8_t any) { return any != 0; };
    const auto first = std::find_if(columns_.begin(), columns_.end(), is_set);
    const auto last = std::find_if(columns_.rbegin(), columns_.rend(), is_set);
    const bool is_empty = bottom_ == 0;
    box[0] = is_empty ? 0 : first - columns_.begin();
    box[1] = is_empty ? 0 : top_;
    box[2] = is_empty ? 0 : columns_.rend() - last;
    box[3] = bottom_;
  }

 private:
  // At row y and those that lie so far apart; the last one again beyond the end.
  void look(const uint8_t* mask, int64_t y, int64_t apart) {
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

  int64_t number(int64_t y, int64_t apart, int n) const {
    return std::min(y + n * apart, height_ - 1);
  }

  int64_t height_;
  int64_t width_;
  std::vector<uint8_t> columns_;  // whether they have a pixel
  int64_t top_ = 0;
  int64_t bottom_ = 0;
};

}  // namespace

at::Tensor mask_boxes(const at::Tensor& masks) {
  const auto type = masks.scalar_type();
  TORCH_CHECK_TYPE(type == at::kByte || type == at::kBool,
                   "mask_boxes: masks must be uint8 or bool, got ", type, ".");
  TORCH_CHECK_VALUE(masks.dim() == 3, "mask_boxes: masks must have shape (n, h, w), got ",
                    masks.sizes(), ".");
  const at::Tensor here = masks.cpu().contiguous();
  const int64_t height = here.size(1);
  const int64_t width = here.size(2);
  at::Tensor boxes = at::empty({here.size(0), 4}, at::kLong);
  const auto* pixels = static_cast<const uint8_t*>(here.const_data_ptr());
  int64_t* const box = boxes.mutable_data_ptr<int64_t>();
  const int64_t least = kLeast / std::max<int64_t>(height * width, 1) + 1;
  at::parallel_for(0, height > 0 ? here.size(0) : 0, least, [&](int64_t begin, int64_t end) {
    BoxFinder finder(height, width);
    for (int64_t n = begin; n < end; ++n) finder.find(pixels + n * height * width, box + 4 * n);
  });
  if (height == 0) boxes.zero_();
  return boxes.to(masks.device());
}

}  // namespace polarseg
