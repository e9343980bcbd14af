#include "relpos/simd/tanh.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "simd/ulp.hpp"

namespace {

using limits = std::numeric_limits<float>;
using relpos_test::append_around;
using relpos_test::append_sweep;
using relpos_test::ulp_error;

template <class Isa>
std::vector<float> tanh_by(const std::vector<float>& xs) {
  return relpos_test::by_packs<Isa>(xs, [](auto x) { return relpos::tanh<Isa>(x); });
}

template <class Isa>
class tanh_of : public testing::Test {};
using isas = testing::Types<relpos::native, relpos::generic<4>, relpos::generic<16>>;
TYPED_TEST_SUITE(tanh_of, isas);

/// Where the exponent rounds to another whole number, and where the result saturates.
std::vector<float> corners() {
  std::vector<float> xs;
  for (const float x : {0.17328680f, 0.5198604f, 2.2527283f, 9.0f, 9.02f, 10.0f, 1.0f, 0.5f,
                        limits::min(), limits::max()}) {
    append_around(xs, x, 3000);
    append_around(xs, -x, 3000);
  }
  append_around(xs, 0.0f, 3000);
  return xs;
}

std::vector<float> magnitudes() {
  std::vector<float> xs;
  append_sweep(xs, 0.0f, limits::infinity(), 1999);
  return xs;
}

template <class Isa>
void expect_three_ulp(const std::vector<float>& xs) {
  const std::vector<float> results = tanh_by<Isa>(xs);
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const double exact = std::tanh(static_cast<double>(xs[i]));
    ASSERT_LE(ulp_error(results[i], exact), 3.0) << std::hexfloat << xs[i];
  }
}

TYPED_TEST(tanh_of, is_within_three_ulp_at_corners) { expect_three_ulp<TypeParam>(corners()); }

TYPED_TEST(tanh_of, is_within_three_ulp_over_the_bit_space) {
  expect_three_ulp<TypeParam>(magnitudes());
}

TYPED_TEST(tanh_of, is_odd) {
  std::vector<float> xs = magnitudes();
  append_around(xs, 0.17328680f, 3000);
  std::vector<float> opposite = xs;
  for (float& x : opposite) x = -x;
  const std::vector<float> results = tanh_by<TypeParam>(xs);
  const std::vector<float> opposite_results = tanh_by<TypeParam>(opposite);
  for (std::size_t i = 0; i < xs.size(); ++i) {
    ASSERT_EQ(opposite_results[i], -results[i]) << std::hexfloat << xs[i];
  }
}

TYPED_TEST(tanh_of, saturates_at_one) {
  std::vector<float> xs{limits::infinity(), limits::max(), 100.0f, 10.0f};
  append_sweep(xs, 9.02f, limits::infinity(), 99991);
  append_sweep(xs, 9.02f, 12.0f, 7);
  for (const float result : tanh_by<TypeParam>(xs)) ASSERT_EQ(result, 1.0f);
  for (float& x : xs) x = -x;
  for (const float result : tanh_by<TypeParam>(xs)) ASSERT_EQ(result, -1.0f);
}

TYPED_TEST(tanh_of, never_exceeds_one) {
  std::vector<float> xs;
  append_sweep(xs, 4.0f, 20.0f, 5);
  for (const float result : tanh_by<TypeParam>(xs)) ASSERT_LE(result, 1.0f);
}

TYPED_TEST(tanh_of, zero_gives_zero) {
  for (const float result : tanh_by<TypeParam>({0.0f, -0.0f})) EXPECT_EQ(result, 0.0f);
}

TYPED_TEST(tanh_of, nan_stays_nan) {
  std::vector<float> xs;
  for (const std::uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7f800001u, 0xffffffffu}) {
    xs.push_back(std::bit_cast<float>(bits));
  }
  for (const float result : tanh_by<TypeParam>(xs)) EXPECT_TRUE(std::isnan(result));
}

}  // namespace
