// Products of pairs of bfloat16 numbers: what plain arrays define, and that instructions agree.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "relpos/simd/bfloat16/pair_pack.hpp"
#include "support/floating_point_modes.hpp"

namespace {

using relpos::bfloat16;
using relpos::bfloat16_pair;

template <class Isa>
float sum_of(float sum, const bfloat16_pair& a, const bfloat16_pair& b) {
  using pairs = relpos::pair_pack<Isa>;
  float lanes[relpos::lanes<Isa>];
  fma(pairs(a), pairs(b), relpos::float_pack<Isa>(sum)).store(lanes);
  return lanes[0];
}

bfloat16_pair pair_of(float first, float second) { return {bfloat16(first), bfloat16(second)}; }

template <class Isa>
class pairs_on : public testing::Test {};

#if RELPOS_HAS_AVX512_BF16
using instruction_sets = testing::Types<relpos::generic<4>, relpos::native>;
#else
using instruction_sets = testing::Types<relpos::generic<4> >;
#endif
TYPED_TEST_SUITE(pairs_on, instruction_sets);

TYPED_TEST(pairs_on, second_product_is_added_first) {
  // 1 + 2^-25 is 1, so 2^-25 is lost if it meets the sum before -1 does.
  EXPECT_EQ(sum_of<TypeParam>(1.0f, pair_of(-1.0f, 0x1p-25f), pair_of(1.0f, 1.0f)), 0.0f);
  EXPECT_EQ(sum_of<TypeParam>(1.0f, pair_of(0x1p-25f, -1.0f), pair_of(1.0f, 1.0f)), 0x1p-25f);
}

TYPED_TEST(pairs_on, sums_are_rounded_to_nearest_and_to_even) {
  // 3 2^-24 and 2^-24 are halfway between floats at 1.
  EXPECT_EQ(sum_of<TypeParam>(1.0f, pair_of(0x3p-24f, 0.0f), pair_of(1.0f, 0.0f)), 1.0f + 0x2p-23f);
  EXPECT_EQ(sum_of<TypeParam>(1.0f, pair_of(0x1p-24f, 0.0f), pair_of(1.0f, 0.0f)), 1.0f);
  // Products are exact: 1.0078125^2 = 1 + 2^-6 + 2^-14.
  const bfloat16_pair x = pair_of(0.0f, 1.0f + 0x1p-7f);
  EXPECT_EQ(sum_of<TypeParam>(-1.0f - 0x1p-6f, x, x), 0x1p-14f);
}

TYPED_TEST(pairs_on, subnormal_numbers_are_zero) {
  const float least = std::numeric_limits<float>::min();
  const bfloat16_pair subnormal{std::bit_cast<bfloat16>(std::uint16_t{0x0040}), bfloat16(0.0f)};
  EXPECT_EQ(sum_of<TypeParam>(0.0f, subnormal, pair_of(0x1p100f, 0.0f)), 0.0f);
  EXPECT_EQ(sum_of<TypeParam>(least / 2, pair_of(0.0f, 0.0f), pair_of(1.0f, 1.0f)), 0.0f);
  EXPECT_EQ(sum_of<TypeParam>(0.0f, pair_of(least, 0.0f), pair_of(0.5f, 0.0f)), 0.0f);
  // A sum is rounded before it counts as subnormal or not.
  EXPECT_EQ(sum_of<TypeParam>(-least, pair_of(least, 0.0f), pair_of(1.5f, 0.0f)), 0.0f);
  EXPECT_EQ(sum_of<TypeParam>(least, pair_of(least, 0.0f), pair_of(1.0f, 0.0f)), 2 * least);
}

TYPED_TEST(pairs_on, infinity_and_nan_remain) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(sum_of<TypeParam>(1.0f, pair_of(infinity, 1.0f), pair_of(2.0f, 1.0f)), infinity);
  EXPECT_TRUE(std::isnan(sum_of<TypeParam>(1.0f, pair_of(infinity, 1.0f), pair_of(0.0f, 1.0f))));
  EXPECT_TRUE(
      std::isnan(sum_of<TypeParam>(1.0f, pair_of(1.0f, std::nanf("")), pair_of(1.0f, 0.0f))));
}

/// The nearest bfloat16 number of a float that is not subnormal, by comparison in double.
bfloat16 nearest(float x) {
  if (std::isnan(x)) return bfloat16(std::nanf(""));
  const auto below = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16);
  const auto number = [](std::uint16_t bits) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
    // Infinity is where the next number would be.
    return std::isinf(value) ? std::copysign(0x1p128, static_cast<double>(value))
                             : static_cast<double>(value);
  };
  bfloat16 result;
  result.bits = below;
  if (std::isinf(x)) return result;
  const double down = std::abs(x - number(below));
  const double up = std::abs(number(static_cast<std::uint16_t>(below + 1)) - x);
  if (up < down || (up == down && below % 2 != 0)) ++result.bits;
  return result;
}

TYPED_TEST(pairs_on, rounding_is_to_nearest_and_to_even) {
  using real = relpos::float_pack<TypeParam>;
  using pairs = relpos::pair_pack<TypeParam>;
  std::mt19937 random(3);
  for (int i = 0; i < 200000; ++i) {
    auto bits = static_cast<std::uint32_t>(random());
    if (i % 3 == 0) bits = (bits & 0xffff0000u) | 0x8000u;  // halfway
    const auto x = std::bit_cast<float>(bits);
    if (std::fpclassify(x) == FP_SUBNORMAL) continue;
    bfloat16_pair rounded[relpos::lanes<TypeParam>];
    pairs::rounded(real(x), real(-x)).store(rounded);
    const bfloat16 expected = nearest(x);
    if (std::isnan(x)) {
      ASSERT_TRUE(std::isnan(static_cast<float>(rounded[0].first)));
    } else {
      ASSERT_EQ(rounded[0].first.bits, expected.bits) << x;
      ASSERT_EQ(rounded[0].second.bits, expected.bits ^ 0x8000u) << x;
    }
  }
  bfloat16_pair of_subnormal[relpos::lanes<TypeParam>];
  pairs::rounded(real(1e-39f), real(-1e-39f)).store(of_subnormal);
  EXPECT_EQ(of_subnormal[0].first.bits, 0x0000u);
  EXPECT_EQ(of_subnormal[0].second.bits, 0x8000u);
}

TYPED_TEST(pairs_on, places) {
  using real = relpos::float_pack<TypeParam>;
  using pairs = relpos::pair_pack<TypeParam>;
  constexpr int n = relpos::lanes<TypeParam>;
  float x[n], y[n];
  bfloat16 first[n], second[n];
  for (int i = 0; i < n; ++i) {
    x[i] = static_cast<float>(i + 1);
    y[i] = static_cast<float>(i + 101);
    first[i] = bfloat16(x[i]);
    second[i] = bfloat16(y[i]);
  }
  bfloat16_pair by_lane[n], joined[n];
  pairs::rounded(real::load(x), real::load(y)).store(by_lane);
  pairs::joined(first, second).store(joined);
  bfloat16 neighbours[2 * n];
  pairs::rounded_neighbours(real::load(x), real::load(y)).store(neighbours);
  for (int i = 0; i < n; ++i) {
    EXPECT_EQ(static_cast<float>(by_lane[i].first), x[i]);
    EXPECT_EQ(static_cast<float>(by_lane[i].second), y[i]);
    EXPECT_EQ(static_cast<float>(joined[i].first), x[i]);
    EXPECT_EQ(static_cast<float>(joined[i].second), y[i]);
    EXPECT_EQ(static_cast<float>(neighbours[i]), x[i]);
    EXPECT_EQ(static_cast<float>(neighbours[n + i]), y[i]);
  }
}

#if RELPOS_HAS_AVX512_BF16

/// Numbers of all kinds: any bits, near 1, or of few exponents so that sums cancel.
std::uint32_t random_bits(std::mt19937& random, int kind) {
  const auto bits = static_cast<std::uint32_t>(random());
  if (kind == 0) return bits;
  const std::uint32_t exponents = kind == 1 ? 4 : 60;
  return (bits & 0x807fffffu) | (127 - exponents / 2 + (bits >> 23) % exponents) << 23;
}

TEST(pair_instructions, agree_with_plain_arrays_in_every_floating_point_mode) {
  using plain = relpos::generic<16>;
  std::mt19937 random(7);
  for (int i = 0; i < 100000; ++i) {
    bfloat16_pair a[16], b[16];
    float sum[16];
    for (int lane = 0; lane < 16; ++lane) {
      const auto number = [&] {
        bfloat16 result;
        result.bits = static_cast<std::uint16_t>(random_bits(random, i % 3) >> 16);
        return result;
      };
      a[lane] = {number(), number()};
      b[lane] = {number(), number()};
      sum[lane] = std::bit_cast<float>(random_bits(random, i % 3));
    }
    float got[16], expected[16];
    const auto sum_with = [&]<class Isa>(Isa, float* out) {
      using pairs = relpos::pair_pack<Isa>;
      fma(pairs::load(a), pairs::load(b), relpos::float_pack<Isa>::load(sum)).store(out);
    };
    sum_with(plain(), expected);
    support::in_mode(support::floating_point_modes[static_cast<std::size_t>(i) %
                                                   std::size(support::floating_point_modes)],
                     [&] { sum_with(relpos::native(), got); });
    for (int lane = 0; lane < 16; ++lane) {
      if (std::isnan(expected[lane])) {
        ASSERT_TRUE(std::isnan(got[lane]));
      } else {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(got[lane]),
                  std::bit_cast<std::uint32_t>(expected[lane]));
      }
    }
  }
}

#endif

}  // namespace
