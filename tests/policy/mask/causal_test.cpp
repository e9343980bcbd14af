#include "relpos/policy/mask/causal.hpp"

#include <gtest/gtest.h>

#include "policy/mask/expect_visible.hpp"
#include "relpos/policy/mask/sliding_window.hpp"

namespace {

using relpos::index_t;
using support::expect_visible;
using support::inputs;
using support::meaning;
using support::two_heads;

TEST(mask, full_hides_nothing) { expect_visible(nullptr, relpos::full{}); }

TEST(mask, causal_hides_later_keys) {
  expect_visible([](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; },
                 relpos::causal{});
}

TEST(mask, band_keeps_a_window) {
  for (const index_t left : {0, 1, 20, 140}) {
    for (const index_t right : {0, 3, 65}) {
      SCOPED_TRACE(std::to_string(left) + " to the left, " + std::to_string(right));
      expect_visible([=](index_t, index_t q_pos,
                         index_t k_pos) { return q_pos - left <= k_pos && k_pos <= q_pos + right; },
                     relpos::band{left, right});
    }
  }
}

TEST(mask, sliding_window_counts_the_own_key) {
  for (const index_t size : {1, 2, 20, 141}) {
    SCOPED_TRACE(size);
    expect_visible([=](index_t, index_t q_pos,
                       index_t k_pos) { return q_pos - size < k_pos && k_pos <= q_pos; },
                   relpos::sliding_window{size});
    const inputs<float> in = two_heads(40, 170);
    EXPECT_TRUE(same_bits(attend(in, {}, relpos::sliding_window{size}),
                          attend(in, {}, relpos::band{size - 1, 0})));
  }
}

TEST(mask, sliding_window_has_a_key_at_least) {
  const relpos::attention_shape shape{};
  for (const index_t size : {index_t{0}, index_t{-3}, relpos::max_offset + 1}) {
    const relpos::status refused = relpos::sliding_window{size}.check(shape);
    EXPECT_EQ(refused.code, relpos::status_code::invalid_value);
    EXPECT_EQ(std::string(refused.message),
              "sliding_window: size is " + std::to_string(size) + ", must be 1 to 2^60");
  }
  EXPECT_TRUE(relpos::sliding_window{relpos::max_offset}.check(shape));
}

TEST(mask, several_are_anded) {
  expect_visible(
      [](index_t, index_t q_pos, index_t k_pos) { return q_pos - 30 <= k_pos && k_pos <= q_pos; },
      relpos::causal{}, relpos::band{30, 11});
  expect_visible([](index_t, index_t q_pos,
                    index_t k_pos) { return q_pos - 4 <= k_pos && k_pos <= q_pos + 11; },
                 relpos::band{4, 60}, relpos::band{30, 11});
}

TEST(mask, queries_are_the_last_rows_unless_said) {
  const inputs<float> in = two_heads(40, 170);
  const meaning means{
      .visible = [](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; }};
  expect_means(attend(in, {}, relpos::causal{}), in, means);
  // Moving the keys moves the queries with them.
  expect_means(attend(in, {.key_offset = 77}, relpos::causal{}), in, means);
}

TEST(mask, wide_bands_are_other_masks) {
  const inputs<float> in = two_heads(100, 260);
  const index_t widest = relpos::max_offset;
  EXPECT_TRUE(
      same_bits(attend(in, {}, relpos::band{widest, widest}), attend(in, {}, relpos::full{})));
  EXPECT_TRUE(same_bits(attend(in, {}, relpos::band{260, 100}), attend(in, {})));
  EXPECT_TRUE(same_bits(attend(in, {}, relpos::full{}), attend(in, {})));
  EXPECT_TRUE(same_bits(attend(in, {}, relpos::band{259, 0}), attend(in, {}, relpos::causal{})));
  EXPECT_TRUE(same_bits(attend(in, {}, relpos::band{widest, 0}), attend(in, {}, relpos::causal{})));
  EXPECT_FALSE(same_bits(attend(in, {}, relpos::band{258, 0}), attend(in, {}, relpos::causal{})));
}

}  // namespace
