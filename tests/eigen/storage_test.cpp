// Storage types against Eigen's of the same names.

#include "relpos/eigen/storage.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

namespace {

template <class Eigens>
class eigen_storage : public testing::Test {};
using storage_types = testing::Types<Eigen::bfloat16, Eigen::half>;
TYPED_TEST_SUITE(eigen_storage, storage_types);

TYPED_TEST(eigen_storage, every_bit_pattern_means_the_same) {
  using stored = typename relpos::storage_of<TypeParam>::type;
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const auto pattern = static_cast<std::uint16_t>(bits);
    const auto ours = static_cast<float>(std::bit_cast<stored>(pattern));
    const auto theirs = static_cast<float>(std::bit_cast<TypeParam>(pattern));
    if (std::isnan(theirs)) {
      ASSERT_TRUE(std::isnan(ours)) << std::hex << bits;
    } else {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(ours), std::bit_cast<std::uint32_t>(theirs))
          << std::hex << bits;
    }
  }
}

TYPED_TEST(eigen_storage, floats_are_rounded_to_the_same_bits) {
  using stored = typename relpos::storage_of<TypeParam>::type;
  constexpr std::uint64_t stride = 2999;
  for (std::uint64_t bits = 0; bits < 0x100000000u; bits += stride) {
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    if (std::isnan(value)) continue;  // any NaN will do
    ASSERT_EQ(stored(value).bits, std::bit_cast<std::uint16_t>(TypeParam(value)))
        << std::hexfloat << value;
  }
}

static_assert(std::is_same_v<relpos::storage_of<float>::type, float>);
static_assert(std::is_same_v<relpos::storage_of<Eigen::bfloat16>::type, relpos::bfloat16>);
static_assert(std::is_same_v<relpos::storage_of<Eigen::half>::type, relpos::half>);
static_assert(std::is_void_v<relpos::storage_of<double>::type>);

}  // namespace
