// The 8-bit floating-point formats, by the numbers that OFP8 gives them.

#include "relpos/core/float8.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "support/stored_formats.hpp"

namespace {

using relpos::float8_e4m3;
using relpos::float8_e5m2;
using support::float8_meaning;
using support::from_bits;

template <class Stored>
class float8 : public testing::Test {};
using formats = testing::Types<float8_e4m3, float8_e5m2>;
TYPED_TEST_SUITE(float8, formats);

TYPED_TEST(float8, every_code_becomes_its_number) {
  for (std::uint32_t code = 0; code < 256; ++code) {
    const auto value = static_cast<float>(from_bits<TypeParam>(code));
    const double wanted = float8_meaning<TypeParam>(code);
    if (std::isnan(wanted)) {
      EXPECT_TRUE(std::isnan(value)) << code;
    } else {
      EXPECT_EQ(value, wanted) << code;
      EXPECT_EQ(TypeParam(value).bits, code);
    }
    EXPECT_EQ(std::signbit(value), code >= 128) << code;
  }
}

TYPED_TEST(float8, rounds_to_nearest_and_ties_to_even_between_any_two_neighbours) {
  for (std::uint32_t code = 0; std::isfinite(float8_meaning<TypeParam>(code + 1)); ++code) {
    const auto middle = static_cast<float>(
        (float8_meaning<TypeParam>(code) + float8_meaning<TypeParam>(code + 1)) / 2);
    const std::uint32_t even = code % 2 == 0 ? code : code + 1;
    EXPECT_EQ(TypeParam(middle).bits, even) << code;
    EXPECT_EQ(TypeParam(-middle).bits, even | 0x80u) << code;
    EXPECT_EQ(TypeParam(std::nextafter(middle, 0.0f)).bits, code) << code;
    EXPECT_EQ(TypeParam(std::nextafter(middle, 1e9f)).bits, code + 1) << code;
  }
}

TYPED_TEST(float8, rounds_floats_of_all_magnitudes) {
  for (std::uint64_t bits = 0; bits < 0x7f800000u; bits += 65519) {
    const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    const auto stored = static_cast<double>(static_cast<float>(TypeParam(x)));
    if (!std::isfinite(stored)) continue;  // below
    double nearest = 1e300;
    for (std::uint32_t code = 0; std::isfinite(float8_meaning<TypeParam>(code)); ++code) {
      nearest = std::min(nearest, std::abs(float8_meaning<TypeParam>(code) - x));
    }
    ASSERT_EQ(std::abs(stored - x), nearest) << x;
  }
}

TEST(float8_e4m3, past_the_largest_is_nan) {
  EXPECT_EQ(static_cast<float>(float8_e4m3(464.0f)), 448.0f);  // a tie, and 448 is even
  EXPECT_EQ(float8_e4m3(std::nextafter(464.0f, 500.0f)).bits, 0x7f);
  EXPECT_EQ(float8_e4m3(-1e30f).bits, 0xff);
  EXPECT_EQ(float8_e4m3(std::numeric_limits<float>::infinity()).bits, 0x7f);
  EXPECT_EQ(float8_e4m3(-std::nanf("")).bits, 0xff);
}

TEST(float8_e5m2, past_the_largest_is_infinity) {
  EXPECT_EQ(static_cast<float>(float8_e5m2(std::nextafter(61440.0f, 0.0f))), 57344.0f);
  EXPECT_EQ(float8_e5m2(61440.0f).bits, 0x7c);
  EXPECT_EQ(float8_e5m2(-std::numeric_limits<float>::infinity()).bits, 0xfc);
  EXPECT_TRUE(std::isnan(static_cast<float>(float8_e5m2(std::nanf("")))));
  EXPECT_TRUE(std::isnan(static_cast<float>(float8_e5m2(std::bit_cast<float>(0x7f800001u)))));
}

static_assert(sizeof(float8_e4m3) == 1 && sizeof(float8_e5m2) == 1);
static_assert(std::is_trivially_copyable_v<float8_e4m3>);
static_assert(relpos::cache_storage<float8_e4m3> && !relpos::storage<float8_e4m3>);
static_assert(static_cast<float>(float8_e4m3(1.5f)) == 1.5f);

}  // namespace
