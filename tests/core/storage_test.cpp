#include "relpos/core/storage.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "support/stored_formats.hpp"

namespace {

using relpos::bfloat16;
using relpos::half;
using support::format;
using support::from_bits;
using support::meaning;

constexpr float infinity = std::numeric_limits<float>::infinity();

/// The nearest value of the format, ties to even; beyond half a step past the largest, infinity.
template <class Storage>
double rounded(float value) {
  if (!std::isfinite(value) || value == 0.0f) return value;
  const int lowest_exponent = 1 - format<Storage>::bias;
  const int exponent = std::max(std::ilogb(value), lowest_exponent);
  const double step = std::ldexp(1.0, exponent - format<Storage>::mantissa_bits);
  const double nearest = std::nearbyint(value / step) * step;
  const double beyond = std::ldexp(1.0, format<Storage>::bias + 1);
  return std::abs(nearest) >= beyond ? std::copysign(INFINITY, nearest) : nearest;
}

template <class Storage>
void expect_rounded(float value) {
  const auto stored = static_cast<float>(Storage(value));
  ASSERT_EQ(stored, rounded<Storage>(value)) << std::hexfloat << value;
  ASSERT_EQ(std::signbit(stored), std::signbit(value)) << std::hexfloat << value;
}

template <class Storage>
class storage_type : public testing::Test {};
using storage_types = testing::Types<bfloat16, half>;
TYPED_TEST_SUITE(storage_type, storage_types);

TYPED_TEST(storage_type, every_bit_pattern_becomes_its_value) {
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const auto value = static_cast<float>(from_bits<TypeParam>(bits));
    const double wanted = meaning<TypeParam>(bits);
    if (std::isnan(wanted)) {
      ASSERT_TRUE(std::isnan(value)) << std::hex << bits;
    } else {
      ASSERT_EQ(value, wanted) << std::hex << bits;
      ASSERT_EQ(std::signbit(value), std::signbit(wanted)) << std::hex << bits;
    }
  }
}

TYPED_TEST(storage_type, every_bit_pattern_survives_a_round_trip) {
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const auto value = static_cast<float>(from_bits<TypeParam>(bits));
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(static_cast<float>(TypeParam(value)))) << std::hex << bits;
    } else {
      ASSERT_EQ(TypeParam(value).bits, bits) << std::hex << bits;
    }
  }
}

TYPED_TEST(storage_type, rounds_to_nearest_and_ties_to_even_between_any_two_neighbours) {
  for (std::uint32_t bits = 0; bits < 0x7fffu; ++bits) {
    const double here = meaning<TypeParam>(bits);
    const double next = meaning<TypeParam>(bits + 1);
    if (!std::isfinite(here) || !std::isfinite(next)) continue;
    const auto middle = static_cast<float>((here + next) / 2);
    for (const float sign : {1.0f, -1.0f}) {
      expect_rounded<TypeParam>(sign * middle);
      expect_rounded<TypeParam>(sign * std::nextafter(middle, 0.0f));
      expect_rounded<TypeParam>(sign * std::nextafter(middle, infinity));
    }
  }
}

TYPED_TEST(storage_type, rounds_floats_of_all_magnitudes) {
  constexpr std::uint64_t stride = 4099;
  for (std::uint64_t bits = 0; bits < 0x100000000u; bits += stride) {
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(static_cast<float>(TypeParam(value)))) << std::hex << bits;
    } else {
      expect_rounded<TypeParam>(value);
    }
  }
}

TYPED_TEST(storage_type, overflows_half_a_step_past_the_largest) {
  constexpr int mantissa_bits = format<TypeParam>::mantissa_bits;
  const double beyond = std::ldexp(1.0, format<TypeParam>::bias + 1);
  const double step = std::ldexp(1.0, format<TypeParam>::bias - mantissa_bits);
  const auto tie = static_cast<float>(beyond - step / 2);
  for (const float sign : {1.0f, -1.0f}) {
    EXPECT_EQ(static_cast<float>(TypeParam(sign * tie)), sign * infinity);
    EXPECT_EQ(static_cast<float>(TypeParam(sign * std::nextafter(tie, 0.0f))),
              sign * static_cast<float>(beyond - step));
    EXPECT_EQ(static_cast<float>(TypeParam(sign * infinity)), sign * infinity);
    EXPECT_EQ(static_cast<float>(TypeParam(sign * std::numeric_limits<float>::max())),
              sign * infinity);
  }
}

TYPED_TEST(storage_type, underflows_to_zero_of_the_same_sign) {
  const auto smallest = static_cast<float>(meaning<TypeParam>(1));
  const float tie = smallest / 2;
  EXPECT_EQ(TypeParam(tie).bits, 0u);
  EXPECT_EQ(TypeParam(-tie).bits, 0x8000u);
  EXPECT_EQ(TypeParam(std::nextafter(tie, 1.0f)).bits, 1u);
  EXPECT_EQ(TypeParam(-std::nextafter(tie, 1.0f)).bits, 0x8001u);
}

// The payload of a NaN may sit in the bits that are cut off, or carry into the sign when rounded.
TYPED_TEST(storage_type, every_kind_of_nan_stays_nan) {
  for (const std::uint32_t bits :
       {0x7f800001u, 0x7f80ffffu, 0x7f81ffffu, 0x7fbfffffu, 0x7fc00000u, 0x7fffffffu, 0x7fffe000u,
        0xff800001u, 0xffc00000u, 0xffffffffu}) {
    EXPECT_TRUE(std::isnan(static_cast<float>(TypeParam(std::bit_cast<float>(bits)))))
        << std::hex << bits;
  }
}

TYPED_TEST(storage_type, is_two_bytes_and_zero_by_default) {
  static_assert(sizeof(TypeParam) == 2 && alignof(TypeParam) == 2);
  static_assert(std::is_trivially_copyable_v<TypeParam>);
  EXPECT_EQ(TypeParam().bits, 0u);
}

TYPED_TEST(storage_type, converts_at_compile_time) {
  static_assert(static_cast<float>(TypeParam(1.5f)) == 1.5f);
  static_assert(static_cast<float>(TypeParam(-0x1p-14f)) == -0x1p-14f);
}

static_assert(relpos::storage<float> && relpos::storage<bfloat16> && relpos::storage<half>);
static_assert(!relpos::storage<double> && !relpos::storage<const float> && !relpos::storage<int>);

}  // namespace
