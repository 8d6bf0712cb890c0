// The farthest intersection on the CPU.
//
// Most edges stay within a sector and cross nothing. Of the others, most cross the one ray between
// two neighbouring sectors; those are worked out together, so that the loop vectorises.
#include <algorithm>

#include "../common/multiversion.h"
#include "polar_rays_scan.h"

namespace polarseg {
namespace {

// The sector of every point, kNoSector where the cheap angle does not settle it, and a mark where
// it is, or may be, another than that of the point before.
POLARSEG_MULTIVERSION void look_for_sectors(const float* points, int64_t size, float origin_x,
                                            float origin_y, int count, int32_t* __restrict sector,
                                            int32_t* __restrict marks) {
  for (int64_t i = 0; i < size; ++i) {
    const float dx = points[2 * i] - origin_x;
    const float dy = points[2 * i + 1] - origin_y;
    sector[i] = cheap_sector(dx, dy, approximate_degrees(dx, dy), count);
  }
  marks[0] = kMarked;
  for (int64_t i = 1; i < size; ++i) {
    marks[i] = (sector[i] != sector[i - 1]) | (sector[i] == kNoSector) ? kMarked : 0;
  }
}

// Edges that cross one ray each, as arrays of their quantities.
constexpr int kBatch = 64;

struct SingleCrossings {
  int size = 0;
  int ray[kBatch];
  double sine[kBatch];
  double cosine[kBatch];
  double p_x[kBatch];
  double p_y[kBatch];
  double q_x[kBatch];
  double q_y[kBatch];
  float length[kBatch];

  void add(int wanted, RayDirection direction, Offset p, Offset q) {
    ray[size] = wanted;
    sine[size] = direction.sine;
    cosine[size] = direction.cosine;
    p_x[size] = p.x;
    p_y[size] = p.y;
    q_x[size] = q.x;
    q_y[size] = q.y;
    ++size;
  }
};

POLARSEG_MULTIVERSION void work_out(SingleCrossings& edges) {
  for (int i = 0; i < edges.size; ++i) {
    const Offset p{edges.p_x[i], edges.p_y[i]};
    const Offset q{edges.q_x[i], edges.q_y[i]};
    const RayDirection direction{edges.sine[i], edges.cosine[i]};
    edges.length[i] = crossing_length(direction, p, q, turn_between(p, q));
  }
}

struct KeepLongest {
  float* rays;
  void operator()(int ray, float length) { rays[ray] = std::max(rays[ray], length); }
};

// One walk round a contour.
class EdgeWalk {
 public:
  EdgeWalk(const ContourView& contour, const RayFan& fan, ContourScan& scan, float* rays)
      : contour_(contour), fan_(fan), sector_(scan.sector.data()), keep_{rays} {}

  // Settles the sector of a point for which the cheap angle was not enough.
  void settle(int64_t i) {
    const float dx = contour_.dx(i);
    const float dy = contour_.dy(i);
    const Offset p = offset(i);
    const SeenVertex seen = see_exactly(dx, dy, approximate_degrees(dx, dy), p, fan_);
    sector_[i] = seen.sector;
    keep_touch(seen, p, fan_, keep_);
  }

  // Enters the crossings of the edge that leads to point i.
  void cross(int64_t i) {
    const int64_t before = i == 0 ? contour_.size - 1 : i - 1;
    const int from = sector_[before];
    const int to = sector_[i];
    if (from == kNoSector || to == kNoSector || from == to) return;
    const int ahead = wrap(to - from, fan_.count);
    const bool forward = ahead == 1;
    if (!forward && ahead != fan_.count - 1) {
      cross_edge(from, to, offset(before), offset(i), fan_, keep_);
      return;
    }
    const int ray = forward ? to : from;
    const int wanted = fan_.wanted(ray);
    if (wanted < 0) return;
    singles_.add(wanted, fan_.directions[ray], offset(before), offset(i));
    if (singles_.size == kBatch) flush();
  }

  void flush() {
    work_out(singles_);
    for (int i = 0; i < singles_.size; ++i) keep_(singles_.ray[i], singles_.length[i]);
    singles_.size = 0;
  }

 private:
  Offset offset(int64_t i) const {
    const float* point = contour_.points + 2 * i;
    return offset_to(point[0], point[1], contour_.origin_x, contour_.origin_y);
  }

  const ContourView& contour_;
  const RayFan& fan_;
  int32_t* sector_;
  KeepLongest keep_;
  SingleCrossings singles_;
};

}  // namespace

void exact_rays(const ContourView& contour, const RayFan& fan, int num_rays, ContourScan& scan,
                float* rays) {
  std::fill_n(rays, num_rays, kEmptyRay);
  if (contour.size == 0) return;
  look_for_sectors(contour.points, contour.size, contour.origin_x, contour.origin_y, fan.count,
                   scan.sector.data(), scan.marks.data());
  const int64_t count = choose_marked(scan.marks.data(), contour.size, scan.chosen.data());
  EdgeWalk walk(contour, fan, scan, rays);
  for (int64_t n = 0; n < count; ++n) {
    const int32_t i = scan.chosen[n];
    if (scan.sector[i] == kNoSector) walk.settle(i);
  }
  for (int64_t n = 0; n < count; ++n) walk.cross(scan.chosen[n]);
  walk.flush();
}

}  // namespace polarseg
