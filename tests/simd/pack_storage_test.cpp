// Loading 16-bit storage as floats: all 65536 bit patterns of both types.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "relpos/simd/pack.hpp"

namespace {

using relpos::bfloat16;
using relpos::half;

template <class Isa>
class pack_storage : public testing::Test {};
using isas = testing::Types<relpos::native, relpos::generic<4>, relpos::generic<16>>;
TYPED_TEST_SUITE(pack_storage, isas);

/// Sign, exponent and mantissa put together by multiplication.
float meaning(std::uint32_t bits, int mantissa_bits, int bias) {
  const int exponent = static_cast<int>((bits & 0x7fffu) >> mantissa_bits);
  const auto mantissa = static_cast<float>(bits & ((1u << mantissa_bits) - 1));
  const auto hidden = static_cast<float>(exponent == 0 ? 0 : 1 << mantissa_bits);
  const float sign = bits & 0x8000u ? -1.0f : 1.0f;
  if (exponent == (1 << (15 - mantissa_bits)) - 1) {
    return mantissa == 0.0f ? sign * INFINITY : std::nanf("");
  }
  return sign * std::ldexp(hidden + mantissa, std::max(exponent, 1) - bias - mantissa_bits);
}

template <class Isa, class Storage>
void expect_every_pattern(int mantissa_bits, int bias) {
  constexpr std::size_t n = relpos::lanes<Isa>;
  // One element off any alignment.
  std::vector<Storage> stored(0x10000 + 1);
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
    stored[bits + 1].bits = static_cast<std::uint16_t>(bits);
  }
  for (std::uint32_t first = 0; first < 0x10000u; first += n) {
    std::array<float, n> lanes;
    relpos::float_pack<Isa>::load(stored.data() + first + 1).store(lanes.data());
    for (std::uint32_t i = 0; i < n; ++i) {
      const float wanted = meaning(first + i, mantissa_bits, bias);
      if (std::isnan(wanted)) {
        ASSERT_TRUE(std::isnan(lanes[i])) << std::hex << first + i;
      } else {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(lanes[i]), std::bit_cast<std::uint32_t>(wanted))
            << std::hex << first + i;
      }
    }
  }
}

TYPED_TEST(pack_storage, loads_every_bfloat16) {
  expect_every_pattern<TypeParam, bfloat16>(7, 127);
}

TYPED_TEST(pack_storage, loads_every_half) { expect_every_pattern<TypeParam, half>(10, 15); }

}  // namespace
