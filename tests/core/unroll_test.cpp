#include "relpos/core/unroll.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace {

TEST(unroll, counts_from_zero_in_order) {
  std::vector<int> seen;
  relpos::unroll<5>([&](auto i) { seen.push_back(i); });
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(unroll, does_nothing_zero_times) {
  int calls = 0;
  relpos::unroll<0>([&](auto) { ++calls; });
  EXPECT_EQ(calls, 0);
}

TEST(unroll, gives_the_count_as_a_constant) {
  std::array<int, 3> squares{};
  relpos::unroll<3>([&](auto i) {
    constexpr int constant = i;
    std::get<constant>(squares) = constant * constant;
  });
  EXPECT_EQ(squares, (std::array<int, 3>{0, 1, 4}));
}

}  // namespace
