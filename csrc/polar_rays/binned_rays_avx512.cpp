// The binned rule with AVX-512, for rays at least eight degrees apart.
//
// Then every degree answers for one ray at most, and what a contour comes to is a small table: of
// each of the seven degrees round a ray the largest squared length. Which row and ray a point falls
// into is arithmetic, sixteen points at a time; only entering them goes one by one.
//
// Cheap angles change no result: a point is entered only where its angle is farther from a border
// than all the errors together, and the exact rule settles the others.
#include "polar_rays_avx512.h"

#if defined(POLARSEG_X86_TARGETS)
#include <algorithm>

namespace polarseg {
namespace {

constexpr int kBlock = 1024;  // points that are worked on together
constexpr int kReach = 3;     // a ray takes points up to so many degrees from its own
constexpr int kRows = 8;      // the seven degrees round a ray; a point on the last border has d = 7
constexpr int kStride = 48;   // of a row: 45 rays, and one past the end for the last few degrees
constexpr int kTables = 2;    // entered in turn: neighbouring points seldom wait for each other

// As kRoughSlack, for what look_closely() compares, the rounding of the exact rule included:
// polynomial 9.6e-5 and rounding 1.2e-4.
constexpr float kCloseSlack = 5e-4f;

// Differences to the location, without gaps.
struct Differences {
  int size = 0;
  float x[kBlock + kLanes];
  float y[kBlock + kLanes];
};

struct Entries {
  int size = 0;
  int32_t cell[kBlock + kLanes];
  float squared[kBlock + kLanes];
};

// Largest squared lengths by cell: row (degree round a ray, 0 to 6 for -3 to 3) * kStride + ray.
struct Table {
  float squared[kTables][kRows * kStride];

  void enter(int turn, int cell, float value) {
    float& own = squared[turn][cell];
    own = std::max(own, value);
  }
};

struct Rays {
  int count;
  float step;
  float per_degree;

  explicit Rays(const PrimaryBins& bins)
      : count(bins.num_rays),
        step(static_cast<float>(bins.step)),
        per_degree(1.f / static_cast<float>(bins.step)) {}
};

// From the angle within an octant to the angle in [0, 360].
POLARSEG_AVX512_INLINE __m512 unfold(__m512 degrees, __m512 dx, __m512 dy, __mmask16 steep) {
  const __m512 zero = _mm512_setzero_ps();
  degrees = _mm512_mask_sub_ps(degrees, steep, _mm512_set1_ps(90.f), degrees);
  degrees = _mm512_mask_sub_ps(degrees, _mm512_cmp_ps_mask(dy, zero, _CMP_LT_OQ),
                               _mm512_set1_ps(180.f), degrees);
  return _mm512_mask_sub_ps(degrees, _mm512_cmp_ps_mask(dx, zero, _CMP_LT_OQ),
                            _mm512_set1_ps(360.f), degrees);
}

// Which ray a point is near to, and its angle behind that ray's first degree, [-0.5, step - 0.5]:
// the degrees round the ray are 0 to 7. NaN where the angle is.
POLARSEG_AVX512_INLINE __m512 behind_ray(__m512 degrees, const Rays& rays, __m512& ray) {
  const __m512 turn = _mm512_fmadd_ps(degrees, _mm512_set1_ps(rays.per_degree),
                                      _mm512_set1_ps((kReach + 0.5f) * rays.per_degree));
  ray = _mm512_roundscale_ps(turn, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  return _mm512_fnmadd_ps(ray, _mm512_set1_ps(rays.step),
                          _mm512_add_ps(degrees, _mm512_set1_ps(kReach)));
}

// Rays as bits, 32 to a lane. A point without a cheap angle (its ray is not finite) may be refused:
// the exact rule has entered it into its row, whichever that is, when own degrees were entered.
POLARSEG_AVX512_INLINE __mmask16 is_among(__m512 ray, __m512i bits) {
  const __m512i number = _mm512_cvttps_epi32(ray);
  const __m512i word = _mm512_permutexvar_epi32(_mm512_srli_epi32(number, 5), bits);
  const __m512i place = _mm512_and_epi32(number, _mm512_set1_epi32(31));
  return _mm512_test_epi32_mask(_mm512_srlv_epi32(word, place), _mm512_set1_epi32(1));
}

// Leaves out what is not near a ray's own degree.
POLARSEG_AVX512_INLINE __mmask16 look_roughly(__m512 dx, __m512 dy, const Rays& rays,
                                              float half_width, __m512& ray) {
  const __m512 x = _mm512_abs_ps(dx);
  const __m512 y = _mm512_abs_ps(dy);
  __mmask16 steep;
  const __m512 in_octant = rough_degrees_in_octant(x, y, steep);
  const __m512 degrees = unfold(in_octant, dx, dy, steep);
  const __m512 turn = _mm512_fmadd_ps(degrees, _mm512_set1_ps(rays.per_degree),
                                      _mm512_set1_ps(-0.5f * rays.per_degree));
  ray = _mm512_roundscale_ps(turn, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 off = _mm512_abs_ps(_mm512_sub_ps(turn, ray));
  const __m512 bound = _mm512_set1_ps((half_width + kRoughSlack) * rays.per_degree);
  return _mm512_cmp_ps_mask(off, bound, _CMP_NGT_UQ);
}

// What a close look at sixteen points finds.
struct Seen {
  __mmask16 sure;    // in the degree of the cell
  __mmask16 unsure;  // too near a border to be sure
  __m512i cell;
  __m512 squared;
};

POLARSEG_AVX512_INLINE Seen look_closely(__m512 dx, __m512 dy, const Rays& rays, float half_width) {
  const __m512 x = _mm512_abs_ps(dx);
  const __m512 y = _mm512_abs_ps(dy);
  const __m512 smaller = _mm512_min_ps(x, y);
  const __m512 larger = _mm512_max_ps(x, y);
  const __m512 rough = _mm512_rcp14_ps(larger);
  const __m512 rest = _mm512_fnmadd_ps(rough, larger, _mm512_set1_ps(2.f));
  const __m512 t = _mm512_mul_ps(smaller, _mm512_mul_ps(rough, rest));  // after a Newton step
  const __m512 u = _mm512_mul_ps(t, t);
  __m512 degrees = _mm512_fmadd_ps(_mm512_set1_ps(-0.6714568f), u, _mm512_set1_ps(3.0164705f));
  degrees = _mm512_fmadd_ps(degrees, u, _mm512_set1_ps(-6.67074556f));
  degrees = _mm512_fmadd_ps(degrees, u, _mm512_set1_ps(11.0890465f));
  degrees = _mm512_fmadd_ps(degrees, u, _mm512_set1_ps(-19.0578842f));
  degrees = _mm512_fmadd_ps(degrees, u, _mm512_set1_ps(57.2944743f));
  degrees = unfold(_mm512_mul_ps(degrees, t), dx, dy, _mm512_cmp_ps_mask(x, y, _CMP_GT_OQ));

  __m512 ray;
  const __m512 behind = behind_ray(degrees, rays, ray);
  const __m512 border = _mm512_roundscale_ps(behind, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 off = _mm512_abs_ps(_mm512_sub_ps(behind, border));
  __mmask16 settled = _mm512_cmp_ps_mask(off, _mm512_set1_ps(kCloseSlack), _CMP_GT_OQ);
  // straight below, right, above and left the angle is a whole number, here as in the exact rule
  const __m512 zero = _mm512_setzero_ps();
  const __mmask16 straight = _mm512_cmp_ps_mask(smaller, zero, _CMP_EQ_OQ);
  settled |= _mm512_mask_cmp_ps_mask(straight, off, zero, _CMP_EQ_OQ);

  Seen seen;
  // not contracted: squared lengths are results
  seen.squared = _mm512_add_ps(_mm512_mul_ps(dx, dx), _mm512_mul_ps(dy, dy));
  const __mmask16 finite = _mm512_cmp_ps_mask(seen.squared, _mm512_set1_ps(FLT_MAX), _CMP_LE_OQ);
  const __m512 aside = _mm512_abs_ps(_mm512_sub_ps(behind, _mm512_set1_ps(kReach + 0.5f)));
  const __mmask16 near =
      _mm512_mask_cmp_ps_mask(finite, aside, _mm512_set1_ps(half_width + kCloseSlack), _CMP_NGT_UQ);
  seen.sure = near & settled;
  seen.unsure = near & ~settled;
  const __m512 row = _mm512_roundscale_ps(behind, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  seen.cell = _mm512_cvttps_epi32(_mm512_fmadd_ps(row, _mm512_set1_ps(kStride), ray));
  return seen;
}

// By the exact rule.
void settle(float dx, float dy, const PrimaryBins& bins, Table& table) {
  const int bin = exact_degree_bin(dx, dy);
  const int ray = (bin + kReach) / bins.step;
  const int row = bin + kReach - ray * bins.step;
  if (row < kRows) table.enter(0, row * kStride + ray, sum_of_squares(dx, dy));
}

POLARSEG_AVX512_INLINE void take(const Seen& seen, __mmask16 lanes, __m512 dx, __m512 dy,
                                 const PrimaryBins& bins, Entries& entries, Table& table) {
  const __mmask16 sure = seen.sure & lanes;
  _mm512_storeu_si512(entries.cell + entries.size, _mm512_maskz_compress_epi32(sure, seen.cell));
  _mm512_storeu_ps(entries.squared + entries.size, _mm512_maskz_compress_ps(sure, seen.squared));
  entries.size += __builtin_popcount(sure);
  unsigned unsure = seen.unsure & lanes;
  if (__builtin_expect(unsure == 0, 1)) return;
  float x[kLanes];
  float y[kLanes];
  _mm512_storeu_ps(x, dx);
  _mm512_storeu_ps(y, dy);
  for (; unsure != 0; unsure &= unsure - 1) {
    const int lane = __builtin_ctz(unsure);
    settle(x[lane], y[lane], bins, table);
  }
}

void enter_all(Entries& entries, Table& table) {
  static_assert(kTables == 2);
  int n = 0;
  for (; n + 1 < entries.size; n += 2) {
    table.enter(0, entries.cell[n], entries.squared[n]);
    table.enter(1, entries.cell[n + 1], entries.squared[n + 1]);
  }
  if (n < entries.size) table.enter(0, entries.cell[n], entries.squared[n]);
  entries.size = 0;
}

// The points near a ray's own degree and, where it is asked for, near an empty ray.
template <bool kEmptyAlone>
POLARSEG_AVX512_INLINE void choose(const ContourView& contour, int64_t begin, const Rays& rays,
                                   float half_width, uint64_t empty, Differences& chosen) {
  const __m512i bits = _mm512_zextsi128_si512(_mm_cvtsi64_si128(static_cast<int64_t>(empty)));
  const int64_t end = std::min(begin + kBlock, contour.size);
  __m512 dx, dy, ray;
  __mmask16 lanes;
  int size = 0;
  for (int64_t i = begin; i < end; i += kLanes) {
    load_differences(contour, i, dx, dy, lanes);
    __mmask16 near = look_roughly(dx, dy, rays, half_width, ray) & lanes;
    if (kEmptyAlone) near &= is_among(ray, bits);
    _mm512_storeu_ps(chosen.x + size, _mm512_maskz_compress_ps(near, dx));
    _mm512_storeu_ps(chosen.y + size, _mm512_maskz_compress_ps(near, dy));
    size += __builtin_popcount(near);
  }
  chosen.size = size;
}

template <bool kEmptyAlone>
POLARSEG_AVX512 void enter_some(const ContourView& contour, const PrimaryBins& bins,
                                const Rays& rays, float half_width, uint64_t empty, Table& table) {
  Differences chosen;
  Entries entries;
  for (int64_t begin = 0; begin < contour.size; begin += kBlock) {
    choose<kEmptyAlone>(contour, begin, rays, half_width, empty, chosen);
    for (int i = 0; i < chosen.size; i += kLanes) {
      const int left = std::min(chosen.size - i, kLanes);
      const auto lanes = static_cast<__mmask16>((1u << left) - 1);
      const __m512 dx = _mm512_loadu_ps(chosen.x + i);
      const __m512 dy = _mm512_loadu_ps(chosen.y + i);
      take(look_closely(dx, dy, rays, half_width), lanes, dx, dy, bins, entries, table);
    }
    enter_all(entries, table);
  }
}

// Enters the points of all seven degrees.
POLARSEG_AVX512 void enter_all_degrees(const ContourView& contour, const PrimaryBins& bins,
                                       const Rays& rays, Table& table) {
  Entries entries;
  __m512 dx, dy;
  __mmask16 lanes;
  for (int64_t begin = 0; begin < contour.size; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, contour.size);
    for (int64_t i = begin; i < end; i += kLanes) {
      load_differences(contour, i, dx, dy, lanes);
      take(look_closely(dx, dy, rays, kReach + 0.5f), lanes, dx, dy, bins, entries, table);
    }
    enter_all(entries, table);
  }
}

POLARSEG_AVX512 void clear(Table& table) {
  float* cells = &table.squared[0][0];
  for (int i = 0; i < kTables * kRows * kStride; i += kLanes) {
    _mm512_storeu_ps(cells + i, _mm512_set1_ps(kEmptyBin));
  }
}

// The first degree in the rule's order that holds a point, for each ray; the rays without one, as
// bits.
POLARSEG_AVX512 uint64_t read_rays(const Table& table, int num_rays, bool own_alone, float* rays) {
  constexpr int kOrder[] = {3, 4, 2, 5, 1, 6, 0};
  const __m512 none = _mm512_set1_ps(kEmptyBin);
  uint64_t empty = 0;
  for (int ray = 0; ray < num_rays; ray += kLanes) {
    const int left = std::min(num_rays - ray, kLanes);
    const auto lanes = static_cast<__mmask16>((1u << left) - 1);
    __m512 found = none;
    for (int n = 0; n < (own_alone ? 1 : 7); ++n) {
      const __m512 first = _mm512_loadu_ps(&table.squared[0][kOrder[n] * kStride + ray]);
      const __m512 second = _mm512_loadu_ps(&table.squared[1][kOrder[n] * kStride + ray]);
      const __mmask16 open = _mm512_cmp_ps_mask(found, none, _CMP_EQ_OQ);
      found = _mm512_mask_max_ps(found, open, first, second);
    }
    empty |= static_cast<uint64_t>(_mm512_mask_cmp_ps_mask(lanes, found, none, _CMP_EQ_OQ)) << ray;
    _mm512_mask_storeu_ps(rays + ray, lanes, found);
  }
  return empty;
}

}  // namespace

bool can_bin_by_avx512(int step) { return has_avx512() && step > 2 * kReach + 1; }

void squared_binned_rays_avx512(const ContourView& contour, const PrimaryBins& bins, float* rays) {
  // shorter contours leave degrees without a point as a rule
  constexpr int64_t kLong = 250;
  const Rays fan(bins);
  Table table;
  clear(table);
  if (contour.size < kLong) {
    enter_all_degrees(contour, bins, fan, table);
  } else {
    enter_some<false>(contour, bins, fan, 0.5f, 0, table);
    const uint64_t empty = read_rays(table, fan.count, true, rays);
    if (empty == 0) return;
    enter_some<true>(contour, bins, fan, kReach + 0.5f, empty, table);
  }
  read_rays(table, fan.count, false, rays);
}

}  // namespace polarseg

#else

namespace polarseg {

bool can_bin_by_avx512(int) { return false; }

void squared_binned_rays_avx512(const ContourView&, const PrimaryBins&, float*) {}

}  // namespace polarseg

#endif
