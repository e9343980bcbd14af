#include "relpos/policy/mixed_bias.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/executors.hpp"
#include "support/naive.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using relpos::mixed_bias;
using relpos::table_ends;
using support::inputs;
using support::meaning;
using support::tensor;

constexpr index_t keys = 300;

inputs<float> call_of(index_t queries) {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = queries,
                                 .key_length = keys,
                                 .head_dim = 16,
                                 .value_dim = 6},
                                93);
}

/// Coefficients [2, 2, queries, terms] and tables [heads or 1, terms, distances].
struct mixture {
  tensor<float> coefficients;
  tensor<float> tables;  // [1, heads or 1, terms, distances]
  index_t first;
  table_ends ends;

  mixture(index_t queries, index_t heads, index_t terms, index_t distances, index_t first_distance,
          table_ends beyond)
      : coefficients(support::random_tensor({2, 2, queries, terms}, 94)),
        tables(support::random_tensor({1, heads, terms, distances}, 95)),
        first(first_distance),
        ends(beyond) {}

  mixed_bias policy() const {
    const auto& shape = tables.shape;
    return {coefficients.view(),
            relpos::view<const float, 3>(tables.values.data(), {shape[1], shape[2], shape[3]}),
            first, ends};
  }

  /// The definition.
  double operator()(index_t batch, index_t head, index_t row, index_t distance) const {
    index_t place = distance - first;
    const index_t last = tables.shape[3] - 1;
    if (ends == table_ends::zero && (place < 0 || place > last)) return 0.0;
    place = place < 0 ? 0 : place > last ? last : place;
    double sum = 0.0;
    for (index_t term = 0; term < tables.shape[2]; ++term) {
      sum += static_cast<double>(coefficients(batch, head, row, term)) *
             static_cast<double>(tables(0, tables.shape[1] == 1 ? 0 : head, term, place));
    }
    return sum;
  }
};

bool is_causal(index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; }

/// In both kernels, causal and full, at an offset between queries and keys.
void expect_mixed(index_t heads, index_t terms, index_t distances, index_t first, table_ends ends) {
  SCOPED_TRACE(std::to_string(terms) + " terms, " + std::to_string(distances) + " distances from " +
               std::to_string(first));
  for (const index_t queries : {1, 3, 200}) {
    SCOPED_TRACE(std::to_string(queries) + " queries");
    const inputs<float> in = call_of(queries);
    const mixture of(queries, heads, terms, distances, first, ends);
    const index_t query_offset = keys - queries - 7;
    const meaning full{
        .element_bias = [&](index_t batch, index_t head, index_t row,
                            index_t key) { return of(batch, head, row, key - row - query_offset); },
        .query_offset = query_offset};
    meaning causal = full;
    causal.visible = is_causal;
    const support::meant_results meant(in, full);
    const support::meant_results meant_causal(in, causal);
    for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
      const relpos::options opts{.query_offset = query_offset, .kernel = kernel};
      meant.expect(attend(in, opts, of.policy()));
      meant_causal.expect(attend(in, opts, of.policy(), relpos::causal{}));
    }
  }
}

TEST(mixed_bias, is_the_sum_of_its_terms) {
  expect_mixed(2, 16, 150, -140, table_ends::zero);
  expect_mixed(1, 16, 150, -140, table_ends::repeated);
  expect_mixed(2, 1, 1, 0, table_ends::zero);
  expect_mixed(1, 3, 33, -16, table_ends::repeated);
  expect_mixed(2, 40, 2 * keys, -keys, table_ends::zero);
  // Tables of distances that no query sees.
  expect_mixed(1, 2, 10, 1000, table_ends::zero);
  expect_mixed(1, 2, 10, -5000, table_ends::repeated);
}

/// Shaw et al., equation 4: e_ij = q_i (k_j + a_clip(j - i)) / sqrt(d).
TEST(mixed_bias, is_the_attention_of_shaw) {
  constexpr index_t reach = 5;
  const inputs<float> in = call_of(60);
  const tensor<float> embeddings = support::random_tensor({1, 1, 2 * reach + 1, 16}, 96);
  tensor<float> scaled = in.q;
  for (float& x : scaled.values) x *= 0.25f;
  const relpos::view<const float, 3> tables(embeddings.values.data(), {1, 16, 2 * reach + 1},
                                            {0, 1, 16});
  const mixed_bias bias{scaled.view(), tables, -reach, table_ends::repeated};
  expect_means(attend(in, {}, bias), in,
               {.element_bias = [&](index_t batch, index_t head, index_t row, index_t key) {
                 const index_t distance = key - (row + keys - 60);
                 const index_t clipped = std::clamp(distance, -reach, reach);
                 double product = 0.0;
                 for (index_t c = 0; c < 16; ++c) {
                   product += static_cast<double>(in.q(batch, head, row, c)) *
                              static_cast<double>(embeddings(0, 0, clipped + reach, c));
                 }
                 return product / 4.0;
               }});
}

TEST(mixed_bias, beside_everything_else) {
  const inputs<float> in = call_of(90);
  const mixture of(90, 2, 5, 64, -60, table_ends::zero);
  const mixture other(90, 1, 7, 30, -10, table_ends::repeated);
  const std::vector<float> slopes{0.3f, 0.02f};
  const std::vector<float> scales{0.05f, 0.3f};
  const relpos::rotary_table rope(relpos::rope_frequencies(16), relpos::pair_layout::half_split);
  const relpos::options opts{.softcap = 3.0f, .key_offset = 500};
  support::expect_reference_of(in, opts, of.policy(), relpos::alibi{slopes}, other.policy(),
                               relpos::causal{});
  support::expect_reference_of(in, {}, relpos::rotary{rope}, of.policy(), relpos::ssmax{scales},
                               relpos::sliding_window{50}, relpos::temperature{0.8});
  support::expect_reference_of(in, {}, other.policy(),
                               relpos::either{relpos::sliding_window{50}, relpos::sinks{4}},
                               relpos::causal{});
}

TEST(mixed_bias, of_the_positions_of_tokens) {
  const inputs<float> in = call_of(50);
  const mixture of(50, 2, 5, 200, -100, table_ends::zero);
  std::vector<index_t> query_positions, key_positions;
  for (index_t row = 0; row < 50; ++row) query_positions.push_back(row * 3 % 40);
  for (index_t row = 0; row < keys; ++row) key_positions.push_back(row * 7 % 60);
  const relpos::token_positions tokens{
      relpos::view<const index_t, 2>(query_positions.data(), {1, 50}),
      relpos::view<const index_t, 2>(key_positions.data(), {1, keys})};
  for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
    expect_means(attend(in, {.kernel = kernel}, of.policy(), tokens), in,
                 {.element_bias = [&](index_t batch, index_t head, index_t row, index_t key) {
                   return of(batch, head, row,
                             key_positions[static_cast<std::size_t>(key)] -
                                 query_positions[static_cast<std::size_t>(row)]);
                 }});
  }
}

TEST(mixed_bias, of_a_ragged_batch) {
  // The rows of three sequences, of 60, 1 and 139 queries and as many keys.
  inputs<float> in = support::random_inputs({.batch = 1,
                                             .query_heads = 2,
                                             .key_heads = 1,
                                             .query_length = 200,
                                             .key_length = 200,
                                             .head_dim = 16,
                                             .value_dim = 6},
                                            97);
  const std::vector<index_t> starts{0, 60, 61, 200};
  const tensor<float> coefficients = support::random_tensor({3, 2, 139, 4}, 98);
  const tensor<float> tables = support::random_tensor({1, 2, 4, 50}, 99);
  const mixed_bias bias{coefficients.view(),
                        relpos::view<const float, 3>(tables.values.data(), {2, 4, 50}), -49};
  const relpos::options opts{.query_starts = starts, .key_starts = starts};
  support::expect_reference_of(in, opts, bias, relpos::causal{});
}

TEST(mixed_bias, has_the_same_bits_on_any_number_of_workers) {
  const inputs<float> in = call_of(290);
  const mixture of(290, 2, 5, 64, -60, table_ends::zero);
  const mixture other(290, 1, 7, 30, -10, table_ends::repeated);
  const auto expected = attend(in, {}, of.policy(), other.policy(), relpos::causal{});
  for (const index_t workers : {1, 2, 5}) {
    const support::shuffled runner{workers, static_cast<std::uint32_t>(workers)};
    EXPECT_TRUE(
        same_bits(expected, support::attend_on(runner, in.q.view(), in.k.view(), in.v.view(), {},
                                               of.policy(), other.policy(), relpos::causal{})));
  }
}

TEST(mixed_bias, of_strided_coefficients) {
  const inputs<float> in = call_of(70);
  const mixture of(70, 2, 5, 64, -60, table_ends::zero);
  // [2, 2, 5, 70]: the queries are contiguous.
  tensor<float> transposed({2, 2, 5, 70});
  for (index_t i = 0; i < 4; ++i) {
    for (index_t row = 0; row < 70; ++row) {
      for (index_t term = 0; term < 5; ++term) {
        transposed(i / 2, i % 2, term, row) = of.coefficients(i / 2, i % 2, row, term);
      }
    }
  }
  mixed_bias strided = of.policy();
  strided.coefficients = {transposed.values.data(), {2, 2, 70, 5}, {700, 350, 1, 70}};
  EXPECT_TRUE(same_bits(attend(in, {}, strided), attend(in, {}, of.policy())));
}

TEST(mixed_bias, fits_the_call) {
  const mixture of(7, 2, 3, 10, -5, table_ends::zero);
  const relpos::attention_shape shape{.batch = 2, .query_heads = 2, .query_length = 7};
  EXPECT_TRUE(of.policy().check(shape));
  relpos::attention_shape other = shape;
  other.query_length = 8;
  EXPECT_STREQ(of.policy().check(other).message,
               "mixed_bias: coefficients are [2, 2, 7, 3], must be [batch, heads, query, term] = "
               "[2, 2, 8, 3]");
  other = shape;
  other.query_heads = 4;
  EXPECT_STREQ(of.policy().check(other).message,
               "mixed_bias: tables are [2, 3, 10], must be [heads or 1, term, distance], of 4 "
               "heads and at least one term and distance");
  mixed_bias far = of.policy();
  far.first_distance = relpos::max_offset + 1;
  EXPECT_EQ(far.check(shape).code, relpos::status_code::invalid_value);
  mixed_bias empty = of.policy();
  empty.tables.shape[2] = 0;
  EXPECT_EQ(empty.check(shape).code, relpos::status_code::invalid_shape);
  mixed_bias null = of.policy();
  null.coefficients.data = nullptr;
  EXPECT_EQ(null.check(shape).code, relpos::status_code::null_data);
}

TEST(mixed_bias, data_is_not_written) {
  const mixture of(7, 2, 3, 10, -5, table_ends::zero);
  const auto last = [](const tensor<float>& numbers) {
    return relpos::byte_range::of(&numbers.values.back(), sizeof(float));
  };
  EXPECT_TRUE(of.policy().reads(last(of.coefficients)));
  EXPECT_TRUE(of.policy().reads(last(of.tables)));
  const float elsewhere = 0.0f;
  EXPECT_FALSE(of.policy().reads(relpos::byte_range::of(&elsewhere, sizeof elsewhere)));
}

}  // namespace
