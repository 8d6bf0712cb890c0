// A map of probabilities stretched over a box of the picture and cut at a threshold, column by
// column, to the positions at which the colour changes. Plain C++17 without torch.
//
// Columns whose pixels lie between the same two columns of the map share their neighbours. Of
// these, only the cells of the map whose corners lie on both sides of the threshold are sampled
// pixel by pixel: what interpolates values that are all above it is above it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "column_kernel.h"
#include "sampling.h"

namespace polarseg {

struct ProbabilityMap {
  const float* values;  // [height, width]
  int height;
  int width;

  // The value of a cell, zero outside.
  float at(int row, int column) const {
    const bool inside = row >= 0 && row < height && column >= 0 && column < width;
    return inside ? values[static_cast<int64_t>(row) * width + column] : 0.f;
  }
};

// Pixels begin to end - 1 of a stretch that lie in one cell.
struct CellRun {
  int cell;
  int64_t begin;
  int64_t end;
  bool regular;  // weights between 0 and 1: what the corners bound, bounds the pixels

  static std::vector<CellRun> of(const AxisSamples& samples) {
    std::vector<CellRun> runs;
    for (int64_t i = 0; i < samples.size(); ++i) {
      const bool regular = samples.far[i] >= 0.f && samples.far[i] <= 1.f;
      if (runs.empty() || runs.back().cell != samples.cell[i]) {
        runs.push_back({samples.cell[i], i, i, true});
      }
      runs.back().end = i + 1;
      runs.back().regular &= regular;
    }
    return runs;
  }
};

// Far above what rounding moves a mean of four values, for its share of the largest.
constexpr float kRoundingShare = 1e-5f;

enum class CellKind : uint8_t { kBackground, kForeground, kMixed };

// What all pixels of a cell are, by its corners; values that are no numbers leave it open.
inline CellKind cell_kind(const float (&corners)[4], float threshold) {
  const auto [a, b, c, d] = corners;
  const float low = std::min(std::min(a, b), std::min(c, d));
  const float high = std::max(std::max(a, b), std::max(c, d));
  const float slack = kRoundingShare * (std::fabs(low) + std::fabs(high));
  const bool numbers = !std::isnan(a + b + c + d);
  if (numbers && low - slack > threshold) return CellKind::kForeground;
  if (numbers && high + slack < threshold) return CellKind::kBackground;
  return CellKind::kMixed;
}

// One map after the other; memory is kept between them.
class MapPaster {
 public:
  // Positions (column * picture_height + row), ascending, at which the colour of the mask changes.
  // x, y: samples of columns and rows, the first ones of which are first_column and first_row.
  void paste(const ProbabilityMap& map, CompareStretch compare, const AxisSamples& x,
             int64_t first_column, const AxisSamples& y, int64_t first_row, float threshold,
             int64_t picture_height, std::vector<int64_t>& changes) {
    changes.clear();
    compare_ = compare;
    prepare(y.size());
    const std::vector<CellRun> row_runs = CellRun::of(y);
    for (const CellRun& columns : CellRun::of(x)) {
      gather(map, columns, row_runs, threshold);
      for (int64_t i = columns.begin; i < columns.end; ++i) {
        for (const Stretch& stretch : mixed_) sample(stretch, x.near[i], x.far[i], y, threshold);
        find_changes((first_column + i) * picture_height + first_row, changes);
      }
    }
  }

 private:
  struct Stretch {
    int64_t begin;
    int64_t end;

    // Joins what touches, so that stretches stay apart and in order.
    static void append(std::vector<Stretch>& stretches, int64_t begin, int64_t end) {
      if (!stretches.empty() && stretches.back().end >= begin) {
        stretches.back().end = std::max(stretches.back().end, end);
      } else {
        stretches.push_back({begin, end});
      }
    }
  };

  static constexpr int64_t kStep = 8;  // bytes of the words in which changes are looked for

  void prepare(int64_t height) {
    for (std::vector<float>& values : neighbours_) {
      values.resize(static_cast<std::size_t>(height));
    }
    // A background byte before the column, and enough of them after it.
    column_.assign(static_cast<std::size_t>(height + 1 + 2 * kStep), 0);
  }

  uint8_t* pixels() { return column_.data() + 1; }

  // What the columns of a run share: pixels of cells of one kind, neighbours in the others, and
  // where the colour may change.
  void gather(const ProbabilityMap& map, const CellRun& columns,
              const std::vector<CellRun>& row_runs, float threshold) {
    mixed_.clear();
    watched_.clear();
    CellKind above = CellKind::kBackground;
    for (const CellRun& rows : row_runs) {
      const float corners[4] = {
          map.at(rows.cell, columns.cell), map.at(rows.cell, columns.cell + 1),
          map.at(rows.cell + 1, columns.cell), map.at(rows.cell + 1, columns.cell + 1)};
      const CellKind kind =
          rows.regular && columns.regular ? cell_kind(corners, threshold) : CellKind::kMixed;
      if (kind == CellKind::kMixed) {
        for (int k = 0; k < 4; ++k) {
          float* neighbours = neighbours_[k].data();
          std::fill(neighbours + rows.begin, neighbours + rows.end, corners[k]);
        }
        Stretch::append(mixed_, rows.begin, rows.end);
        Stretch::append(watched_, rows.begin, rows.end + 1);
      } else {
        const auto colour = static_cast<uint8_t>(kind == CellKind::kForeground);
        std::fill(pixels() + rows.begin, pixels() + rows.end, colour);
        if (kind != above) Stretch::append(watched_, rows.begin, rows.begin + 1);
      }
      above = kind;
    }
    const int64_t end = row_runs.back().end;
    if (above == CellKind::kForeground) Stretch::append(watched_, end, end + 1);
  }

  void sample(const Stretch& stretch, float left, float right, const AxisSamples& y,
              float threshold) {
    const int64_t begin = stretch.begin;
    const Neighbours at{neighbours_[0].data() + begin, neighbours_[1].data() + begin,
                        neighbours_[2].data() + begin, neighbours_[3].data() + begin,
                        y.near.data() + begin,         y.far.data() + begin};
    compare_(at, left, right, threshold, stretch.end - begin, pixels() + begin);
  }

  // The byte after the column is background, so a column that ends in foreground changes there.
  void find_changes(int64_t position, std::vector<int64_t>& changes) const {
    const uint8_t* pixels = column_.data() + 1;
    for (const Stretch& stretch : watched_) {
      for (int64_t i = stretch.begin; i < stretch.end; i += kStep) {
        uint64_t here = 0;
        uint64_t before = 0;
        std::memcpy(&here, pixels + i, sizeof(here));
        std::memcpy(&before, pixels + i - 1, sizeof(before));
        if (here == before) continue;
        // Without branches: where the colour changes often, they would be guessed wrong.
        int64_t found[kStep];
        int64_t count = 0;
        const int64_t end = std::min(i + kStep, stretch.end);
        for (int64_t k = i; k < end; ++k) {
          found[count] = position + k;
          count += pixels[k] != pixels[k - 1] ? 1 : 0;
        }
        changes.insert(changes.end(), found, found + count);
      }
    }
  }

  CompareStretch compare_ = nullptr;
  std::vector<float> neighbours_[4];
  std::vector<uint8_t> column_;
  std::vector<Stretch> mixed_;    // to be sampled in each column
  std::vector<Stretch> watched_;  // where a pixel may differ from the one above it
};

}  // namespace polarseg
