// The statistics that a call gives for its rows, against sums over the probabilities of each row.

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/executors.hpp"
#include "support/odd_shapes.hpp"
#include "support/sixteen_lanes.hpp"
#include "support/statistics.hpp"

namespace {

using relpos::index_t;
using support::collected;
using support::inputs;
using support::meaning;
using support::sizes;

const std::vector<float> slopes{0.4f, 0.01f};

constexpr sizes long_shape{.batch = 2,
                           .query_heads = 2,
                           .key_heads = 1,
                           .query_length = 150,
                           .key_length = 700,
                           .head_dim = 16,
                           .value_dim = 8};

double line(index_t head, index_t distance) {
  return static_cast<double>(slopes[static_cast<std::size_t>(head)]) *
         static_cast<double>(distance);
}
bool is_causal(index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; }

/// The statistics of a call; what else it writes has the bits of a call without.
template <class Isa = relpos::native, class... Policies>
collected collect(const inputs<float>& in, relpos::options opts, const Policies&... policies) {
  collected result(support::rows_of(in));
  opts.kernel = relpos::kernel_class::prefill;  // as in calls with statistics
  const auto plain = support::attend<Isa>(in, opts, policies...);
  opts.statistics = result.views();
  EXPECT_TRUE(same_bits(support::attend<Isa>(in, opts, policies...), plain));
  return result;
}

template <class... Policies>
void expect_meant(const inputs<float>& in, const relpos::options& opts, const meaning& means,
                  const Policies&... policies) {
  expect_statistics(collect(in, opts, policies...), naive_attention<double>(in, means).statistics,
                    naive_attention<float>(in, means).statistics);
}

TEST(statistics, of_plain_attention) {
  expect_meant(support::random_inputs(long_shape, 3), {}, {});
}

TEST(statistics, of_every_stage) {
  const inputs<float> in = support::random_inputs(long_shape, 4);
  const meaning means{
      .bias = line, .visible = is_causal, .softcap = 4.0, .temperature = double{0.8f}};
  expect_meant(in, {.softcap = 4.0f}, means, relpos::alibi{slopes}, relpos::causal{},
               relpos::temperature{0.8f});
}

TEST(statistics, of_odd_shapes) {
  for (const sizes& of : support::odd_lengths()) {
    SCOPED_TRACE(std::to_string(of.query_length) + " x " + std::to_string(of.key_length));
    expect_meant(support::random_inputs(of, 5), {}, {.visible = is_causal}, relpos::causal{});
  }
}

TEST(statistics, on_generic_vectors) {
  const inputs<float> in = support::random_inputs(long_shape, 6);
  const meaning means{.visible = is_causal};
  expect_statistics(collect<support::sixteen_lanes>(in, {}, relpos::causal{}),
                    naive_attention<double>(in, means).statistics,
                    naive_attention<float>(in, means).statistics);
}

TEST(statistics, of_rows_that_see_nothing_are_zero) {
  const inputs<float> in = support::random_inputs(long_shape, 7);
  collected got = collect(in, {.query_offset = -150}, relpos::causal{});
  for (const auto* rows : {&got.max_probability, &got.entropy, &got.logit_count, &got.logit_mean,
                           &got.logit_variance}) {
    for (const float value : rows->values) EXPECT_EQ(value, 0.0f);
  }
}

// Entropy and largest probability allow tiles to be left out; the moments of logits do not.
TEST(statistics, count_keys_whose_weight_is_zero) {
  const std::vector<float> steep{30.0f, 5.0f};
  const inputs<float> in = support::random_inputs(long_shape, 8);
  const meaning means{.bias =
                          [&](index_t head, index_t distance) {
                            return static_cast<double>(steep[static_cast<std::size_t>(head)]) *
                                   static_cast<double>(distance);
                          },
                      .visible = is_causal};
  expect_meant(in, {}, means, relpos::alibi{steep}, relpos::causal{});

  collected two(support::rows_of(in));
  const relpos::options opts{
      .statistics = {.max_probability = two.max_probability.view(), .entropy = two.entropy.view()}};
  support::attend(in, opts, relpos::alibi{steep}, relpos::causal{});
  const collected all = collect(in, {}, relpos::alibi{steep}, relpos::causal{});
  EXPECT_TRUE(same_bits(two.max_probability, all.max_probability));
  EXPECT_TRUE(same_bits(two.entropy, all.entropy));
  EXPECT_TRUE(std::isnan(two.logit_count.values[0]));  // not asked for
}

TEST(statistics, leave_out_logits_of_minus_infinity) {
  const inputs<float> in = support::random_inputs(long_shape, 9);
  support::tensor<float> matrix({1, 1, 150, 700});
  for (index_t row = 0; row < 150; ++row) {
    for (index_t key = 0; key < 700; ++key) {
      // Row 3 keeps no logit.
      matrix(0, 0, row, key) = row == 3 || (row + key) % 3 == 0 ? -support::infinity : 0.25f;
    }
  }
  const meaning means{.element_bias = [&](index_t, index_t, index_t row, index_t key) {
    return static_cast<double>(matrix(0, 0, row, key));
  }};
  expect_meant(in, {}, means, relpos::additive_bias{matrix.view()});
}

TEST(statistics, of_equal_logits) {
  inputs<float> in = support::random_inputs(long_shape, 10);
  for (float& value : in.q.values) value = 0.0f;
  collected got = collect(in, {}, relpos::causal{});
  for (index_t row = 0; row < 150; ++row) {
    const double n = 551.0 + static_cast<double>(row);
    EXPECT_NEAR(got.max_probability(0, 0, row), 1.0 / n, 1e-9);
    EXPECT_NEAR(got.entropy(0, 0, row), std::log(n), 2e-6);
    EXPECT_EQ(got.logit_count(1, 1, row), static_cast<float>(n));
    EXPECT_EQ(got.logit_mean(1, 1, row), 0.0f);
    EXPECT_EQ(got.logit_variance(1, 1, row), 0.0f);
  }
}

// A variance from the sum of squares about zero would be lost.
TEST(statistics, of_logits_far_from_zero) {
  const inputs<float> in = support::random_inputs(long_shape, 11);
  const auto far = [](index_t, index_t) { return 3000.0; };
  collected got = collect(in, {}, relpos::relative_bias{far});
  collected near = collect(in, {});
  for (std::size_t i = 0; i < got.entropy.values.size(); ++i) {
    EXPECT_NEAR(got.logit_mean.values[i], near.logit_mean.values[i] + 3000.0f, 2e-3);
    EXPECT_NEAR(got.logit_variance.values[i], near.logit_variance.values[i], 2e-3);
    EXPECT_NEAR(got.entropy.values[i], near.entropy.values[i], 2e-3);
  }
}

TEST(statistics, are_the_same_on_any_executor) {
  const inputs<float> in = support::random_inputs(long_shape, 12);
  const collected expected = collect(in, {}, relpos::causal{});
  for (int times = 0; times < 3; ++times) {
    collected got(support::rows_of(in));
    support::attend_on(support::threaded{}, in.q.view(), in.k.view(), in.v.view(),
                       {.statistics = got.views()}, relpos::causal{});
    EXPECT_TRUE(same_bits(got.entropy, expected.entropy));
    EXPECT_TRUE(same_bits(got.logit_variance, expected.logit_variance));
  }
}

TEST(statistics, of_the_reference_are_those_of_the_page) {
  const inputs<float> in = support::random_inputs(long_shape, 13);
  collected got(support::rows_of(in));
  support::tensor<double> out({2, 2, 150, 8});
  ASSERT_TRUE(relpos::reference_attention(out.view(), {}, in.q.view(), in.k.view(), in.v.view(),
                                          relpos::alibi{slopes}, relpos::causal{},
                                          relpos::options{.statistics = got.views()}));
  const meaning means{.bias = line, .visible = is_causal};
  expect_statistics(got, naive_attention<double>(in, means).statistics,
                    naive_attention<float>(in, means).statistics);
}

// NaN cannot be taken for the statistics of a sound row, or of a row that sees nothing.
TEST(statistics, of_rows_that_see_nan_are_nan) {
  inputs<float> in = support::random_inputs(long_shape, 9);
  in.k(1, 0, 600, 3) = support::not_a_number;  // seen by rows from 50 on
  in.q(0, 1, 7, 0) = support::not_a_number;
  const auto is_poisoned = [](index_t batch, index_t head, index_t row) {
    return (batch == 1 && row >= 50) || (batch == 0 && head == 1 && row == 7);
  };
  collected got = collect(in, {}, relpos::causal{});
  collected expected(support::rows_of(in));
  support::tensor<double> out({2, 2, 150, 8});
  ASSERT_TRUE(relpos::reference_attention(out.view(), {}, in.q.view(), in.k.view(), in.v.view(),
                                          relpos::causal{},
                                          relpos::options{.statistics = expected.views()}));
  for (index_t batch = 0; batch < 2; ++batch) {
    for (index_t head = 0; head < 2; ++head) {
      for (index_t row = 0; row < 150; ++row) {
        for (auto* all : {&got, &expected}) {
          for (auto* rows :
               {&all->max_probability, &all->entropy, &all->logit_mean, &all->logit_variance}) {
            ASSERT_EQ(std::isnan((*rows)(batch, head, row)), is_poisoned(batch, head, row)) << row;
          }
          ASSERT_EQ(all->logit_count(batch, head, row), static_cast<float>(551 + row));
        }
      }
    }
  }
}

}  // namespace
