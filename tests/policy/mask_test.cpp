#include "relpos/policy/mask.hpp"

#include <gtest/gtest.h>

#include "support/attend.hpp"
#include "support/naive.hpp"

namespace {

using relpos::index;
using support::inputs;
using support::meaning;

inputs<float> two_heads(index queries, index keys) {
  return support::random_inputs({.batch = 1,
                                 .query_heads = 2,
                                 .key_heads = 2,
                                 .query_length = queries,
                                 .key_length = keys,
                                 .head_dim = 8,
                                 .value_dim = 5},
                                static_cast<std::uint32_t>(61 + queries + keys));
}

struct lengths {
  index queries;
  index keys;
};

constexpr lengths shapes[] = {{1, 1}, {1, 150}, {150, 1}, {70, 300}, {300, 70}, {129, 129}};

/// Where the first query stands: before, within, at the end of and after the keys.
std::vector<index> offsets(const lengths& of) {
  return {-of.queries - 3, -1, 0, of.keys - of.queries, of.keys - 1, of.keys + 40};
}

template <class... Masks>
void expect_visible(std::function<bool(index, index, index)> visible, const Masks&... masks) {
  for (const lengths& of : shapes) {
    const inputs<float> in = two_heads(of.queries, of.keys);
    for (const index query_offset : offsets(of)) {
      SCOPED_TRACE(std::to_string(of.queries) + " queries from " + std::to_string(query_offset) +
                   ", " + std::to_string(of.keys) + " keys");
      expect_means(attend(in, {.query_offset = query_offset}, masks...), in,
                   {.visible = visible, .query_offset = query_offset});
    }
  }
}

TEST(mask, full_hides_nothing) { expect_visible(nullptr, relpos::full{}); }

TEST(mask, causal_hides_later_keys) {
  expect_visible([](index, index q_pos, index k_pos) { return k_pos <= q_pos; }, relpos::causal{});
}

TEST(mask, band_keeps_a_window) {
  for (const index left : {0, 1, 20, 140}) {
    for (const index right : {0, 3, 65}) {
      SCOPED_TRACE(std::to_string(left) + " to the left, " + std::to_string(right));
      expect_visible([=](index, index q_pos,
                         index k_pos) { return q_pos - left <= k_pos && k_pos <= q_pos + right; },
                     relpos::band{left, right});
    }
  }
}

TEST(mask, several_are_anded) {
  expect_visible(
      [](index, index q_pos, index k_pos) { return q_pos - 30 <= k_pos && k_pos <= q_pos; },
      relpos::causal{}, relpos::band{30, 11});
  expect_visible(
      [](index, index q_pos, index k_pos) { return q_pos - 4 <= k_pos && k_pos <= q_pos + 11; },
      relpos::band{4, 60}, relpos::band{30, 11});
}

TEST(mask, queries_are_the_last_rows_unless_said) {
  const inputs<float> in = two_heads(40, 170);
  const meaning means{.visible = [](index, index q_pos, index k_pos) { return k_pos <= q_pos; }};
  expect_means(attend(in, {}, relpos::causal{}), in, means);
  // Moving the keys moves the queries with them.
  expect_means(attend(in, {.key_offset = 77}, relpos::causal{}), in, means);
}

TEST(mask, wide_bands_are_other_masks) {
  const inputs<float> in = two_heads(100, 260);
  const index widest = relpos::max_offset;
  EXPECT_TRUE(
      same_bits(attend(in, {}, relpos::band{widest, widest}), attend(in, {}, relpos::full{})));
  EXPECT_TRUE(same_bits(attend(in, {}, relpos::band{260, 100}), attend(in, {})));
  EXPECT_TRUE(same_bits(attend(in, {}, relpos::full{}), attend(in, {})));
  EXPECT_TRUE(same_bits(attend(in, {}, relpos::band{259, 0}), attend(in, {}, relpos::causal{})));
  EXPECT_TRUE(same_bits(attend(in, {}, relpos::band{widest, 0}), attend(in, {}, relpos::causal{})));
  EXPECT_FALSE(same_bits(attend(in, {}, relpos::band{258, 0}), attend(in, {}, relpos::causal{})));
}

}  // namespace
