#include "relpos/core/index.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace {

using relpos::ceil_div;
using relpos::floor_div;
using relpos::index_t;

TEST(index_t, floor_div_is_the_largest_quotient_whose_product_does_not_exceed_the_value) {
  for (index_t value = -200; value <= 200; ++value) {
    for (index_t divisor = 1; divisor <= 20; ++divisor) {
      const index_t quotient = floor_div(value, divisor);
      EXPECT_LE(quotient * divisor, value);
      EXPECT_GT((quotient + 1) * divisor, value);
    }
  }
}

TEST(index_t, ceil_div_is_the_smallest_quotient_whose_product_reaches_the_value) {
  for (index_t value = 0; value <= 400; ++value) {
    for (index_t divisor = 1; divisor <= 20; ++divisor) {
      const index_t quotient = ceil_div(value, divisor);
      EXPECT_GE(quotient * divisor, value);
      EXPECT_LT((quotient - 1) * divisor, value);
    }
  }
}

static_assert(sizeof(index_t) == 8 && std::numeric_limits<index_t>::is_signed);
static_assert(floor_div(-1, 128) == -1 && floor_div(-128, 128) == -1 && floor_div(-129, 128) == -2);
static_assert(floor_div(std::numeric_limits<index_t>::min(), 2) == -(index_t{1} << 62));
static_assert(floor_div(std::numeric_limits<index_t>::max(), 1) ==
              std::numeric_limits<index_t>::max());
static_assert(ceil_div(0, 128) == 0 &&
              ceil_div((index_t{1} << 62) + 1, 2) == (index_t{1} << 61) + 1);

}  // namespace
