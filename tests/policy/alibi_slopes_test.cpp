#include "relpos/policy/alibi_slopes.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "support/golden.hpp"

namespace {

using relpos::alibi_rule;
using relpos::alibi_slopes;
using relpos::index_t;

/// Within a rounding to float.
void expect_slope(float slope, double exact) { EXPECT_NEAR(slope, exact, exact * 0x1p-24); }

TEST(alibi_slopes, are_those_of_the_authors) {
  const auto by_heads = support::golden("alibi_slopes.json").at("slopes_by_heads");
  ASSERT_EQ(by_heads.size(), 24u);
  for (const auto& [heads, exact] : by_heads.items()) {
    SCOPED_TRACE(heads + " heads");
    const std::vector<float> slopes = alibi_slopes(std::stoll(heads));
    ASSERT_EQ(slopes.size(), exact.size());
    for (std::size_t h = 0; h < slopes.size(); ++h) expect_slope(slopes[h], exact[h]);
  }
}

TEST(alibi_slopes, interleave_the_sequence_of_twice_the_power_of_two) {
  for (const double max_bias : {8.0, 16.0, 5.0}) {
    for (index_t heads = 1; heads <= 70; ++heads) {
      index_t power = 1;
      while (2 * power <= heads) power *= 2;
      const std::vector<float> slopes = alibi_slopes(heads, alibi_rule::interleaved, max_bias);
      for (index_t h = 0; h < heads; ++h) {
        // The heads past the power of two take every other slope of the next power's sequence.
        const double step =
            h < power ? static_cast<double>(h + 1) / static_cast<double>(power)
                      : static_cast<double>(2 * (h - power) + 1) / static_cast<double>(2 * power);
        expect_slope(slopes[static_cast<std::size_t>(h)], std::pow(2.0, -max_bias * step));
      }
    }
  }
}

TEST(alibi_slopes, geometric_rule_is_one_sequence_for_every_head_count) {
  for (const double max_bias : {8.0, 3.0}) {
    for (index_t heads = 1; heads <= 70; ++heads) {
      const std::vector<float> slopes = alibi_slopes(heads, alibi_rule::geometric, max_bias);
      const double ratio = std::pow(2.0, -max_bias / static_cast<double>(heads));
      for (index_t h = 0; h < heads; ++h) {
        expect_slope(slopes[static_cast<std::size_t>(h)],
                     std::pow(ratio, static_cast<double>(h + 1)));
      }
    }
  }
}

TEST(alibi_slopes, rules_agree_at_powers_of_two_only) {
  for (index_t heads = 1; heads <= 64; ++heads) {
    const bool power_of_two = (heads & (heads - 1)) == 0;
    EXPECT_EQ(alibi_slopes(heads) == alibi_slopes(heads, alibi_rule::geometric), power_of_two)
        << heads;
  }
}

TEST(alibi_slopes, a_shard_has_the_slopes_of_its_heads) {
  for (const alibi_rule rule : {alibi_rule::interleaved, alibi_rule::geometric}) {
    const std::vector<float> whole = alibi_slopes(12, rule, 6.0);
    for (index_t first = 0; first <= 12; ++first) {
      for (index_t count = 0; first + count <= 12; ++count) {
        const std::vector<float> shard =
            alibi_slopes(relpos::head_shard{first, count, 12}, rule, 6.0);
        EXPECT_EQ(shard, std::vector<float>(whole.begin() + first, whole.begin() + first + count));
      }
    }
  }
}

TEST(alibi_slopes, what_is_no_shard_has_none) {
  for (const relpos::head_shard shard : {relpos::head_shard{6, 4, 8},
                                         {-1, 2, 8},
                                         {0, -1, 8},
                                         {9, 0, 8},
                                         {0, 0, -1},
                                         {1, std::numeric_limits<index_t>::max(), 8}}) {
    EXPECT_TRUE(alibi_slopes(shard).empty());
  }
  EXPECT_TRUE(alibi_slopes(-1).empty());
  EXPECT_TRUE(alibi_slopes(0).empty());
}

}  // namespace
