// Every function of the vectors of one instruction set against C++'s own numbers, lane by lane.
// Compiled with -DVECTORS="path of a simd_*.h"; prints what differs and ends with 1 then.
#include VECTORS

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>

namespace polarseg::POLARSEG_SIMD {
namespace {

constexpr int kTable = 64;
int failures = 0;

bool is_same(float a, float b) { return (std::isnan(a) && std::isnan(b)) || a == b; }

void expect(bool right, const char* what, int lane) {
  if (!right && ++failures <= 20) std::printf("%s is wrong in lane %d\n", what, lane);
}

template <typename Wanted>
POLARSEG_SIMD_TARGET void expect_floats(const char* what, Floats found, const Wanted& wanted) {
  float lanes[kLanes];
  store(lanes, found);
  for (int k = 0; k < kLanes; ++k) expect(is_same(lanes[k], wanted(k)), what, k);
}

template <typename Wanted>
POLARSEG_SIMD_TARGET void expect_ints(const char* what, Ints found, const Wanted& wanted) {
  int32_t lanes[kLanes];
  store(lanes, found);
  for (int k = 0; k < kLanes; ++k) expect(lanes[k] == wanted(k), what, k);
}

template <typename Wanted>
POLARSEG_SIMD_TARGET void expect_lower(const char* what, HalfFloats found, const Wanted& wanted) {
  expect_floats(what, extend(found), [&](int k) { return k < kHalf ? wanted(k) : 0.f; });
}

template <typename Wanted>
POLARSEG_SIMD_TARGET void expect_mask(const char* what, Mask found, const Wanted& wanted) {
  const unsigned lanes = bits(found);
  for (int k = 0; k < 32; ++k) expect((lanes >> k & 1) == (k < kLanes && wanted(k)), what, k);
}

#define EXPECT(kind, found, wanted) \
  expect_##kind(#found, found, [&]([[maybe_unused]] int k) { return wanted; })

POLARSEG_SIMD_TARGET void check_floats(const float* a, const float* b, const float* c) {
  const Floats va = load(a), vb = load(b), vc = load(c);
  EXPECT(floats, va, a[k]);
  EXPECT(floats, floats(2.5f), 2.5f);
  EXPECT(floats, absolute(va), std::fabs(a[k]));
  EXPECT(floats, smaller(va, vb), a[k] < b[k] ? a[k] : b[k]);
  EXPECT(floats, larger(va, vb), a[k] > b[k] ? a[k] : b[k]);
  EXPECT(floats, multiply_add(va, vb, vc), std::fma(a[k], b[k], c[k]));
  EXPECT(floats, multiply_subtract(va, vb, vc), std::fma(a[k], b[k], -c[k]));
  EXPECT(floats, subtract_product(va, vb, vc), std::fma(-a[k], b[k], c[k]));
  EXPECT(floats, round_down(va), std::floor(a[k]));
  EXPECT(floats, round_to_nearest(va), std::nearbyint(a[k]));
  EXPECT(floats, flip_sign(va, vb), std::signbit(b[k]) ? -a[k] : a[k]);
  EXPECT(floats, flip_sign(floats(1.f), product_of_signs(va, vb, vc)),
         (std::signbit(a[k]) + std::signbit(b[k]) + std::signbit(c[k])) % 2 == 1 ? -1.f : 1.f);
  EXPECT(floats, shift_in(vb, va), k > 0 ? a[k - 1] : b[kLanes - 1]);
  Floats even, odd;
  separate(va, vb, even, odd);
  const auto both = [&](int k) { return k < kLanes ? a[k] : b[k - kLanes]; };
  EXPECT(floats, even, both(2 * k));
  EXPECT(floats, odd, both(2 * k + 1));

  float lanes[kLanes];
  store(lanes, reciprocal(va));
  for (int k = 0; k < kLanes; ++k) {
    if (!(std::fabs(a[k]) > 0x1p-126f && std::fabs(a[k]) < 0x1p126f)) continue;
    const double error = std::fabs(static_cast<double>(lanes[k]) * a[k] - 1.);
    expect(error < kReciprocalError, "reciprocal(va)", k);
  }
  float most = 0.f;
  for (int k = 0; k < kLanes; ++k) most = std::max(most, std::isnan(a[k]) ? 0.f : std::fabs(a[k]));
  const float found = largest(select(is_nan(va), floats(0.f), absolute(va)));
  expect(found == most, "largest", 0);
}

POLARSEG_SIMD_TARGET void check_masks(const float* a, const float* b, const float* c) {
  const Floats va = load(a), vb = load(b), vc = load(c);
  EXPECT(mask, is_less(va, vb), a[k] < b[k]);
  EXPECT(mask, is_at_most(va, vb), a[k] <= b[k]);
  EXPECT(mask, is_equal(va, vb), a[k] == b[k]);
  EXPECT(mask, is_other(va, vb), a[k] != b[k]);
  EXPECT(mask, is_not_greater(va, vb), !(a[k] > b[k]));
  EXPECT(mask, is_nan(va), std::isnan(a[k]));
  EXPECT(mask, is_less(va, vb) & is_less(vb, vc), a[k] < b[k] && b[k] < c[k]);
  EXPECT(mask, is_less(va, vb) | is_less(vb, vc), a[k] < b[k] || b[k] < c[k]);
  EXPECT(mask, without(is_less(va, vb), is_less(vb, vc)), a[k] < b[k] && !(b[k] < c[k]));
  for (int count : {0, 1, kLanes - 1, kLanes, 2 * kLanes + 1}) {
    EXPECT(mask, first_lanes(count), k < count);
  }
  EXPECT(mask, all_lanes(), true);
  EXPECT(floats, select(is_less(va, vb), va, vc), a[k] < b[k] ? a[k] : c[k]);
  const Floats sign = select(is_less(vc, floats(0.f)), floats(-2.f), floats(3.f));
  EXPECT(floats, select_if_negative(sign, va, vb), c[k] < 0.f ? a[k] : b[k]);
}

// numbers: from 0 to 61
POLARSEG_SIMD_TARGET void check_ints(const float* a, const float* b, const int32_t* numbers) {
  const Floats va = load(a), vb = load(b);
  const Ints n = load(numbers);
  EXPECT(ints, n, numbers[k]);
  EXPECT(ints, lane_numbers(), k);
  EXPECT(ints, load_some(numbers, first_lanes(3)), k < 3 ? numbers[k] : 0);
  EXPECT(ints, add(n, ints(-9)), numbers[k] - 9);
  EXPECT(ints, multiply(n, ints(-9)), numbers[k] * -9);
  EXPECT(ints, both(n, ints(14)), numbers[k] & 14);
  EXPECT(ints, shift_up<3>(n), numbers[k] << 3);
  EXPECT(ints, shift_down<2>(n), numbers[k] >> 2);
  EXPECT(ints, truncate(floats(-0.75f) * bit_cast(bit_cast(va))),
         std::fabs(a[k]) < 1e6f ? static_cast<int>(-0.75f * a[k]) : INT32_MIN);
  EXPECT(ints, select(is_less(va, vb), n, ints(-4)), a[k] < b[k] ? numbers[k] : -4);
  EXPECT(mask, is_negative(add(n, ints(-9))), numbers[k] < 9);
  EXPECT(mask, is_at_most_unsigned(add(n, ints(-9)), ints(20)),
         numbers[k] >= 9 && numbers[k] <= 29);
  const uint64_t set = 0xf0a5123987654321u * static_cast<uint64_t>(numbers[0] + 1);
  EXPECT(mask, is_among(n, set), set >> numbers[k] & 1);
}

POLARSEG_SIMD_TARGET void check_memory(const float* a, const float* b, const int32_t* numbers) {
  const Floats va = load(a);
  const Ints n = load(numbers);
  float table[kTable];
  for (int i = 0; i < kTable; ++i) table[i] = 1.5f * i + 1.f;
  EXPECT(floats, gather(table, n, first_lanes(3)), k < 3 ? table[numbers[k]] : 0.f);
  EXPECT(floats, look_up(table, both(n, ints(15))), table[numbers[k] & 15]);

  float out[kTable] = {};
  scatter(out, multiply(lane_numbers(), ints(3)), first_lanes(5), va);
  for (int i = 0; i < kTable; ++i) {
    expect(is_same(out[i], i % 3 == 0 && i < 15 ? a[i / 3] : 0.f), "scatter", i);
  }
  const unsigned some = bits(is_less(va, load(b)));
  int32_t packed[kLanes];
  store_packed(out, some, va);
  store_packed(packed, some, n);
  int count = 0;
  for (int k = 0; k < kLanes; ++k) {
    if ((some >> k & 1) == 0) continue;
    expect(is_same(out[count], a[k]) && packed[count] == numbers[k], "store_packed", k);
    ++count;
  }
  for (int size : {0, 3, kLanes, kLanes + 4}) {
    std::fill_n(out, kTable, -1.f);
    store_first(out, size, va);
    for (int i = 0; i < kTable; ++i) {
      expect(is_same(out[i], i < std::min(size, kLanes) ? a[i] : -1.f), "store_first", i);
    }
  }
}

POLARSEG_SIMD_TARGET void check_doubles(const float* a, const float* b, const int32_t* numbers) {
  const Doubles x = widen(lower(load(a)));
  const Doubles y = widen(lower(load(b)));
  const auto difference = [&](int k) { return static_cast<double>(a[k]) - b[k]; };
  EXPECT(lower, narrow(x - y), static_cast<float>(difference(k)));
  float half[kHalf];
  store(half, narrow(x - y));
  for (int k = 0; k < kHalf; ++k) {
    expect(is_same(half[k], static_cast<float>(difference(k))), "store of a half", k);
  }
  EXPECT(lower, narrow(smaller(x, y)), a[k] < b[k] ? a[k] : b[k]);
  EXPECT(lower, narrow(larger(x, y)), a[k] > b[k] ? a[k] : b[k]);
  EXPECT(mask, is_negative(x - y) & first_lanes(kHalf), k < kHalf && difference(k) < 0.);
  EXPECT(mask, is_zero(x - y) & first_lanes(kHalf), k < kHalf && difference(k) == 0.);

  float table[kTable];
  double pairs[2 * kTable];
  for (int i = 0; i < kTable; ++i) table[i] = 1.5f * i + 1.f;
  for (int i = 0; i < 2 * kTable; ++i) pairs[i] = i + 0.25;
  int32_t below_sixteen[kLanes];
  for (int k = 0; k < kLanes; ++k) below_sixteen[k] = numbers[k] & 15;
  EXPECT(lower, narrow(DoubleTable(table).look_up(load_half(below_sixteen))),
         table[below_sixteen[k]]);
  int32_t with_more_above[kLanes];
  for (int k = 0; k < kLanes; ++k) with_more_above[k] = below_sixteen[k] | (k * 37 + 1) << 4;
  EXPECT(lower, narrow(DoubleTable(table).look_up(load_half(with_more_above))),
         table[below_sixteen[k]]);
  const HalfInts halved = shift_down<1>(load_half(below_sixteen));
  EXPECT(lower, narrow(DoubleTable(table).look_up(halved)), table[below_sixteen[k] >> 1]);
  Doubles first, second;
  load_pairs(pairs, numbers, first, second);
  EXPECT(lower, narrow(first), static_cast<float>(pairs[2 * numbers[k]]));
  EXPECT(lower, narrow(second), static_cast<float>(pairs[2 * numbers[k] + 1]));
  HalfFloats quad[4];
  load_quads([&](int n) POLARSEG_SIMD_LAMBDA { return table + below_sixteen[n]; }, quad[0], quad[1],
             quad[2], quad[3]);
  for (int i = 0; i < 4; ++i) EXPECT(lower, quad[i], table[below_sixteen[k] + i]);
}

POLARSEG_SIMD_TARGET void check_all() {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> number(-40.f, 40.f);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float special[] = {0.f,  -0.f,      1.f,        -1.f,  0.5f,   -2.5f,
                           3.5f, kInfinity, -kInfinity, 1e30f, 1e-30f, std::nanf("")};
  for (int round = 0; round < 20000; ++round) {
    float rows[3][kLanes];
    int32_t numbers[kLanes];
    for (auto& row : rows) {
      for (float& x : row) x = random() % 4 != 0 ? number(random) : special[random() % 12];
    }
    for (int32_t& n : numbers) n = static_cast<int32_t>(random() % 62);
    check_floats(rows[0], rows[1], rows[2]);
    check_masks(rows[0], rows[1], rows[2]);
    check_ints(rows[0], rows[1], numbers);
    check_memory(rows[0], rows[1], numbers);
    check_doubles(rows[0], rows[1], numbers);
  }
}

}  // namespace
}  // namespace polarseg::POLARSEG_SIMD

int main() {
  polarseg::POLARSEG_SIMD::check_all();
  return polarseg::POLARSEG_SIMD::failures == 0 ? 0 : 1;
}
