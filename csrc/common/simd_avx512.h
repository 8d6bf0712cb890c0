// Vectors of sixteen floats, by AVX-512. simd_avx2.h has the same names with eight.
//
// A kernel written with these names is a header; a source file for each instruction set includes
// the vectors and then the kernel, whose namespace and functions carry the macros below:
//   namespace polarseg::POLARSEG_SIMD { POLARSEG_SIMD_TARGET void kernel(...) {...} }
// Numbers do not depend on the instruction set but for those of reciprocal().
#pragma once

#include "multiversion.h"

#if defined(POLARSEG_X86_TARGETS)
#if defined(POLARSEG_SIMD)
#error "A source file is compiled for one instruction set."
#endif
#include <immintrin.h>

#include <cstdint>

#if !defined(__clang__)
// GCC's own header initialises a vector by itself to say "any value", and warns of it (GCC 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#define POLARSEG_SIMD avx512
#define POLARSEG_SIMD_TARGET __attribute__((target("avx512f")))
// always_inline: vectors are passed by value, whatever the rest is compiled for
#define POLARSEG_SIMD_LAMBDA __attribute__((target("avx512f"), always_inline))
#define POLARSEG_SIMD_INLINE POLARSEG_SIMD_LAMBDA inline

namespace polarseg::avx512 {

constexpr int kLaneBits = 4;
constexpr int kLanes = 1 << kLaneBits;
constexpr int kHalf = kLanes / 2;  // lanes of a vector of doubles

// + - * / of Floats and Doubles are C's own, lane by lane, and not contracted (setup.py).
using Floats = __m512;
using Ints = __m512i;       // 32 bits each
using Doubles = __m512d;    // kHalf of them
using HalfFloats = __m256;  // kHalf of them
using HalfInts = __m256i;

// Some of the lanes.
struct Mask {
  __mmask16 lanes;
};

POLARSEG_SIMD_INLINE Mask operator&(Mask a, Mask b) { return {_mm512_kand(a.lanes, b.lanes)}; }

POLARSEG_SIMD_INLINE Mask operator|(Mask a, Mask b) { return {_mm512_kor(a.lanes, b.lanes)}; }

// a and not b
POLARSEG_SIMD_INLINE Mask without(Mask a, Mask b) { return {_mm512_kandn(b.lanes, a.lanes)}; }

// As bits, from the lowest.
POLARSEG_SIMD_INLINE unsigned bits(Mask mask) { return mask.lanes; }

// The lowest `count` lanes, all of them where there are more.
POLARSEG_SIMD_INLINE Mask first_lanes(int count) {
  return {static_cast<__mmask16>(count < kLanes ? (1u << count) - 1 : 0xffff)};
}

POLARSEG_SIMD_INLINE Mask all_lanes() { return {0xffff}; }

// ---- loading and storing ------------------------------------------------------------------------

POLARSEG_SIMD_INLINE Floats floats(float number) { return _mm512_set1_ps(number); }

POLARSEG_SIMD_INLINE Ints ints(int32_t number) { return _mm512_set1_epi32(number); }

POLARSEG_SIMD_INLINE Ints lane_numbers() {
  return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

POLARSEG_SIMD_INLINE Floats load(const float* from) { return _mm512_loadu_ps(from); }

POLARSEG_SIMD_INLINE Ints load(const int32_t* from) { return _mm512_loadu_si512(from); }

// 0 in the other lanes, whose memory is not touched.
POLARSEG_SIMD_INLINE Ints load_some(const int32_t* from, Mask lanes) {
  return _mm512_maskz_loadu_epi32(lanes.lanes, from);
}

POLARSEG_SIMD_INLINE HalfInts load_half(const int32_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

POLARSEG_SIMD_INLINE void store(float* to, Floats vector) { _mm512_storeu_ps(to, vector); }

POLARSEG_SIMD_INLINE void store(int32_t* to, Ints vector) { _mm512_storeu_si512(to, vector); }

POLARSEG_SIMD_INLINE void store(float* to, HalfFloats vector) { _mm256_storeu_ps(to, vector); }

// The lowest `count` lanes; further memory is not touched.
POLARSEG_SIMD_INLINE void store_first(float* to, int count, Floats vector) {
  _mm512_mask_storeu_ps(to, first_lanes(count).lanes, vector);
}

// The lanes of these bits, without gaps; whatever fills up a vector behind them.
POLARSEG_SIMD_INLINE void store_packed(float* to, unsigned lanes, Floats vector) {
  _mm512_storeu_ps(to, _mm512_maskz_compress_ps(static_cast<__mmask16>(lanes), vector));
}

POLARSEG_SIMD_INLINE void store_packed(int32_t* to, unsigned lanes, Ints vector) {
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(static_cast<__mmask16>(lanes), vector));
}

// from[index]; 0 in the other lanes, whose memory is not touched.
POLARSEG_SIMD_INLINE Floats gather(const float* from, Ints index, Mask lanes) {
  return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes.lanes, index, from, 4);
}

POLARSEG_SIMD_INLINE void scatter(float* to, Ints index, Mask lanes, Floats vector) {
  _mm512_mask_i32scatter_ps(to, lanes.lanes, index, vector, 4);
}

// table[index], of sixteen numbers.
POLARSEG_SIMD_INLINE Floats look_up(const float* table, Ints index) {
  return _mm512_permutexvar_ps(index, _mm512_loadu_ps(table));
}

// ---- floats -------------------------------------------------------------------------------------

POLARSEG_SIMD_INLINE Floats absolute(Floats a) { return _mm512_abs_ps(a); }

// The second where one is NaN.
POLARSEG_SIMD_INLINE Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }

POLARSEG_SIMD_INLINE Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }

// a * b + c, a * b - c, c - a * b; rounded once.
POLARSEG_SIMD_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
  return _mm512_fmadd_ps(a, b, c);
}

POLARSEG_SIMD_INLINE Floats multiply_subtract(Floats a, Floats b, Floats c) {
  return _mm512_fmsub_ps(a, b, c);
}

POLARSEG_SIMD_INLINE Floats subtract_product(Floats a, Floats b, Floats c) {
  return _mm512_fnmadd_ps(a, b, c);
}

// Of numbers from 2^-126 to 2^126, off by less than kReciprocalError of it.
constexpr float kReciprocalError = 6.2e-5f;

POLARSEG_SIMD_INLINE Floats reciprocal(Floats a) { return _mm512_rcp14_ps(a); }

POLARSEG_SIMD_INLINE Floats round_down(Floats a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}

POLARSEG_SIMD_INLINE Floats round_to_nearest(Floats a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

POLARSEG_SIMD_INLINE float largest(Floats a) { return _mm512_reduce_max_ps(a); }

// The sign is that of the number of negative ones among three: negative if it is odd.
POLARSEG_SIMD_INLINE Floats product_of_signs(Floats a, Floats b, Floats c) {
  constexpr int kOdd = 0x96;
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
      _mm512_castps_si512(a), _mm512_castps_si512(b), _mm512_castps_si512(c), kOdd));
}

// -number where the sign bit of the other is set.
POLARSEG_SIMD_INLINE Floats flip_sign(Floats number, Floats sign) {
  constexpr int kFirstXorBoth = 0x78;
  return _mm512_castsi512_ps(
      _mm512_ternarylogic_epi32(_mm512_castps_si512(number), _mm512_castps_si512(sign),
                                _mm512_set1_epi32(INT32_MIN), kFirstXorBoth));
}

// Each lane moves up by one; the lowest is the highest of those before.
POLARSEG_SIMD_INLINE Floats shift_in(Floats before, Floats now) {
  return _mm512_castsi512_ps(
      _mm512_alignr_epi32(_mm512_castps_si512(now), _mm512_castps_si512(before), kLanes - 1));
}

// Entries 0, 2, 4 ... and 1, 3, 5 ... of two vectors.
POLARSEG_SIMD_INLINE void separate(Floats first, Floats second, Floats& even, Floats& odd) {
  even = _mm512_permutex2var_ps(
      first, _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), second);
  odd = _mm512_permutex2var_ps(
      first, _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31), second);
}

// ---- comparisons --------------------------------------------------------------------------------

POLARSEG_SIMD_INLINE Mask is_less(Floats a, Floats b) {
  return {_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)};
}

POLARSEG_SIMD_INLINE Mask is_at_most(Floats a, Floats b) {
  return {_mm512_cmp_ps_mask(a, b, _CMP_LE_OQ)};
}

POLARSEG_SIMD_INLINE Mask is_equal(Floats a, Floats b) {
  return {_mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ)};
}

// true where one is NaN
POLARSEG_SIMD_INLINE Mask is_other(Floats a, Floats b) {
  return {_mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ)};
}

// true where one is NaN
POLARSEG_SIMD_INLINE Mask is_not_greater(Floats a, Floats b) {
  return {_mm512_cmp_ps_mask(a, b, _CMP_NGT_UQ)};
}

POLARSEG_SIMD_INLINE Mask is_nan(Floats a) { return {_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q)}; }

// a where the mask is set, b elsewhere.
POLARSEG_SIMD_INLINE Floats select(Mask mask, Floats a, Floats b) {
  return _mm512_mask_mov_ps(b, mask.lanes, a);
}

// The same with a mask of the negative numbers; of -0 and NaN, either.
POLARSEG_SIMD_INLINE Floats select_if_negative(Floats number, Floats a, Floats b) {
  return select(is_less(number, _mm512_setzero_ps()), a, b);
}

// ---- whole numbers ------------------------------------------------------------------------------

POLARSEG_SIMD_INLINE Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }

POLARSEG_SIMD_INLINE Ints multiply(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }

POLARSEG_SIMD_INLINE Ints both(Ints a, Ints b) { return _mm512_and_si512(a, b); }

template <int kBits>
POLARSEG_SIMD_INLINE Ints shift_up(Ints a) {
  return _mm512_slli_epi32(a, kBits);
}

template <int kBits>
POLARSEG_SIMD_INLINE Ints shift_down(Ints a) {
  return _mm512_srli_epi32(a, kBits);
}

template <int kBits>
POLARSEG_SIMD_INLINE HalfInts shift_down(HalfInts a) {
  return _mm256_srli_epi32(a, kBits);
}

// Whole part; of what does not fit, any number.
POLARSEG_SIMD_INLINE Ints truncate(Floats a) { return _mm512_cvttps_epi32(a); }

POLARSEG_SIMD_INLINE Floats bit_cast(Ints a) { return _mm512_castsi512_ps(a); }

POLARSEG_SIMD_INLINE Ints bit_cast(Floats a) { return _mm512_castps_si512(a); }

POLARSEG_SIMD_INLINE Mask is_negative(Ints a) {
  return {_mm512_cmplt_epi32_mask(a, _mm512_setzero_si512())};
}

// as numbers without a sign
POLARSEG_SIMD_INLINE Mask is_at_most_unsigned(Ints a, Ints b) {
  return {_mm512_cmple_epu32_mask(a, b)};
}

// Whether bit `number` is set, where the number is below 64; elsewhere anything.
POLARSEG_SIMD_INLINE Mask is_among(Ints number, uint64_t set) {
  const __m512i words = _mm512_zextsi128_si512(_mm_cvtsi64_si128(static_cast<int64_t>(set)));
  const __m512i word = _mm512_permutexvar_epi32(_mm512_srli_epi32(number, 5), words);
  const __m512i place = _mm512_and_epi32(number, _mm512_set1_epi32(31));
  return {_mm512_test_epi32_mask(_mm512_srlv_epi32(word, place), _mm512_set1_epi32(1))};
}

POLARSEG_SIMD_INLINE Ints select(Mask mask, Ints a, Ints b) {
  return _mm512_mask_mov_epi32(b, mask.lanes, a);
}

// ---- doubles ------------------------------------------------------------------------------------

POLARSEG_SIMD_INLINE HalfFloats lower(Floats a) { return _mm512_castps512_ps256(a); }

POLARSEG_SIMD_INLINE HalfFloats upper(Floats a) {
  return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
}

// 0 in the upper half.
POLARSEG_SIMD_INLINE Floats extend(HalfFloats a) { return _mm512_zextps256_ps512(a); }

POLARSEG_SIMD_INLINE Doubles widen(HalfFloats a) { return _mm512_cvtps_pd(a); }

POLARSEG_SIMD_INLINE HalfFloats narrow(Doubles a) { return _mm512_cvtpd_ps(a); }

// The second where one is NaN.
POLARSEG_SIMD_INLINE Doubles smaller(Doubles a, Doubles b) { return _mm512_min_pd(a, b); }

POLARSEG_SIMD_INLINE Doubles larger(Doubles a, Doubles b) { return _mm512_max_pd(a, b); }

// In the lower half.
POLARSEG_SIMD_INLINE Mask is_negative(Doubles a) {
  return {_mm512_cmp_pd_mask(a, _mm512_setzero_pd(), _CMP_LT_OQ)};
}

POLARSEG_SIMD_INLINE Mask is_zero(Doubles a) {
  return {_mm512_cmp_pd_mask(a, _mm512_setzero_pd(), _CMP_EQ_OQ)};
}

// Sixteen floats to look up as doubles. Of an index only the lowest four bits count.
class DoubleTable {
 public:
  POLARSEG_SIMD_INLINE explicit DoubleTable(const float* table)
      : first_(_mm512_cvtps_pd(_mm256_loadu_ps(table))),
        other_(_mm512_cvtps_pd(_mm256_loadu_ps(table + kHalf))) {}

  POLARSEG_SIMD_INLINE Doubles look_up(HalfInts index) const {
    return _mm512_permutex2var_pd(first_, _mm512_cvtepu32_epi64(index), other_);
  }

 private:
  Doubles first_;
  Doubles other_;
};

POLARSEG_SIMD_INLINE __m128 load_sixteen_bytes(const void* from) {
  return _mm_loadu_ps(static_cast<const float*>(from));
}

// Sixteen bytes from each of four places.
POLARSEG_SIMD_INLINE __m512 load_four(const void* a, const void* b, const void* c, const void* d) {
  const __m512 one = _mm512_castps128_ps512(load_sixteen_bytes(a));
  const __m512 two = _mm512_insertf32x4(one, load_sixteen_bytes(b), 1);
  const __m512 three = _mm512_insertf32x4(two, load_sixteen_bytes(c), 2);
  return _mm512_insertf32x4(three, load_sixteen_bytes(d), 3);
}

// from[2 * index] and from[2 * index + 1].
POLARSEG_SIMD_INLINE void load_pairs(const double* from, const int32_t* index, Doubles& first,
                                     Doubles& second) {
  const auto at = [=](int n) POLARSEG_SIMD_LAMBDA { return from + 2 * index[n]; };
  const Doubles low = _mm512_castps_pd(load_four(at(0), at(1), at(2), at(3)));
  const Doubles high = _mm512_castps_pd(load_four(at(4), at(5), at(6), at(7)));
  first = _mm512_permutex2var_pd(low, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), high);
  second = _mm512_permutex2var_pd(low, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), high);
}

// Four numbers from each of the places at(0), at(1), ...
template <typename At>
POLARSEG_SIMD_INLINE void load_quads(const At& at, HalfFloats& first, HalfFloats& second,
                                     HalfFloats& third, HalfFloats& fourth) {
  const __m512 low = load_four(at(0), at(1), at(2), at(3));
  const __m512 high = load_four(at(4), at(5), at(6), at(7));
  const __m512 odd = _mm512_permutex2var_ps(
      low, _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 2, 6, 10, 14, 18, 22, 26, 30), high);
  const __m512 even = _mm512_permutex2var_ps(
      low, _mm512_setr_epi32(1, 5, 9, 13, 17, 21, 25, 29, 3, 7, 11, 15, 19, 23, 27, 31), high);
  first = lower(odd);
  second = lower(even);
  third = upper(odd);
  fourth = upper(even);
}

}  // namespace polarseg::avx512

#endif
