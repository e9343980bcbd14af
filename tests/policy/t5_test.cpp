#include "relpos/policy/t5.hpp"

#include <gtest/gtest.h>

#include "relpos/policy/mask/causal.hpp"
#include "support/attend.hpp"
#include "support/naive.hpp"
#include "support/t5_thresholds.hpp"

namespace {

using relpos::index_t;
using relpos::t5_bias;
using support::inputs;
using support::meaning;
using support::t5_thresholds;

constexpr index_t heads = 3;

inputs<float> three_heads(index_t queries, index_t keys) {
  return support::random_inputs({.batch = 2,
                                 .query_heads = heads,
                                 .key_heads = heads,
                                 .query_length = queries,
                                 .key_length = keys,
                                 .head_dim = 8,
                                 .value_dim = 8},
                                31, 1.0f);
}

/// [num_buckets, heads]
std::vector<float> random_table(index_t num_buckets) {
  return support::random_tensor({1, 1, num_buckets, heads}, 5, 3.0f).values;
}

meaning looked_up(const t5_thresholds& rule, const std::vector<float>& table) {
  return {.bias =
              [&](index_t head, index_t distance) {
                return table[static_cast<std::size_t>(rule.bucket(distance) * heads + head)];
              },
          .scale = 1.0};
}

TEST(t5_bias, looks_its_bucket_up_and_does_not_scale) {
  const inputs<float> in = three_heads(60, 400);
  const std::vector<float> table = random_table(32);
  meaning means = looked_up(support::t5_encoder, table);
  for (const index_t query_offset : {0, 170, 340, 900}) {
    means.query_offset = query_offset;
    expect_means(attend(in, {.query_offset = query_offset}, t5_bias{table, relpos::bidirectional}),
                 in, means);
  }
}

TEST(t5_bias, decoder_has_all_buckets_for_the_past) {
  const inputs<float> in = three_heads(60, 400);
  const std::vector<float> table = random_table(32);
  meaning means = looked_up(support::t5_decoder, table);
  means.visible = [](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; };
  expect_means(attend(in, {}, t5_bias{table, relpos::unidirectional}, relpos::causal{}), in, means);
}

TEST(t5_bias, other_rules) {
  const inputs<float> in = three_heads(33, 1000);
  const std::vector<float> table = random_table(320);
  meaning means = looked_up(support::wavlm, table);
  means.query_offset = 480;
  const t5_bias bias{table, relpos::bidirectional, {.num_buckets = 320, .max_distance = 800}};
  expect_means(attend(in, {.query_offset = 480}, bias), in, means);
}

TEST(t5_bias, either_layout_of_the_table) {
  const inputs<float> in = three_heads(20, 200);
  const std::vector<float> table = random_table(32);
  std::vector<float> transposed(table.size());
  for (std::size_t bucket = 0; bucket < 32; ++bucket) {
    for (std::size_t head = 0; head < heads; ++head) {
      transposed[head * 32 + bucket] = table[bucket * heads + head];
    }
  }
  const t5_bias by_heads{
      transposed, relpos::bidirectional, {.layout = relpos::t5_layout::heads_by_buckets}};
  EXPECT_TRUE(
      same_bits(attend(in, {}, t5_bias{table, relpos::bidirectional}), attend(in, {}, by_heads)));
}

TEST(t5_bias, an_explicit_scale_wins) {
  const inputs<float> in = three_heads(20, 200);
  const std::vector<float> table = random_table(32);
  meaning means = looked_up(support::t5_encoder, table);
  means.scale = 0.25;
  expect_means(attend(in, {.scale = 0.25f}, t5_bias{table, relpos::bidirectional}), in, means);
}

}  // namespace
