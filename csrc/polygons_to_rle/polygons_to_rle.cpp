// polygons_to_rle: one task per polygon, so the result does not depend on the number of threads.
// Run lengths are wanted on the host, so tensors of other devices are copied here first.
#include <ATen/Parallel.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "../rle/rle_tensors.h"
#include "coco_rule.h"
#include "fill_rule.h"
#include "polygons_to_rle_ops.h"

namespace polarseg {
namespace {

constexpr const char* kOp = "polygons_to_rle";

struct Rule {
  bool coco;
  FillRule fill;
};

Rule rule_named(std::string_view name) {
  if (name == "fill") return {false, FillRule::kSince411};
  if (name == "fill-4.8") return {false, FillRule::kSince48};
  if (name == "fill-4.5") return {false, FillRule::kUpTo47};
  TORCH_CHECK_VALUE(name == "coco", kOp,
                    ": rule must be 'fill', 'fill-4.8', 'fill-4.5' or 'coco', got '", name, "'.");
  return {true, FillRule::kUpTo47};
}

struct Polygons {
  at::Tensor vertices;  // (P, 2) float64
  at::Tensor offsets;   // (N + 1,) int64

  int64_t size() const { return offsets.size(0) - 1; }
  int64_t begin(int64_t polygon) const { return offsets.const_data_ptr<int64_t>()[polygon]; }
};

Polygons check_polygons(const at::Tensor& vertices, const at::Tensor& offsets) {
  const auto type = vertices.scalar_type();
  TORCH_CHECK_TYPE(type == at::kFloat || type == at::kDouble, kOp,
                   ": vertices must be float32 or float64, got ", type, ".");
  TORCH_CHECK_VALUE(vertices.dim() == 2 && vertices.size(1) == 2, kOp,
                    ": vertices must have shape (p, 2), x and y of each, got ", vertices.sizes(),
                    ".");
  TORCH_CHECK_TYPE(offsets.scalar_type() == at::kLong || offsets.scalar_type() == at::kInt, kOp,
                   ": offsets must be int64 or int32, got ", offsets.scalar_type(), ".");
  TORCH_CHECK_VALUE(offsets.dim() == 1 && offsets.size(0) >= 1, kOp,
                    ": offsets must have one entry more than there are polygons, got shape ",
                    offsets.sizes(), ".");
  Polygons polygons{vertices.detach().cpu().to(at::kDouble).contiguous(),
                    offsets.cpu().to(at::kLong).contiguous()};
  TORCH_CHECK_VALUE(polygons.begin(0) == 0, kOp, ": offsets must begin with 0, got ",
                    polygons.begin(0), ".");
  for (int64_t n = 0; n < polygons.size(); ++n) {
    TORCH_CHECK_VALUE(polygons.begin(n) <= polygons.begin(n + 1), kOp,
                      ": offsets must not decrease, but offsets[", n, "] is ", polygons.begin(n),
                      " and offsets[", n + 1, "] is ", polygons.begin(n + 1), ".");
  }
  TORCH_CHECK_VALUE(polygons.begin(polygons.size()) == vertices.size(0), kOp,
                    ": offsets must end with the number of vertices, ", vertices.size(0), ", got ",
                    polygons.begin(polygons.size()), ".");
  return polygons;
}

// A coordinate as the rule's whole number, or nothing where it has none.
std::optional<int64_t> whole(double coordinate, bool coco) {
  if (!std::isfinite(coordinate)) return std::nullopt;
  const double number = std::trunc(coco ? to_fifths(coordinate) : coordinate);
  const double most = coco ? kMaxFifths : 2147483647.;
  if (!(number >= -most - 1 && number <= most)) return std::nullopt;
  return static_cast<int64_t>(number);
}

// Whole-number vertices of all polygons; names the polygon whose vertex has none.
std::vector<Point> whole_vertices(const Polygons& polygons, bool coco) {
  const double* xy = polygons.vertices.const_data_ptr<double>();
  std::vector<Point> points(static_cast<std::size_t>(polygons.vertices.size(0)));
  for (int64_t n = 0; n < polygons.size(); ++n) {
    for (int64_t i = polygons.begin(n); i < polygons.begin(n + 1); ++i) {
      const std::optional<int64_t> x = whole(xy[2 * i], coco);
      const std::optional<int64_t> y = whole(xy[2 * i + 1], coco);
      TORCH_CHECK_VALUE(x && y, kOp, ": vertices must be finite and within ",
                        coco ? "2^30 fifths of a pixel" : "the range of int32", ", but polygon ", n,
                        " has the vertex (", xy[2 * i], ", ", xy[2 * i + 1], ").");
      points[static_cast<std::size_t>(i)] = {*x, *y};
    }
  }
  return points;
}

// What one thread needs for one polygon after the other.
class Worker {
 public:
  Worker(Rule rule, int64_t height, int64_t width) : rule_(rule), height_(height), width_(width) {}

  std::string encode(const Point* begin, const Point* end) {
    polygon_.assign(begin, end);
    if (rule_.coco) {
      fill_by_coco_rule(polygon_, height_, width_, changes_);
    } else {
      filler_.fill(polygon_, rule_.fill, height_, width_, mask_);
      mask_.changes(height_, changes_);
    }
    return compress_changes(changes_, height_ * width_);
  }

 private:
  Rule rule_;
  int64_t height_;
  int64_t width_;
  std::vector<Point> polygon_;
  PolygonFiller filler_;
  PackedMask mask_;
  std::vector<int64_t> changes_;
};

}  // namespace

std::tuple<at::Tensor, at::Tensor> polygons_to_rle(const at::Tensor& vertices,
                                                   const at::Tensor& offsets, int64_t height,
                                                   int64_t width, std::string_view rule) {
  const Rule chosen = rule_named(rule);
  check_picture(kOp, height, width);
  const Polygons polygons = check_polygons(vertices, offsets);
  const std::vector<Point> points = whole_vertices(polygons, chosen.coco);
  std::vector<std::string> texts(static_cast<std::size_t>(polygons.size()));
  at::parallel_for(0, polygons.size(), 1, [&](int64_t begin, int64_t end) {
    Worker worker(chosen, height, width);
    for (int64_t n = begin; n < end; ++n) {
      texts[static_cast<std::size_t>(n)] =
          worker.encode(points.data() + polygons.begin(n), points.data() + polygons.begin(n + 1));
    }
  });
  return join_texts(texts);
}

}  // namespace polarseg
