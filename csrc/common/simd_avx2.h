// Vectors of eight floats, by AVX2 with FMA: the names of simd_avx512.h, which tells how a kernel
// uses them.
#pragma once

#include "multiversion.h"

#if defined(POLARSEG_X86_TARGETS)
#if defined(POLARSEG_SIMD)
#error "A source file is compiled for one instruction set."
#endif
#include <immintrin.h>

#include <cstdint>

#define POLARSEG_SIMD avx2
#define POLARSEG_SIMD_TARGET __attribute__((target("avx2,fma")))
// always_inline: vectors are passed by value, whatever the rest is compiled for
#define POLARSEG_SIMD_LAMBDA __attribute__((target("avx2,fma"), always_inline))
#define POLARSEG_SIMD_INLINE POLARSEG_SIMD_LAMBDA inline

namespace polarseg::avx2 {

constexpr int kLaneBits = 3;
constexpr int kLanes = 1 << kLaneBits;
constexpr int kHalf = kLanes / 2;  // lanes of a vector of doubles

// + - * / of Floats and Doubles are C's own, lane by lane, and not contracted (setup.py).
using Floats = __m256;
using Ints = __m256i;       // 32 bits each
using Doubles = __m256d;    // kHalf of them
using HalfFloats = __m128;  // kHalf of them
using HalfInts = __m128i;

// Some of the lanes: all bits of them.
struct Mask {
  __m256 lanes;
};

POLARSEG_SIMD_INLINE Mask operator&(Mask a, Mask b) { return {_mm256_and_ps(a.lanes, b.lanes)}; }

POLARSEG_SIMD_INLINE Mask operator|(Mask a, Mask b) { return {_mm256_or_ps(a.lanes, b.lanes)}; }

// a and not b
POLARSEG_SIMD_INLINE Mask without(Mask a, Mask b) { return {_mm256_andnot_ps(b.lanes, a.lanes)}; }

// As bits, from the lowest.
POLARSEG_SIMD_INLINE unsigned bits(Mask mask) { return _mm256_movemask_ps(mask.lanes); }

// ---- loading and storing ------------------------------------------------------------------------

POLARSEG_SIMD_INLINE Floats floats(float number) { return _mm256_set1_ps(number); }

POLARSEG_SIMD_INLINE Ints ints(int32_t number) { return _mm256_set1_epi32(number); }

POLARSEG_SIMD_INLINE Ints lane_numbers() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }

// The lowest `count` lanes, all of them where there are more.
POLARSEG_SIMD_INLINE Mask first_lanes(int count) {
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane_numbers()))};
}

POLARSEG_SIMD_INLINE Mask all_lanes() { return first_lanes(kLanes); }

POLARSEG_SIMD_INLINE Floats load(const float* from) { return _mm256_loadu_ps(from); }

POLARSEG_SIMD_INLINE Ints load(const int32_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

// 0 in the other lanes, whose memory is not touched.
POLARSEG_SIMD_INLINE Ints load_some(const int32_t* from, Mask lanes) {
  return _mm256_maskload_epi32(from, _mm256_castps_si256(lanes.lanes));
}

POLARSEG_SIMD_INLINE HalfInts load_half(const int32_t* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

POLARSEG_SIMD_INLINE void store(float* to, Floats vector) { _mm256_storeu_ps(to, vector); }

POLARSEG_SIMD_INLINE void store(int32_t* to, Ints vector) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), vector);
}

POLARSEG_SIMD_INLINE void store(float* to, HalfFloats vector) { _mm_storeu_ps(to, vector); }

// The lowest `count` lanes; further memory is not touched.
POLARSEG_SIMD_INLINE void store_first(float* to, int count, Floats vector) {
  if (count >= kLanes) return store(to, vector);  // storing by a mask is slow
  _mm256_maskstore_ps(to, _mm256_castps_si256(first_lanes(count).lanes), vector);
}

// Of every set of lanes, which they are.
struct PackedLanes {
  alignas(64) uint8_t of[1 << kLanes][kLanes] = {};

  constexpr PackedLanes() {
    for (int set = 0; set < 1 << kLanes; ++set) {
      int count = 0;
      for (int lane = 0; lane < kLanes; ++lane) {
        if ((set >> lane & 1) != 0) of[set][count++] = static_cast<uint8_t>(lane);
      }
    }
  }
};

constexpr PackedLanes kPackedLanes;

POLARSEG_SIMD_INLINE Ints packed_lanes(unsigned lanes) {
  const auto* numbers = reinterpret_cast<const __m128i*>(kPackedLanes.of[lanes]);
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(numbers));
}

// The lanes of these bits, without gaps; whatever fills up a vector behind them.
POLARSEG_SIMD_INLINE void store_packed(float* to, unsigned lanes, Floats vector) {
  store(to, _mm256_permutevar8x32_ps(vector, packed_lanes(lanes)));
}

POLARSEG_SIMD_INLINE void store_packed(int32_t* to, unsigned lanes, Ints vector) {
  store(to, _mm256_permutevar8x32_epi32(vector, packed_lanes(lanes)));
}

// from[index]; 0 in the other lanes, whose memory is not touched.
POLARSEG_SIMD_INLINE Floats gather(const float* from, Ints index, Mask lanes) {
  return _mm256_mask_i32gather_ps(_mm256_setzero_ps(), from, index, lanes.lanes, 4);
}

POLARSEG_SIMD_INLINE void scatter(float* to, Ints index, Mask lanes, Floats vector) {
  alignas(32) int32_t at[kLanes];
  alignas(32) float number[kLanes];
  store(at, index);
  store(number, vector);
  for (unsigned left = bits(lanes); left != 0; left &= left - 1) {
    const int lane = __builtin_ctz(left);
    to[at[lane]] = number[lane];
  }
}

// table[index], of sixteen numbers.
POLARSEG_SIMD_INLINE Floats look_up(const float* table, Ints index) {
  const __m256 first = _mm256_permutevar8x32_ps(load(table), index);
  const __m256 other = _mm256_permutevar8x32_ps(load(table + kLanes), index);
  // the sign chooses: that is the bit worth eight
  return _mm256_blendv_ps(first, other, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}

// ---- floats -------------------------------------------------------------------------------------

POLARSEG_SIMD_INLINE Floats bit_cast(Ints a) { return _mm256_castsi256_ps(a); }

POLARSEG_SIMD_INLINE Ints bit_cast(Floats a) { return _mm256_castps_si256(a); }

POLARSEG_SIMD_INLINE Floats absolute(Floats a) {
  return _mm256_andnot_ps(bit_cast(ints(INT32_MIN)), a);
}

// The second where one is NaN.
POLARSEG_SIMD_INLINE Floats smaller(Floats a, Floats b) { return _mm256_min_ps(a, b); }

POLARSEG_SIMD_INLINE Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }

// a * b + c, a * b - c, c - a * b; rounded once.
POLARSEG_SIMD_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
  return _mm256_fmadd_ps(a, b, c);
}

POLARSEG_SIMD_INLINE Floats multiply_subtract(Floats a, Floats b, Floats c) {
  return _mm256_fmsub_ps(a, b, c);
}

POLARSEG_SIMD_INLINE Floats subtract_product(Floats a, Floats b, Floats c) {
  return _mm256_fnmadd_ps(a, b, c);
}

// Of numbers from 2^-126 to 2^126, off by less than kReciprocalError of it.
constexpr float kReciprocalError = 3.7e-4f;

POLARSEG_SIMD_INLINE Floats reciprocal(Floats a) { return _mm256_rcp_ps(a); }

POLARSEG_SIMD_INLINE Floats round_down(Floats a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}

POLARSEG_SIMD_INLINE Floats round_to_nearest(Floats a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

POLARSEG_SIMD_INLINE float largest(Floats a) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

// The sign is that of the number of negative ones among three: negative if it is odd.
POLARSEG_SIMD_INLINE Floats product_of_signs(Floats a, Floats b, Floats c) {
  return _mm256_xor_ps(_mm256_xor_ps(a, b), c);
}

// -number where the sign bit of the other is set.
POLARSEG_SIMD_INLINE Floats flip_sign(Floats number, Floats sign) {
  return _mm256_xor_ps(number, _mm256_and_ps(sign, bit_cast(ints(INT32_MIN))));
}

// Each lane moves up by one; the lowest is the highest of those before.
POLARSEG_SIMD_INLINE Floats shift_in(Floats before, Floats now) {
  const Ints middle = _mm256_permute2x128_si256(bit_cast(before), bit_cast(now), 0x21);
  return bit_cast(_mm256_alignr_epi8(bit_cast(now), middle, 12));
}

POLARSEG_SIMD_INLINE Floats swap_middle_quarters(Floats a) {
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(a), 0xd8));
}

// Entries 0, 2, 4 ... and 1, 3, 5 ... of two vectors.
POLARSEG_SIMD_INLINE void separate(Floats first, Floats second, Floats& even, Floats& odd) {
  even = swap_middle_quarters(_mm256_shuffle_ps(first, second, 0x88));
  odd = swap_middle_quarters(_mm256_shuffle_ps(first, second, 0xdd));
}

// ---- comparisons --------------------------------------------------------------------------------

POLARSEG_SIMD_INLINE Mask is_less(Floats a, Floats b) { return {_mm256_cmp_ps(a, b, _CMP_LT_OQ)}; }

POLARSEG_SIMD_INLINE Mask is_at_most(Floats a, Floats b) {
  return {_mm256_cmp_ps(a, b, _CMP_LE_OQ)};
}

POLARSEG_SIMD_INLINE Mask is_equal(Floats a, Floats b) { return {_mm256_cmp_ps(a, b, _CMP_EQ_OQ)}; }

// true where one is NaN
POLARSEG_SIMD_INLINE Mask is_other(Floats a, Floats b) {
  return {_mm256_cmp_ps(a, b, _CMP_NEQ_UQ)};
}

// true where one is NaN
POLARSEG_SIMD_INLINE Mask is_not_greater(Floats a, Floats b) {
  return {_mm256_cmp_ps(a, b, _CMP_NGT_UQ)};
}

POLARSEG_SIMD_INLINE Mask is_nan(Floats a) { return {_mm256_cmp_ps(a, a, _CMP_UNORD_Q)}; }

// a where the mask is set, b elsewhere.
POLARSEG_SIMD_INLINE Floats select(Mask mask, Floats a, Floats b) {
  return _mm256_blendv_ps(b, a, mask.lanes);
}

// The same with a mask of the negative numbers; of -0 and NaN, either.
POLARSEG_SIMD_INLINE Floats select_if_negative(Floats number, Floats a, Floats b) {
  return _mm256_blendv_ps(b, a, number);
}

// ---- whole numbers ------------------------------------------------------------------------------

POLARSEG_SIMD_INLINE Ints add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }

POLARSEG_SIMD_INLINE Ints multiply(Ints a, Ints b) { return _mm256_mullo_epi32(a, b); }

POLARSEG_SIMD_INLINE Ints both(Ints a, Ints b) { return _mm256_and_si256(a, b); }

template <int kBits>
POLARSEG_SIMD_INLINE Ints shift_up(Ints a) {
  return _mm256_slli_epi32(a, kBits);
}

template <int kBits>
POLARSEG_SIMD_INLINE Ints shift_down(Ints a) {
  return _mm256_srli_epi32(a, kBits);
}

template <int kBits>
POLARSEG_SIMD_INLINE HalfInts shift_down(HalfInts a) {
  return _mm_srli_epi32(a, kBits);
}

// Whole part; of what does not fit, any number.
POLARSEG_SIMD_INLINE Ints truncate(Floats a) { return _mm256_cvttps_epi32(a); }

POLARSEG_SIMD_INLINE Mask is_negative(Ints a) {
  return {bit_cast(_mm256_cmpgt_epi32(_mm256_setzero_si256(), a))};
}

// as numbers without a sign
POLARSEG_SIMD_INLINE Mask is_at_most_unsigned(Ints a, Ints b) {
  return {bit_cast(_mm256_cmpeq_epi32(_mm256_max_epu32(a, b), b))};
}

// Whether bit `number` is set, where the number is below 64; elsewhere anything.
POLARSEG_SIMD_INLINE Mask is_among(Ints number, uint64_t set) {
  const __m256i words = _mm256_set1_epi64x(static_cast<int64_t>(set));
  const __m256i word = _mm256_permutevar8x32_epi32(words, _mm256_srli_epi32(number, 5));
  const __m256i place = _mm256_and_si256(number, _mm256_set1_epi32(31));
  const __m256i from_top = _mm256_sub_epi32(_mm256_set1_epi32(31), place);
  return {bit_cast(_mm256_srai_epi32(_mm256_sllv_epi32(word, from_top), 31))};
}

POLARSEG_SIMD_INLINE Ints select(Mask mask, Ints a, Ints b) {
  return bit_cast(select(mask, bit_cast(a), bit_cast(b)));
}

// ---- doubles ------------------------------------------------------------------------------------

POLARSEG_SIMD_INLINE HalfFloats lower(Floats a) { return _mm256_castps256_ps128(a); }

// 0 in the upper half.
POLARSEG_SIMD_INLINE Floats extend(HalfFloats a) { return _mm256_set_m128(_mm_setzero_ps(), a); }

POLARSEG_SIMD_INLINE Doubles widen(HalfFloats a) { return _mm256_cvtps_pd(a); }

POLARSEG_SIMD_INLINE HalfFloats narrow(Doubles a) { return _mm256_cvtpd_ps(a); }

// The second where one is NaN.
POLARSEG_SIMD_INLINE Doubles smaller(Doubles a, Doubles b) { return _mm256_min_pd(a, b); }

POLARSEG_SIMD_INLINE Doubles larger(Doubles a, Doubles b) { return _mm256_max_pd(a, b); }

// In the lower half.
POLARSEG_SIMD_INLINE Mask in_lower_half(Doubles mask) {
  const __m256 both = _mm256_castpd_ps(mask);
  return {extend(_mm_shuffle_ps(lower(both), _mm256_extractf128_ps(both, 1), 0x88))};
}

POLARSEG_SIMD_INLINE Mask is_negative(Doubles a) {
  return in_lower_half(_mm256_cmp_pd(a, _mm256_setzero_pd(), _CMP_LT_OQ));
}

POLARSEG_SIMD_INLINE Mask is_zero(Doubles a) {
  return in_lower_half(_mm256_cmp_pd(a, _mm256_setzero_pd(), _CMP_EQ_OQ));
}

// Sixteen floats to look up as doubles. Of an index only the lowest four bits count.
class DoubleTable {
 public:
  POLARSEG_SIMD_INLINE explicit DoubleTable(const float* table) : table_(table) {}

  POLARSEG_SIMD_INLINE Doubles look_up(HalfInts index) const {
    return widen(lower(avx2::look_up(table_, _mm256_castsi128_si256(index))));
  }

 private:
  const float* table_;
};

// from[2 * index] and from[2 * index + 1].
POLARSEG_SIMD_INLINE void load_pairs(const double* from, const int32_t* index, Doubles& first,
                                     Doubles& second) {
  const auto at = [=](int n) POLARSEG_SIMD_LAMBDA { return _mm_loadu_pd(from + 2 * index[n]); };
  const Doubles even = _mm256_set_m128d(at(2), at(0));
  const Doubles odd = _mm256_set_m128d(at(3), at(1));
  first = _mm256_unpacklo_pd(even, odd);
  second = _mm256_unpackhi_pd(even, odd);
}

// Four numbers from each of the places at(0), at(1), ...
template <typename At>
POLARSEG_SIMD_INLINE void load_quads(const At& at, HalfFloats& first, HalfFloats& second,
                                     HalfFloats& third, HalfFloats& fourth) {
  first = _mm_loadu_ps(at(0));
  second = _mm_loadu_ps(at(1));
  third = _mm_loadu_ps(at(2));
  fourth = _mm_loadu_ps(at(3));
  _MM_TRANSPOSE4_PS(first, second, third, fourth);
}

}  // namespace polarseg::avx2

#endif
