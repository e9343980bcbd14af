// Conversions of storage types have the same bits in every mode of the floating-point unit, by
// scalars and by packs.

#include <gtest/gtest.h>

#include <type_traits>

#include "support/conversions.hpp"

namespace {

using relpos::bfloat16;
using relpos::half;
using relpos::int8;
using relpos::native;

using narrower = std::conditional_t<RELPOS_HAS_AVX2, relpos::avx2, native>;

template <class Stored>
std::string faults_of_widening() {
  return support::faults_of_widening<Stored, native, narrower, relpos::vector128,
                                     relpos::generic<4>, relpos::generic<16>>();
}

TEST(floating_point_modes, take_effect) { EXPECT_EQ(support::faults_of_modes(), ""); }

TEST(floating_point_modes, bfloat16_to_float) { EXPECT_EQ(faults_of_widening<bfloat16>(), ""); }
TEST(floating_point_modes, half_to_float) { EXPECT_EQ(faults_of_widening<half>(), ""); }
TEST(floating_point_modes, int8_to_float) { EXPECT_EQ(faults_of_widening<int8>(), ""); }

TEST(floating_point_modes, float8_to_float) {
  EXPECT_EQ(faults_of_widening<relpos::float8_e4m3>(), "");
  EXPECT_EQ(faults_of_widening<relpos::float8_e5m2>(), "");
}

TEST(floating_point_modes, float_to_bfloat16) {
  EXPECT_EQ(support::faults_of_rounding<bfloat16>(), "");
}
TEST(floating_point_modes, float_to_half) { EXPECT_EQ(support::faults_of_rounding<half>(), ""); }

TEST(floating_point_modes, rows_to_int8) { EXPECT_EQ(support::faults_of_quantising(), ""); }
TEST(floating_point_modes, rows_to_8_bits) {
  EXPECT_EQ(support::faults_of_dividing<int8>(), "");
  EXPECT_EQ(support::faults_of_dividing<relpos::float8_e4m3>(), "");
  EXPECT_EQ(support::faults_of_dividing<relpos::float8_e5m2>(), "");
}
TEST(floating_point_modes, scales_of_int8) { EXPECT_EQ(support::faults_of_scales(), ""); }

}  // namespace
