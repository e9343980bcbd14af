#include "relpos/model/alibi_slopes.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "relpos/policy/alibi.hpp"

#include "support/golden.hpp"

namespace {

using relpos::alibi_rule;
using relpos::alibi_slopes;
using relpos::head_shard;
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
        const std::vector<float> shard = alibi_slopes(head_shard{first, count, 12}, rule, 6.0);
        EXPECT_EQ(shard, std::vector<float>(whole.begin() + first, whole.begin() + first + count));
      }
    }
  }
}

TEST(alibi_slopes, padding_of_a_shard_has_slope_0) {
  // 66 heads of 8 ranks with 9 each: the last rank has 3 of its own.
  const std::vector<float> whole = alibi_slopes(66);
  const std::vector<float> last = alibi_slopes(head_shard{63, 9, 66});
  ASSERT_EQ(last.size(), 9u);
  for (std::size_t h = 0; h < 9; ++h) EXPECT_EQ(last[h], h < 3 ? whole[63 + h] : 0.0f) << h;

  for (const alibi_rule rule : {alibi_rule::interleaved, alibi_rule::geometric}) {
    for (index_t ranks = 1; ranks <= 6; ++ranks) {
      const index_t count = 13;  // ranks of 13: 5 heads too many in the last
      const index_t total = ranks * count - 5;
      std::vector<float> joined;
      for (index_t rank = 0; rank < ranks; ++rank) {
        const std::vector<float> own = alibi_slopes(head_shard{rank * count, count, total}, rule);
        joined.insert(joined.end(), own.begin(), own.end());
      }
      std::vector<float> padded = alibi_slopes(total, rule);
      padded.insert(padded.end(), 5, 0.0f);
      EXPECT_EQ(joined, padded);
    }
  }
}

bool contains(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

struct refused_shard {
  head_shard shard;
  std::string words;
};

TEST(alibi_slopes, what_is_no_shard_has_none_and_says_what_was_given) {
  constexpr index_t most = std::numeric_limits<index_t>::max();
  const std::vector<refused_shard> cases{
      {{-1, 2, 8}, "first is -1, count 2, total 8: none may be negative"},
      {{0, -1, 8}, "first is 0, count -1, total 8: none may be negative"},
      {{0, 0, -1}, "first is 0, count 0, total -1: none may be negative"},
      {{8, 8, 8}, "first is 8, count 8, total 8: first must be below total"},
      {{70, 5, 66}, "first is 70, count 5, total 66: first must be below total"},
      {{9, 0, 8}, "first is 9, count 0, total 8: first must be below total"},
      {{0, 1, 0}, "first is 0, count 1, total 0: first must be below total"},
      {{1, most, 8}, "count must be at most 2^60"},
  };
  const relpos::attention_shape shape{.batch = 1, .query_heads = 9, .key_heads = 9};
  for (const auto& [shard, words] : cases) {
    const std::vector<float> slopes = alibi_slopes(shard);
    EXPECT_TRUE(slopes.empty());
    EXPECT_EQ(shard.check().code, relpos::status_code::invalid_value);
    EXPECT_TRUE(contains(shard.check().message, "head_shard: ")) << shard.check().message;
    EXPECT_TRUE(contains(shard.check().message, words)) << shard.check().message;

    const relpos::status refusal = relpos::alibi{slopes}.check(shape);
    EXPECT_EQ(refusal.code, relpos::status_code::invalid_shape);
    for (const char* cause : {"0 slopes for a query of 9 heads", "negative", "beyond all heads"}) {
      EXPECT_TRUE(contains(refusal.message, cause)) << refusal.message;
    }
  }
  EXPECT_TRUE(alibi_slopes(-1).empty());
}

TEST(alibi_slopes, no_heads_are_a_shard_too) {
  for (const head_shard shard : {head_shard{0, 0, 0}, {3, 0, 8}, {8, 0, 8}, {7, 1, 8}, {0, 9, 5}}) {
    EXPECT_TRUE(shard.check()) << shard.check().message;
    EXPECT_EQ(static_cast<index_t>(alibi_slopes(shard).size()), shard.count);
  }
  const std::vector<float> none = alibi_slopes(0);
  EXPECT_TRUE(none.empty());
  EXPECT_TRUE(relpos::alibi{none}.check({.batch = 1, .query_heads = 0, .key_heads = 0}));
}

}  // namespace
