// The inner loop of pasting: a stretch of pixels down one column of the picture, compared with the
// threshold. Plain C++17 without torch; the loops have no branches, so that they vectorise.
#pragma once

#include <cstdint>

#include "sampling.h"

#if defined(__GNUC__)
#define POLARSEG_ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define POLARSEG_ALWAYS_INLINE inline
#endif

#if defined(__x86_64__) && defined(__GNUC__)
#define POLARSEG_X86_DISPATCH 1
#endif

namespace polarseg {

// The four neighbours of each pixel of the stretch, and the weights of the upper and lower ones.
struct Neighbours {
  const float* upper_left;
  const float* upper_right;
  const float* lower_left;
  const float* lower_right;
  const float* upper;
  const float* lower;
};

// Weights of the left and right neighbours are those of the column. The order of the operations is
// that of torch's grid_sample.
template <bool fused>
POLARSEG_ALWAYS_INLINE void compare_stretch(const Neighbours& at, float left, float right,
                                            float threshold, int64_t size, uint8_t* foreground) {
  for (int64_t i = 0; i < size; ++i) {
    const float upper = at.upper[i];
    const float lower = at.lower[i];
    float value = at.upper_left[i] * (upper * left);
    value = multiply_add<fused>(at.upper_right[i], upper * right, value);
    value = multiply_add<fused>(at.lower_left[i], lower * left, value);
    value = multiply_add<fused>(at.lower_right[i], lower * right, value);
    foreground[i] = value >= threshold ? 1 : 0;
  }
}

using CompareStretch = void (*)(const Neighbours&, float, float, float, int64_t, uint8_t*);

template <bool fused>
inline void compare_stretch_plain(const Neighbours& at, float left, float right, float threshold,
                                  int64_t size, uint8_t* foreground) {
  compare_stretch<fused>(at, left, right, threshold, size, foreground);
}

#ifdef POLARSEG_X86_DISPATCH
template <bool fused>
__attribute__((target("avx2,fma"))) inline void compare_stretch_avx2(const Neighbours& at,
                                                                     float left, float right,
                                                                     float threshold, int64_t size,
                                                                     uint8_t* foreground) {
  compare_stretch<fused>(at, left, right, threshold, size, foreground);
}

template <bool fused>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))) inline void
compare_stretch_avx512(const Neighbours& at, float left, float right, float threshold, int64_t size,
                       uint8_t* foreground) {
  compare_stretch<fused>(at, left, right, threshold, size, foreground);
}
#endif

// The fastest of these that this processor runs; all give the same.
template <bool fused>
inline CompareStretch best_compare_stretch() {
#ifdef POLARSEG_X86_DISPATCH
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx512 && avx2) return compare_stretch_avx512<fused>;
  if (avx2) return compare_stretch_avx2<fused>;
#endif
  return compare_stretch_plain<fused>;
}

}  // namespace polarseg
