// The inner loops for AVX-512, for AVX2 with FMA, and for any other processor.
#include "deform_conv2d_kernels.h"

#include <utility>

#include "../common/multiversion.h"

#if defined(POLARSEG_X86_TARGETS)
#include <immintrin.h>
#endif

#if defined(__clang__)
#define POLARSEG_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define POLARSEG_UNROLL _Pragma("GCC unroll 16")
#else
#define POLARSEG_UNROLL
#define __restrict__ __restrict
#endif

#if defined(__GNUC__)
// into the second-level cache; an address that is not ours does no harm
#define POLARSEG_PREFETCH(address) __builtin_prefetch(address, 0, 2)
#else
#define POLARSEG_PREFETCH(address) static_cast<void>(address)
#endif

namespace polarseg {
namespace {

// By halves, which the compiler turns into vector additions.
template <int64_t kWidth, typename T>
inline T sum_of_lanes(T* lane) {
  for (int64_t half = kWidth / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) lane[i] += lane[i + half];
  }
  return lane[0];
}

}  // namespace

#if defined(POLARSEG_X86_TARGETS)
namespace avx512 {
#define POLARSEG_TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")))
#define POLARSEG_OP POLARSEG_TARGET static inline __attribute__((always_inline))

// 14 x 2 vectors of a tile, 2 of the right panel and a factor fill 31 of 32 registers.
constexpr int kTileRows = 14;

template <typename T>
struct Ops;

template <>
struct Ops<float> {
  using Vector = __m512;
  static constexpr int64_t kWidth = 16;
  POLARSEG_OP Vector load(const float* p) { return _mm512_loadu_ps(p); }
  POLARSEG_OP void store(float* p, Vector v) { _mm512_storeu_ps(p, v); }
  POLARSEG_OP Vector set(float x) { return _mm512_set1_ps(x); }
  POLARSEG_OP Vector multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
  POLARSEG_OP Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
};

template <>
struct Ops<double> {
  using Vector = __m512d;
  static constexpr int64_t kWidth = 8;
  POLARSEG_OP Vector load(const double* p) { return _mm512_loadu_pd(p); }
  POLARSEG_OP void store(double* p, Vector v) { _mm512_storeu_pd(p, v); }
  POLARSEG_OP Vector set(double x) { return _mm512_set1_pd(x); }
  POLARSEG_OP Vector multiply(Vector a, Vector b) { return _mm512_mul_pd(a, b); }
  POLARSEG_OP Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_pd(a, b, c); }
};

#include "deform_conv2d_simd.h"
#undef POLARSEG_TARGET
}  // namespace avx512

namespace avx2 {
#define POLARSEG_TARGET __attribute__((target("avx2,fma")))

// 6 x 2 vectors of a tile, 2 of the right panel and a factor fill 15 of 16 registers.
constexpr int kTileRows = 6;

template <typename T>
struct Ops;

template <>
struct Ops<float> {
  using Vector = __m256;
  static constexpr int64_t kWidth = 8;
  POLARSEG_OP Vector load(const float* p) { return _mm256_loadu_ps(p); }
  POLARSEG_OP void store(float* p, Vector v) { _mm256_storeu_ps(p, v); }
  POLARSEG_OP Vector set(float x) { return _mm256_set1_ps(x); }
  POLARSEG_OP Vector multiply(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
  POLARSEG_OP Vector multiply_add(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
};

template <>
struct Ops<double> {
  using Vector = __m256d;
  static constexpr int64_t kWidth = 4;
  POLARSEG_OP Vector load(const double* p) { return _mm256_loadu_pd(p); }
  POLARSEG_OP void store(double* p, Vector v) { _mm256_storeu_pd(p, v); }
  POLARSEG_OP Vector set(double x) { return _mm256_set1_pd(x); }
  POLARSEG_OP Vector multiply(Vector a, Vector b) { return _mm256_mul_pd(a, b); }
  POLARSEG_OP Vector multiply_add(Vector a, Vector b, Vector c) { return _mm256_fmadd_pd(a, b, c); }
};

#include "deform_conv2d_simd.h"
#undef POLARSEG_TARGET
#undef POLARSEG_OP
}  // namespace avx2
#endif

namespace plain {
#define POLARSEG_TARGET

constexpr int kTileRows = 4;

// Sixteen bytes, which every 64-bit processor has vectors for; the compiler finds them.
template <typename T>
struct Ops {
  static constexpr int64_t kWidth = 16 / sizeof(T);
  struct Vector {
    T lane[kWidth];
  };
  static inline Vector load(const T* p) {
    Vector v;
    for (int64_t i = 0; i < kWidth; ++i) v.lane[i] = p[i];
    return v;
  }
  static inline void store(T* p, Vector v) {
    for (int64_t i = 0; i < kWidth; ++i) p[i] = v.lane[i];
  }
  static inline Vector set(T x) {
    Vector v;
    for (int64_t i = 0; i < kWidth; ++i) v.lane[i] = x;
    return v;
  }
  static inline Vector multiply(Vector a, Vector b) {
    for (int64_t i = 0; i < kWidth; ++i) a.lane[i] *= b.lane[i];
    return a;
  }
  static inline Vector multiply_add(Vector a, Vector b, Vector c) {
    for (int64_t i = 0; i < kWidth; ++i) c.lane[i] += a.lane[i] * b.lane[i];
    return c;
  }
};

#include "deform_conv2d_simd.h"
#undef POLARSEG_TARGET
}  // namespace plain

template <typename T>
const Kernels<T>& choose_kernels([[maybe_unused]] std::string_view capability) {
#if defined(POLARSEG_X86_TARGETS)
  if (capability == "AVX512") return avx512::kernels<T>();
  if (capability == "AVX2") return avx2::kernels<T>();
#endif
  return plain::kernels<T>();
}

template const Kernels<float>& choose_kernels<float>(std::string_view);
template const Kernels<double>& choose_kernels<double>(std::string_view);

}  // namespace polarseg
