#include "relpos/policy/gated_bias.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "relpos/policy/mask/causal.hpp"
#include "relpos/policy/relative_bias.hpp"
#include "relpos/policy/t5.hpp"
#include "support/attend.hpp"
#include "support/naive.hpp"
#include "support/t5_thresholds.hpp"

namespace {

using relpos::index_t;
using support::inputs;

inputs<float> two_batches() {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = 90,
                                 .key_length = 300,
                                 .head_dim = 16,
                                 .value_dim = 6},
                                23);
}

support::tensor<float, 3> random_gates() {
  support::tensor<float, 3> gates({2, 2, 90});
  support::random_numbers random(24);
  for (float& gate : gates.values) gate = 1.5f + random.uniform();
  return gates;
}

TEST(gated_bias, multiplies_the_bias_of_a_row) {
  const support::tensor<float, 3> gates = random_gates();
  const auto decay = [](index_t head, index_t distance) {
    return -0.3 * std::log1p(std::abs(static_cast<double>(distance))) *
           static_cast<double>(head + 1);
  };
  const auto element = [&](index_t b, index_t h, index_t row, index_t key) {
    return static_cast<double>(gates(b, h, row)) * decay(h, key - (row + 210));
  };
  expect_means(
      attend(two_batches(), {}, relpos::gated_bias{gates.view(), relpos::relative_bias{decay}}),
      two_batches(), {.element_bias = element});
}

// The buckets of WavLM.
TEST(gated_bias, of_t5_buckets_keeps_the_scale_of_the_call) {
  const support::tensor<float, 3> gates = random_gates();
  const std::vector<float> table = support::random_tensor({1, 1, 320, 2}, 3, 2.0f).values;
  const auto element = [&](index_t b, index_t h, index_t row, index_t key) {
    const index_t bucket = support::wavlm.bucket(key - (row + 210));
    return static_cast<double>(gates(b, h, row)) *
           static_cast<double>(table[static_cast<std::size_t>(bucket * 2 + h)]);
  };
  const relpos::t5_bias buckets{
      table, relpos::bidirectional, {.num_buckets = 320, .max_distance = 800}};
  expect_means(attend(two_batches(), {}, relpos::gated_bias{gates.view(), buckets}), two_batches(),
               {.element_bias = element});
}

TEST(gated_bias, refuses_gates_of_another_shape) {
  const support::tensor<float, 3> gates = random_gates();
  const std::vector<float> table(64);
  const relpos::gated_bias policy{gates.view(), relpos::t5_bias{table, relpos::bidirectional}};
  EXPECT_STREQ(policy.check({.batch = 2, .query_heads = 2, .query_length = 91}).message,
               "gated_bias: gates are [2, 2, 90], must be [batch, heads, query] = [2, 2, 91]");
  EXPECT_TRUE(policy.check({.batch = 2, .query_heads = 2, .query_length = 90}));
  relpos::gated_bias of_few{gates.view(), relpos::t5_bias{table, relpos::bidirectional}};
  of_few.bias.table.size = 63;
  EXPECT_FALSE(of_few.check({.batch = 2, .query_heads = 2, .query_length = 90}));
  EXPECT_TRUE(policy.reads(relpos::byte_range::of(&gates.values[100], 4)));
  EXPECT_TRUE(policy.reads(relpos::byte_range::of(&table[63], 4)));
  EXPECT_FALSE(policy.reads(relpos::byte_range::of(&policy, 4)));
}

}  // namespace
