#include "relpos/policy/sink_logits.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "relpos/merge.hpp"
#include "relpos/policy/additive_bias.hpp"
#include "relpos/policy/mask/causal.hpp"
#include "relpos/policy/temperature.hpp"
#include "support/attend.hpp"
#include "support/statistics.hpp"

namespace {

using relpos::index_t;
using support::collected;
using support::inputs;
using support::meaning;

inputs<float> four_heads() {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 4,
                                 .key_heads = 2,
                                 .query_length = 70,
                                 .key_length = 200,
                                 .head_dim = 16,
                                 .value_dim = 6},
                                21);
}

const std::vector<float> sinks{0.0f, 2.5f, -3.0f, 9.0f};

meaning causal_with_sinks() {
  return {
      .visible = [](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; },
      .sink =
          [](index_t head) { return static_cast<double>(sinks[static_cast<std::size_t>(head)]); }};
}

TEST(sink_logits, join_the_denominator) {
  const inputs<float> in = four_heads();
  collected statistics(support::rows_of(in));
  const relpos::options opts{.statistics = statistics.views()};
  const meaning means = causal_with_sinks();
  expect_means(attend(in, opts, relpos::sink_logits{sinks}, relpos::causal{}), in, means);
  expect_statistics(statistics, naive_attention<double>(in, means).statistics,
                    naive_attention<float>(in, means).statistics);
}

TEST(sink_logits, are_not_divided_by_the_temperature) {
  const inputs<float> in = four_heads();
  meaning means = causal_with_sinks();
  means.temperature = 0.5;
  expect_means(
      attend(in, {}, relpos::sink_logits{sinks}, relpos::causal{}, relpos::temperature{0.5}), in,
      means);
}

TEST(sink_logits, of_rows_join_the_denominators_of_their_rows) {
  for (const index_t queries : {1, 3, 70, 200}) {
    inputs<float> in = four_heads();
    in.q = support::random_tensor({2, 4, queries, 16}, 23);
    const support::tensor<float> logits = support::random_tensor({2, 4, queries, 1}, 24, 5.0f);
    const relpos::row_sink_logits policy{
        relpos::view<const float, 3>(logits.values.data(), {2, 4, queries})};
    meaning means = causal_with_sinks();
    means.sink = {};
    means.row_sink = [&](index_t batch, index_t head, index_t row) {
      return static_cast<double>(logits(batch, head, row, 0));
    };
    for (const auto kernel : {relpos::kernel_class::prefill, relpos::kernel_class::decode}) {
      SCOPED_TRACE(queries);
      expect_means(attend(in, {.kernel = kernel}, policy, relpos::causal{}), in, means);
    }
    collected statistics(support::rows_of(in));
    const relpos::options opts{.statistics = statistics.views()};
    expect_means(attend(in, opts, policy, relpos::causal{}), in, means);
    expect_statistics(statistics, naive_attention<double>(in, means).statistics,
                      naive_attention<float>(in, means).statistics);
  }
}

// Beside a bias that hides every key of a row by the lowest float.
TEST(sink_logits, of_rows_beside_the_lowest_bias) {
  const inputs<float> in = four_heads();
  support::tensor<float> lowest({1, 1, 70, 1});
  support::tensor<float> logits({2, 4, 70, 1}, -support::infinity);
  for (index_t row = 0; row < 70; row += 2) {
    lowest(0, 0, row, 0) = std::numeric_limits<float>::lowest();
    for (index_t head = 0; head < 4; ++head) logits(1, head, row, 0) = 0.5f;
  }
  const relpos::row_sink_logits policy{
      relpos::view<const float, 3>(logits.values.data(), {2, 4, 70})};
  const auto got = attend(in, {}, policy, relpos::additive_bias{lowest.view()});
  for (index_t head = 0; head < 4; ++head) {
    for (index_t c = 0; c < 6; ++c) {
      EXPECT_EQ(got.out(1, head, 2, c), 0.0f);  // the sink has all the weight
      EXPECT_NE(got.out(0, head, 2, c), 0.0f);  // the mean of all values
    }
    EXPECT_NEAR(got.lse(1, head, 2), 0.5f, 1e-6f);
  }
}

TEST(sink_logits, of_rows_fit_the_call) {
  const support::tensor<float> logits = support::random_tensor({2, 4, 70, 1}, 24);
  const auto policy = [&](std::array<index_t, 3> shape) {
    return relpos::row_sink_logits{relpos::view<const float, 3>(logits.values.data(), shape)};
  };
  const relpos::attention_shape shape{.batch = 2, .query_heads = 4, .query_length = 70};
  EXPECT_TRUE(policy({2, 4, 70}).check(shape));
  EXPECT_STREQ(
      policy({2, 4, 69}).check(shape).message,
      "row_sink_logits: values are [2, 4, 69], must be [batch, heads, query] = [2, 4, 70]");
  for (const float wrong : {NAN, INFINITY, 2e30f, -2e30f}) {
    support::tensor<float> some = logits;
    some(1, 2, 3, 0) = wrong;
    const relpos::row_sink_logits refused{
        relpos::view<const float, 3>(some.values.data(), {2, 4, 70})};
    EXPECT_EQ(refused.check(shape).code, relpos::status_code::invalid_value) << wrong;
  }
  EXPECT_TRUE(policy({2, 4, 70}).reads(relpos::byte_range::of(&logits.values.back(), 4)));
  const float other = 0.0f;
  EXPECT_FALSE(policy({2, 4, 70}).reads(relpos::byte_range::of(&other, 4)));
}

TEST(sink_logits, are_all_that_an_empty_row_has) {
  const auto got =
      attend(four_heads(), {.query_offset = -100}, relpos::sink_logits{sinks}, relpos::causal{});
  for (const float value : got.out.values) EXPECT_EQ(value, 0.0f);
  for (index_t head = 0; head < 4; ++head) {
    const float sink = sinks[static_cast<std::size_t>(head)];
    EXPECT_NEAR(got.lse(1, head, 69), sink, 1e-6f);
  }
}

TEST(sink_logits, of_minus_infinity_are_none) {
  const inputs<float> in = four_heads();
  const std::vector<float> none(4, -support::infinity);
  EXPECT_TRUE(same_bits(attend(in, {}, relpos::sink_logits{none}, relpos::causal{}),
                        attend(in, {}, relpos::causal{})));
}

TEST(sink_logits, far_above_all_scores_leave_nothing) {
  const std::vector<float> high(4, 1e30f);
  const auto got = attend(four_heads(), {}, relpos::sink_logits{high});
  for (const float value : got.out.values) EXPECT_EQ(value, 0.0f);
  for (const float value : got.lse.values) EXPECT_NEAR(value, 1e30f, 1e24f);
}

// Slices of the keys cannot each have the sink: it is a state of its own.
TEST(sink_logits, merge_as_a_state) {
  const inputs<float> in = four_heads();
  auto without = attend(in, {}, relpos::causal{});
  support::tensor<float> nothing({2, 4, 70, 6});
  support::tensor<float, 3> lse({2, 4, 70});
  for (index_t b = 0; b < 2; ++b) {
    for (index_t h = 0; h < 4; ++h) {
      for (index_t row = 0; row < 70; ++row) lse(b, h, row) = sinks[static_cast<std::size_t>(h)];
    }
  }
  ASSERT_TRUE(relpos::merge(relpos::serial{}, {without.out.view(), without.lse.view()},
                            {nothing.view(), lse.view()}));
  const auto with = attend(in, {}, relpos::sink_logits{sinks}, relpos::causal{});
  for (std::size_t i = 0; i < with.out.values.size(); ++i) {
    EXPECT_NEAR(without.out.values[i], with.out.values[i], 1e-6);
  }
}

TEST(sink_logits, are_one_per_query_head) {
  const relpos::attention_shape shape{.batch = 1, .query_heads = 2, .key_heads = 2};
  EXPECT_STREQ(relpos::sink_logits{sinks}.check(shape).message,
               "sink_logits: 4 values for a query of 2 heads");
  for (const float wrong : {INFINITY, NAN, 3e38f}) {
    const std::vector<float> values{-INFINITY, wrong};
    EXPECT_EQ(relpos::sink_logits{values}.check(shape).code, relpos::status_code::invalid_value);
  }
}

}  // namespace
