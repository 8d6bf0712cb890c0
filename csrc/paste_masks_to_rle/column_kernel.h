// The inner loop of pasting: a stretch of pixels down one column of the picture, compared with the
// threshold. Plain C++17 without torch; the loops have no branches, so that they vectorise.
#pragma once

#include <cstdint>

#include "../common/multiversion.h"
#include "sampling.h"

#if defined(__GNUC__)
#define POLARSEG_ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define POLARSEG_ALWAYS_INLINE inline
#endif

namespace polarseg {

// Whose order of operations a mean follows.
enum class MeanOrder { kGridSample, kSmallInterpolate, kInterpolate };

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

// The same in the order in which torch's interpolate takes it to small sizes.
template <bool fused>
POLARSEG_ALWAYS_INLINE float mean_as_small_interpolate(const Neighbours& at, int64_t i, float left,
                                                       float right) {
  const float upper = at.upper[i];
  const float lower = at.lower[i];
  float value = at.upper_right[i] * (upper * right);
  value = multiply_add<fused>(at.upper_left[i], upper * left, value);
  value = multiply_add<fused>(at.lower_left[i], lower * left, value);
  return multiply_add<fused>(at.lower_right[i], lower * right, value);
}

// The same in the order in which torch's interpolate takes it to other sizes.
template <bool fused>
POLARSEG_ALWAYS_INLINE float mean_as_interpolate(const Neighbours& at, int64_t i, float left,
                                                 float right) {
  const float upper = multiply_add<fused>(at.upper_left[i], left, at.upper_right[i] * right);
  const float lower = multiply_add<fused>(at.lower_left[i], left, at.lower_right[i] * right);
  return multiply_add<fused>(upper, at.upper[i], lower * at.lower[i]);
}

// Weights of the left and right neighbours are those of the column.
template <MeanOrder order, bool fused>
POLARSEG_ALWAYS_INLINE void compare_stretch(const Neighbours& at, float left, float right,
                                            float threshold, int64_t size,
                                            uint8_t* __restrict foreground) {
  for (int64_t i = 0; i < size; ++i) {
    if constexpr (order == MeanOrder::kGridSample) {
      foreground[i] = mean_as_grid_sample<fused>(at, i, left, right) >= threshold ? 1 : 0;
    } else if constexpr (order == MeanOrder::kSmallInterpolate) {
      foreground[i] = mean_as_small_interpolate<fused>(at, i, left, right) > threshold ? 1 : 0;
    } else {
      foreground[i] = mean_as_interpolate<fused>(at, i, left, right) > threshold ? 1 : 0;
    }
  }
}

using CompareStretch = void (*)(const Neighbours&, float, float, float, int64_t, uint8_t*);

template <MeanOrder order, bool fused>
inline void compare_stretch_plain(const Neighbours& at, float left, float right, float threshold,
                                  int64_t size, uint8_t* __restrict foreground) {
  compare_stretch<order, fused>(at, left, right, threshold, size, foreground);
}

#ifdef POLARSEG_X86_TARGETS
template <MeanOrder order, bool fused>
__attribute__((target("avx2,fma"))) inline void compare_stretch_avx2(
    const Neighbours& at, float left, float right, float threshold, int64_t size,
    uint8_t* __restrict foreground) {
  compare_stretch<order, fused>(at, left, right, threshold, size, foreground);
}

template <MeanOrder order, bool fused>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))) inline void
compare_stretch_avx512(const Neighbours& at, float left, float right, float threshold, int64_t size,
                       uint8_t* __restrict foreground) {
  compare_stretch<order, fused>(at, left, right, threshold, size, foreground);
}
#endif

// The fastest of these that this processor runs; all give the same.
template <MeanOrder order, bool fused>
inline CompareStretch best_compare_stretch() {
#ifdef POLARSEG_X86_TARGETS
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx512 && avx2) return compare_stretch_avx512<order, fused>;
  if (avx2) return compare_stretch_avx2<order, fused>;
#endif
  return compare_stretch_plain<order, fused>;
}

// The order for a map that is pasted to this many pixels; for torch, 128 rows and columns are
// small.
template <PasteRule rule, bool fused>
inline CompareStretch compare_stretch_for(int64_t height, int64_t width) {
  if constexpr (rule == PasteRule::kHalfPixel) {
    return best_compare_stretch<MeanOrder::kGridSample, fused>();
  }
  return height + width <= 128 ? best_compare_stretch<MeanOrder::kSmallInterpolate, fused>()
                               : best_compare_stretch<MeanOrder::kInterpolate, fused>();
}

}  // namespace polarseg
