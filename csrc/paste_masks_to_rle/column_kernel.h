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

// The weighted mean of the neighbours, in the order in which torch's grid_sample takes it.
template <bool fused>
POLARSEG_ALWAYS_INLINE float mean_as_grid_sample(const Neighbours& at, int64_t i, float left,
                                                 float right) {
  const float upper = at.upper[i];
  const float lower = at.lower[i];
  float value = at.upper_left[i] * (upper * left);
  value = multiply_add<fused>(at.upper_right[i], upper * right, value);
  value = multiply_add<fused>(at.lower_left[i], lower * left, value);
  return multiply_add<fused>(at.lower_right[i], lower * right, value);
}

// The same in the order in which torch's interpolate takes it.
template <bool fused>
POLARSEG_ALWAYS_INLINE float mean_as_interpolate(const Neighbours& at, int64_t i, float left,
                                                 float right) {
  const float upper = multiply_add<fused>(at.upper_right[i], right, at.upper_left[i] * left);
  const float lower = multiply_add<fused>(at.lower_right[i], right, at.lower_left[i] * left);
  return multiply_add<fused>(lower, at.lower[i], upper * at.upper[i]);
}

// Weights of the left and right neighbours are those of the column.
template <PasteRule rule, bool fused>
POLARSEG_ALWAYS_INLINE void compare_stretch(const Neighbours& at, float left, float right,
                                            float threshold, int64_t size, uint8_t* foreground) {
  for (int64_t i = 0; i < size; ++i) {
    if constexpr (rule == PasteRule::kHalfPixel) {
      foreground[i] = mean_as_grid_sample<fused>(at, i, left, right) >= threshold ? 1 : 0;
    } else {
      foreground[i] = mean_as_interpolate<fused>(at, i, left, right) > threshold ? 1 : 0;
    }
  }
}

using CompareStretch = void (*)(const Neighbours&, float, float, float, int64_t, uint8_t*);

template <PasteRule rule, bool fused>
inline void compare_stretch_plain(const Neighbours& at, float left, float right, float threshold,
                                  int64_t size, uint8_t* foreground) {
  compare_stretch<rule, fused>(at, left, right, threshold, size, foreground);
}

#ifdef POLARSEG_X86_DISPATCH
template <PasteRule rule, bool fused>
__attribute__((target("avx2,fma"))) inline void compare_stretch_avx2(const Neighbours& at,
                                                                     float left, float right,
                                                                     float threshold, int64_t size,
                                                                     uint8_t* foreground) {
  compare_stretch<rule, fused>(at, left, right, threshold, size, foreground);
}

template <PasteRule rule, bool fused>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))) inline void
compare_stretch_avx512(const Neighbours& at, float left, float right, float threshold, int64_t size,
                       uint8_t* foreground) {
  compare_stretch<rule, fused>(at, left, right, threshold, size, foreground);
}
#endif

// The fastest of these that this processor runs; all give the same.
template <PasteRule rule, bool fused>
inline CompareStretch best_compare_stretch() {
#ifdef POLARSEG_X86_DISPATCH
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx512 && avx2) return compare_stretch_avx512<rule, fused>;
  if (avx2) return compare_stretch_avx2<rule, fused>;
#endif
  return compare_stretch_plain<rule, fused>;
}

}  // namespace polarseg
