#include "relpos/core/index.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace {

using relpos::ceil_div;
using relpos::floor_div;
using relpos::index;

TEST(index, floor_div_is_the_largest_quotient_whose_product_does_not_exceed_the_value) {
  for (index value = -200; value <= 200; ++value) {
    for (index divisor = 1; divisor <= 20; ++divisor) {
      const index quotient = floor_div(value, divisor);
      EXPECT_LE(quotient * divisor, value);
      EXPECT_GT((quotient + 1) * divisor, value);
    }
  }
}

TEST(index, ceil_div_is_the_smallest_quotient_whose_product_reaches_the_value) {
  for (index value = 0; value <= 400; ++value) {
    for (index divisor = 1; divisor <= 20; ++divisor) {
      const index quotient = ceil_div(value, divisor);
      EXPECT_GE(quotient * divisor, value);
      EXPECT_LT((quotient - 1) * divisor, value);
    }
  }
}

static_assert(sizeof(index) == 8 && std::numeric_limits<index>::is_signed);
static_assert(floor_div(-1, 128) == -1 && floor_div(-128, 128) == -1 && floor_div(-129, 128) == -2);
static_assert(floor_div(std::numeric_limits<index>::min(), 2) == -(index{1} << 62));
static_assert(floor_div(std::numeric_limits<index>::max(), 1) == std::numeric_limits<index>::max());
static_assert(ceil_div(0, 128) == 0 && ceil_div((index{1} << 62) + 1, 2) == (index{1} << 61) + 1);

}  // namespace
