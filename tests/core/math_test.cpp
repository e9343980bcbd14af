#include "relpos/core/math.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace {

template <class Real>
class math : public testing::Test {};
using reals = testing::Types<float, double>;
TYPED_TEST_SUITE(math, reals);

TYPED_TEST(math, abs_drops_the_sign) {
  EXPECT_EQ(relpos::abs(TypeParam(-2.5)), TypeParam(2.5));
  EXPECT_EQ(relpos::abs(TypeParam(2.5)), TypeParam(2.5));
  EXPECT_EQ(relpos::abs(TypeParam(-0.0)), TypeParam(0));
  EXPECT_EQ(relpos::abs(-std::numeric_limits<TypeParam>::infinity()),
            std::numeric_limits<TypeParam>::infinity());
  EXPECT_TRUE(std::isnan(relpos::abs(std::numeric_limits<TypeParam>::quiet_NaN())));
}

TYPED_TEST(math, max_and_min_order_two_numbers) {
  const TypeParam infinity = std::numeric_limits<TypeParam>::infinity();
  for (const TypeParam a : {-infinity, TypeParam(-1), TypeParam(0), TypeParam(3), infinity}) {
    for (const TypeParam b : {-infinity, TypeParam(-1), TypeParam(0), TypeParam(3), infinity}) {
      EXPECT_EQ(relpos::max(a, b), std::fmax(a, b));
      EXPECT_EQ(relpos::min(a, b), std::fmin(a, b));
    }
  }
}

TYPED_TEST(math, max_and_min_give_the_second_where_one_is_not_a_number) {
  const TypeParam nan = std::numeric_limits<TypeParam>::quiet_NaN();
  EXPECT_EQ(relpos::max(nan, TypeParam(1)), TypeParam(1));
  EXPECT_EQ(relpos::min(nan, TypeParam(1)), TypeParam(1));
  EXPECT_TRUE(std::isnan(relpos::max(TypeParam(1), nan)));
  EXPECT_TRUE(std::isnan(relpos::min(TypeParam(1), nan)));
}

TYPED_TEST(math, select_takes_the_first_if_true) {
  EXPECT_EQ(relpos::select(true, TypeParam(1), TypeParam(2)), TypeParam(1));
  EXPECT_EQ(relpos::select(false, TypeParam(1), TypeParam(2)), TypeParam(2));
}

}  // namespace
