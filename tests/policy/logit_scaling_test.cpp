#include "relpos/policy/logit_scaling.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "relpos/policy/additive_bias.hpp"
#include "relpos/policy/alibi.hpp"
#include "relpos/policy/mask/causal.hpp"
#include "relpos/policy/mask/sliding_window.hpp"
#include "relpos/policy/temperature.hpp"
#include "support/attend.hpp"
#include "support/factors_of_rows.hpp"
#include "support/naive.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using support::inputs;
using support::meaning;

const std::vector<float> slopes{0.05f, 0.3f};

inputs<float> two_heads() {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = 300,
                                 .key_length = 400,
                                 .head_dim = 16,
                                 .value_dim = 6},
                                22);
}

/// The score and a bias of slope * distance.
meaning causal_lines() {
  return {.bias =
              [](index_t head, index_t distance) {
                return static_cast<double>(slopes[static_cast<std::size_t>(head)]) *
                       static_cast<double>(distance);
              },
          .visible = [](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; }};
}

TEST(logit_scaling, log_n_starts_at_the_training_length) {
  meaning means = causal_lines();
  means.logit_factor = [](index_t, index_t, index_t visible) {
    return std::max(1.0, std::log(static_cast<double>(visible)) / std::log(150.0));
  };
  expect_means(attend(two_heads(), {}, relpos::log_n{150}, relpos::alibi{slopes}, relpos::causal{}),
               two_heads(), means);
}

TEST(logit_scaling, log_n_counts_what_the_masks_leave) {
  meaning means{.visible = [](index_t, index_t q_pos, index_t k_pos) {
    return q_pos - 199 <= k_pos && k_pos <= q_pos + 30;
  }};
  means.logit_factor = [](index_t, index_t, index_t visible) {
    return std::max(1.0, std::log(static_cast<double>(visible)) / std::log(100.0));
  };
  expect_means(
      attend(two_heads(), {}, relpos::log_n{100}, relpos::band{199, 1000}, relpos::band{1000, 30}),
      two_heads(), means);
}

TEST(logit_scaling, ssmax_has_a_scale_per_head) {
  const std::vector<float> scales{0.43f, 0.1f};
  meaning means = causal_lines();
  means.softcap = 5.0;
  means.temperature = 2.0;
  means.logit_factor = [&](index_t head, index_t, index_t visible) {
    return static_cast<double>(scales[static_cast<std::size_t>(head)]) *
           std::log(static_cast<double>(visible));
  };
  expect_means(attend(two_heads(), {.softcap = 5.0f}, relpos::ssmax{scales}, relpos::alibi{slopes},
                      relpos::causal{}, relpos::temperature{2}),
               two_heads(), means);
}

TEST(logit_scaling, of_rows_of_a_call) {
  const auto factors = support::random_tensor({1, 1, 300, 1}, 23, 2.0f);
  meaning means = causal_lines();
  means.query_offset = 100;
  means.logit_factor = [&](index_t, index_t q_pos, index_t) {
    return static_cast<double>(factors(0, 0, q_pos - 100, 0));
  };
  for (const auto kernel : {relpos::kernel_class::prefill, relpos::kernel_class::decode}) {
    const relpos::options opts{.query_offset = 100, .kernel = kernel};
    expect_means(attend(two_heads(), opts, support::factors_of_rows{factors.view()},
                        relpos::alibi{slopes}, relpos::causal{}),
                 two_heads(), means);
  }
}

TEST(logit_scaling, position_log_rises_by_intervals) {
  meaning means = causal_lines();
  means.query_offset = 8100;
  means.key_offset = 8000;
  means.logit_factor = [](index_t, index_t q_pos, index_t) {
    return 1.0 + 0.1 * std::log(std::floor(static_cast<double>(q_pos + 1) / 8192.0) + 1.0);
  };
  const relpos::options there{.query_offset = 8100, .key_offset = 8000};
  expect_means(
      attend(two_heads(), there, relpos::position_log{}, relpos::alibi{slopes}, relpos::causal{}),
      two_heads(), means);
  EXPECT_EQ(relpos::position_log{}.logit_factor(8190), 1.0f);
  EXPECT_GT(relpos::position_log{}.logit_factor(8191), 1.0f);
  EXPECT_EQ(relpos::position_log{}.logit_factor(-5), 1.0f);
}

// Ministral 3: 1 + beta ln(1 + floor(p / L)), where the first position is 0.
TEST(logit_scaling, position_log_counts_from_zero) {
  meaning means = causal_lines();
  means.query_offset = 100;
  means.logit_factor = [](index_t, index_t q_pos, index_t) {
    return 1.0 + 0.3 * std::log(1.0 + std::floor(static_cast<double>(q_pos) / 64.0));
  };
  expect_means(attend(two_heads(), {.query_offset = 100}, relpos::position_log{0.3, 64, 0},
                      relpos::alibi{slopes}, relpos::causal{}),
               two_heads(), means);
  EXPECT_EQ((relpos::position_log{0.3, 64, 0}.logit_factor(63)), 1.0f);
  EXPECT_GT((relpos::position_log{0.3, 64, 0}.logit_factor(64)), 1.0f);
  EXPECT_GT((relpos::position_log{0.3, 64, 1}.logit_factor(63)), 1.0f);
}

// Inkling: 1 + alpha ln(max(1, (p + 1) / floor)).
TEST(logit_scaling, position_log_ratio_begins_at_its_length) {
  meaning means = causal_lines();
  means.query_offset = 100;
  for (const index_t first : {0, 1}) {
    means.logit_factor = [&](index_t, index_t q_pos, index_t) {
      const double ratio = static_cast<double>(q_pos + first) / 128.0;
      return ratio > 1.0 ? 1.0 + 0.4 * std::log(ratio) : 1.0;
    };
    expect_means(
        attend(two_heads(), {.query_offset = 100}, relpos::position_log_ratio{0.4, 128, first},
               relpos::alibi{slopes}, relpos::causal{}),
        two_heads(), means);
  }
  EXPECT_EQ((relpos::position_log_ratio{0.4, 128}.logit_factor(127)), 1.0f);
  EXPECT_GT((relpos::position_log_ratio{0.4, 128}.logit_factor(128)), 1.0f);
  EXPECT_EQ((relpos::position_log_ratio{0.4, 128}.logit_factor(-9)), 1.0f);
}

TEST(logit_scaling, position_power_is_a_power_of_the_position) {
  meaning means = causal_lines();
  means.query_offset = 100;
  for (const index_t first : {0, 1}) {
    means.logit_factor = [&](index_t, index_t q_pos, index_t) {
      return std::exp(0.7 * std::log1p(static_cast<double>(q_pos + first) / 128.0));
    };
    expect_means(attend(two_heads(), {.query_offset = 100}, relpos::position_power{0.7, 128, first},
                        relpos::alibi{slopes}, relpos::causal{}),
                 two_heads(), means);
  }
  EXPECT_EQ((relpos::position_power{0.7, 128}.logit_factor(-1)), 1.0f);
  EXPECT_EQ((relpos::position_power{0.7, 128}.logit_factor(-50)), 1.0f);
  EXPECT_TRUE(std::isfinite(relpos::position_power{2.0, 1}.logit_factor(2 * relpos::max_offset)));
}

TEST(logit_scaling, head_position_log_is_a_line_per_head) {
  const std::vector<float> rising{0.25f, -0.125f};
  const std::vector<float> constant{0.5f, 1.5f};
  meaning means = causal_lines();
  means.query_offset = 100;
  for (const index_t first : {0, 1}) {
    means.logit_factor = [&](index_t head, index_t q_pos, index_t) {
      const auto h = static_cast<std::size_t>(head);
      return static_cast<double>(rising[h]) * std::log(static_cast<double>(q_pos + first)) +
             static_cast<double>(constant[h]);
    };
    expect_means(attend(two_heads(), {.query_offset = 100},
                        relpos::head_position_log{rising, constant, first}, relpos::alibi{slopes},
                        relpos::causal{}),
                 two_heads(), means);
  }
  EXPECT_EQ((relpos::head_position_log{rising, constant, 0}.bind(1).logit_factor(0)), 1.5f);
}

TEST(logit_scaling, data_of_head_position_log_is_read) {
  const std::vector<float> rising{0.25f, -0.125f};
  const std::vector<float> constant{0.5f, 1.5f};
  const relpos::head_position_log law{rising, constant};
  EXPECT_TRUE(law.reads(relpos::byte_range::of(rising.data() + 1, 1)));
  EXPECT_TRUE(law.reads(relpos::byte_range::of(constant.data() + 1, 1)));
  const float other = 0.0f;
  EXPECT_FALSE(law.reads(relpos::byte_range::of(&other, 1)));
}

TEST(logit_scaling, of_rows_that_see_nothing) {
  const std::vector<float> scales{0.43f, 0.1f};
  const inputs<float> in = two_heads();
  support::expect_reference_of(in, {.query_offset = -150}, relpos::ssmax{scales}, relpos::causal{});
  support::expect_reference_of(in, {.query_offset = -150}, relpos::log_n{10}, relpos::causal{});
}

// With a bias that could be bounded: no tile may be left out by a bound of other scores.
TEST(logit_scaling, beside_a_steep_bias) {
  const std::vector<float> steep{0.9f, 0.6f};
  const std::vector<float> scales{0.05f, 3.0f};
  support::expect_reference_of(two_heads(), {}, relpos::ssmax{scales}, relpos::alibi{steep},
                               relpos::causal{});
}

TEST(logit_scaling, refuse_what_is_out_of_range) {
  EXPECT_STREQ(relpos::log_n{1}.check({}).message, "log_n: train_length is 1, must be at least 2");
  EXPECT_TRUE(relpos::log_n{2}.check({}));
  EXPECT_STREQ((relpos::position_log{0.1, 0}.check({}).message),
               "position_log: floor_scale is 0, must be at least 1");
  EXPECT_STREQ((relpos::position_log{INFINITY, 8192}.check({}).message),
               "position_log: attn_scale is inf, must be within +-1e30");
  EXPECT_STREQ((relpos::position_log{0.1, 8192, 2}.check({}).message),
               "position_log: first_position is 2, must be 0 or 1");
  EXPECT_STREQ((relpos::position_power{2.5, 100}.check({}).message),
               "position_power: exponent is 2.5, must be within +-2");
  EXPECT_STREQ((relpos::position_power{NAN, 100}.check({}).message),
               "position_power: exponent is nan, must be within +-2");
  EXPECT_STREQ((relpos::position_power{0.1, 0}.check({}).message),
               "position_power: length is 0, must be 1 to 2^60");
  EXPECT_STREQ((relpos::position_power{0.1, 100, -1}.check({}).message),
               "position_power: first_position is -1, must be 0 or 1");
  const std::vector<float> two(2);
  const std::vector<float> three(3);
  EXPECT_STREQ((relpos::head_position_log{three, two}.check({.query_heads = 2}).message),
               "head_position_log: 3 slopes for a query of 2 heads");
  EXPECT_STREQ((relpos::head_position_log{two, three}.check({.query_heads = 2}).message),
               "head_position_log: 3 intercepts for a query of 2 heads");
  const std::vector<float> no_number{NAN, 1.0f};
  EXPECT_STREQ((relpos::head_position_log{no_number, two}.check({.query_heads = 2}).message),
               "head_position_log: slopes have nan for head 0, must be finite");
  EXPECT_STREQ((relpos::head_position_log{two, no_number}.check({.query_heads = 2}).message),
               "head_position_log: intercepts have nan for head 0, must be finite");
  EXPECT_STREQ((relpos::head_position_log{two, two, 5}.check({.query_heads = 2}).message),
               "head_position_log: first_position is 5, must be 0 or 1");
  EXPECT_STREQ(relpos::ssmax{three}.check({.query_heads = 2}).message,
               "ssmax: 3 scales for a query of 2 heads");
  const std::vector<float> endless{1.0f, INFINITY};
  EXPECT_STREQ(relpos::ssmax{endless}.check({.query_heads = 2}).message,
               "ssmax: scales have inf for head 1, must be finite");
}

// A factor of 0, and one below it, leave a key hidden that a bias hides.
TEST(logit_scaling, beside_a_bias_of_minus_infinity) {
  const inputs<float> in = two_heads();
  support::tensor<float> hides({1, 1, 1, in.k.shape[2]});
  for (index_t key = 0; key < in.k.shape[2]; ++key) {
    hides(0, 0, 0, key) = key % 3 == 0 ? -support::infinity : 0.0f;
  }
  const relpos::additive_bias bias{hides.view()};
  const std::vector<float> scales{0.0f, -0.2f};
  const relpos::options from_the_first{.query_offset = 0};  // which sees one key: ln 1 is 0
  const auto got = attend(in, from_the_first, relpos::ssmax{scales}, bias, relpos::causal{});
  for (const float value : got.out.values) ASSERT_FALSE(std::isnan(value));
  EXPECT_EQ(got.lse(0, 0, 0), -support::infinity);
  expect_means(
      got, in,
      {.element_bias = [&](index_t, index_t, index_t,
                           index_t key) { return static_cast<double>(hides(0, 0, 0, key)); },
       .visible = [](index_t, index_t q_pos,
                     index_t k_pos) { return k_pos <= q_pos && k_pos % 3 != 0; },
       .logit_factor =
           [&](index_t head, index_t q_pos, index_t) {
             const auto seen = static_cast<double>(
                 std::min<index_t>(q_pos + 1, in.k.shape[2]));  // those that the mask shows
             return static_cast<double>(scales[static_cast<std::size_t>(head)]) * std::log(seen);
           },
       .query_offset = 0});
}

}  // namespace
