// Choosing the marked points of a contour.
#include "../common/multiversion.h"
#include "polar_rays_scan.h"

#if defined(POLARSEG_X86_TARGETS)
#include <immintrin.h>
#endif

namespace polarseg {
namespace {

// From `begin` on; `count` are chosen already. Without branches: which points matter cannot be
// predicted.
int64_t choose_one_by_one(const int32_t* marks, int64_t begin, int64_t size, int64_t count,
                          int32_t* chosen) {
  for (int64_t i = begin; i < size; ++i) {
    chosen[count] = static_cast<int32_t>(i);
    count += (marks[i] & kMarked) / kMarked;
  }
  return count;
}

#if defined(POLARSEG_X86_TARGETS)
__attribute__((target("avx512f"))) int64_t choose_by_sixteen(const int32_t* marks, int64_t size,
                                                             int32_t* chosen) {
  static_assert(ContourScan::kSpare >= 16);
  const __m512i marked = _mm512_set1_epi32(kMarked);
  const __m512i step = _mm512_set1_epi32(16);
  __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  int64_t count = 0;
  int64_t i = 0;
  for (; i + 16 <= size; i += 16) {
    const __mmask16 mask = _mm512_test_epi32_mask(_mm512_loadu_si512(marks + i), marked);
    _mm512_storeu_si512(chosen + count, _mm512_maskz_compress_epi32(mask, index));
    count += __builtin_popcount(mask);
    index = _mm512_add_epi32(index, step);
  }
  return choose_one_by_one(marks, i, size, count, chosen);
}
#endif

}  // namespace

int64_t choose_marked(const int32_t* marks, int64_t size, int32_t* chosen) {
#if defined(POLARSEG_X86_TARGETS)
  static const bool has_avx512 = __builtin_cpu_supports("avx512f");
  if (has_avx512) return choose_by_sixteen(marks, size, chosen);
#endif
  return choose_one_by_one(marks, 0, size, 0, chosen);
}

}  // namespace polarseg
