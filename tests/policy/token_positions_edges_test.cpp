// Positions per token at the edges: far apart, in slices, hidden, none at all, beside other stages,
// refused.

#include "relpos/policy/token_positions.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "policy/placed_tokens.hpp"
#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/naive.hpp"
#include "support/sixteen_lanes.hpp"
#include "support/statistics.hpp"
#include "support/t5_thresholds.hpp"

namespace {

using relpos::index_t;
using support::inputs;
using support::meaning;
using support::sizes;
using support::placed_tokens::clipped_line;
using support::placed_tokens::half_split;
using support::placed_tokens::is_causal;
using support::placed_tokens::line;
using support::placed_tokens::placed;
using support::placed_tokens::random_call;
using support::placed_tokens::restless;
using support::placed_tokens::shape;
using support::placed_tokens::slopes;
using support::placed_tokens::theta;

// A table saturates: beyond 128 positions T5 has one bucket, and no distance is too far.
TEST(token_positions, far_apart_are_taken_where_a_bias_saturates) {
  placed at = restless(1, 2);
  for (std::size_t row = 0; row < at.keys.size(); row += 3) at.keys[row] -= index_t{1} << 50;
  std::vector<float> table;
  for (int i = 0; i < 32 * 2; ++i) table.push_back(std::sin(static_cast<float>(i)));
  const auto bias = [&](index_t head, index_t distance) {
    const index_t bucket = support::t5_decoder.bucket(distance);
    return static_cast<double>(table[static_cast<std::size_t>(bucket * 2 + head)]);
  };
  expect_means(
      attend(random_call(), {}, relpos::t5_bias{table, relpos::t5_direction::unidirectional},
             relpos::causal{}, at.policy()),
      random_call(), at.placing({.bias = bias, .visible = is_causal, .scale = 1.0}));
}

// Far tiles are skipped by the distances of their tokens, not of their rows. (Not in short calls.)
TEST(token_positions, near_far_away_rows_keep_their_weight) {
  sizes longer = shape;
  longer.query_length = 120;
  const inputs<float> in = support::random_inputs(longer, 74);
  placed at{1, 1, {}, {}};
  for (index_t row = 0; row < 120; ++row) at.queries.push_back(row % 40);
  for (index_t row = 0; row < 290; ++row) {
    const bool is_far = 40 <= row && row < 250;
    at.keys.push_back(is_far ? -2000 - row : row % 40);
  }
  expect_means(attend(in, {}, relpos::alibi{slopes}, at.policy()), in, at.placing({.bias = line}));
}

// A neighbour that is far away does not cost a row its accuracy.
TEST(token_positions, far_away_leave_their_neighbours_exact) {
  placed at = restless(1, 2);
  for (std::size_t row = 0; row < at.queries.size(); row += 7) at.queries[row] += index_t{1} << 40;
  for (std::size_t row = 0; row < at.keys.size(); row += 5) at.keys[row] += index_t{1} << 40;
  const auto clipped = [](index_t, index_t distance) {
    return -0.25 * std::min(std::abs(static_cast<double>(distance)), 50.0);
  };
  expect_means(attend(random_call(), {}, clipped_line{}, relpos::causal{}, at.policy()),
               random_call(), at.placing({.bias = clipped, .visible = is_causal}));
}

TEST(token_positions, of_sixteen_bits_and_generic_vectors) {
  const auto in = support::random_inputs<relpos::bfloat16>(shape, 72);
  const placed at = restless(1, 2);
  const meaning means{.bias = line,
                      .visible = is_causal,
                      .rotation = support::rotary_meaning{.rotary_dim = 16, .theta = theta}};
  expect_means(attend(in, {}, relpos::rotary{half_split}, relpos::alibi{slopes}, relpos::causal{},
                      at.policy()),
               in, at.placing(means));
  expect_means(
      support::attend<support::sixteen_lanes>(random_call(), {}, relpos::rotary{half_split},
                                              relpos::alibi{slopes}, relpos::causal{}, at.policy()),
      random_call(), at.placing(means));
}

TEST(token_positions, beside_gates_and_statistics) {
  const inputs<float> in = random_call();
  const placed at = restless(1, 2);
  support::tensor<float, 3> gates({2, 2, shape.query_length});
  for (std::size_t i = 0; i < gates.values.size(); ++i) {
    gates.values[i] = 0.5f + 0.01f * static_cast<float>(i % 75);
  }
  const auto wave = [](index_t head, index_t distance) {
    return std::sin(0.3 * static_cast<double>(distance)) * static_cast<double>(head + 1);
  };
  const relpos::gated_bias bias{gates.view(), relpos::relative_bias{wave}};
  const meaning means =
      at.placing({.element_bias =
                      [&](index_t batch, index_t head, index_t row, index_t key) {
                        const index_t distance = at.placing({}).key_position(batch, key, 0) -
                                                 at.placing({}).query_position(batch, row, 0);
                        return static_cast<double>(gates(batch, head, row)) * wave(head, distance);
                      },
                  .visible = is_causal});
  support::collected got(support::rows_of(in));
  const auto attended =
      attend(in, {.statistics = got.views()}, bias, relpos::causal{}, at.policy());
  expect_means(attended, in, means);
  expect_statistics(got, naive_attention<double>(in, means).statistics,
                    naive_attention<float>(in, means).statistics);
}

TEST(token_positions, of_slices_of_the_keys) {
  const inputs<float> in = random_call();
  const placed at = restless(1, 2);
  const relpos::token_positions whole = at.policy();
  support::attended<float> merged{support::tensor<float>({2, 2, 75, 6}),
                                  support::tensor<float, 3>({2, 2, 75}, -support::infinity)};
  for (const auto& [first, last] : {std::pair<index_t, index_t>{0, 100}, {100, 290}}) {
    support::attended<float> part{support::tensor<float>({2, 2, 75, 6}),
                                  support::tensor<float, 3>({2, 2, 75})};
    const auto k = in.k.view().slice(2, first, last - first);
    const auto v = in.v.view().slice(2, first, last - first);
    const relpos::token_positions of_slice{whole.queries, whole.keys.slice(2, first, last - first)};
    const relpos::rotary rotated{half_split};
    const relpos::alibi bias{slopes};
    std::vector<std::byte> memory(relpos::workspace_bytes(
        relpos::serial{}, in.q.view(), k, v, rotated, bias, relpos::causal{}, of_slice));
    const relpos::status done =
        relpos::partial(relpos::serial{}, memory, {part.out.view(), part.lse.view()}, in.q.view(),
                        k, v, rotated, bias, relpos::causal{}, of_slice,
                        relpos::options{.query_offset = 290 - 75, .key_offset = first});
    ASSERT_TRUE(done) << done.message;
    ASSERT_TRUE(relpos::merge(relpos::serial{}, {merged.out.view(), merged.lse.view()},
                              {part.out.view(), part.lse.view()}));
  }
  expect_means(merged, in,
               at.placing({.bias = line,
                           .visible = is_causal,
                           .rotation = support::rotary_meaning{.rotary_dim = 16, .theta = theta}}));
}

// Padding and its positions may hold anything.
TEST(token_positions, of_hidden_keys_do_no_harm) {
  inputs<float> in = random_call();
  placed at = restless(1, 2);
  for (index_t row = 0; row < 60; ++row) {
    for (index_t c = 0; c < 16; ++c) in.k(1, 0, row, c) = support::not_a_number;
    for (index_t c = 0; c < 6; ++c) in.v(1, 0, row, c) = support::infinity;
    at.keys[static_cast<std::size_t>(290 + row)] = relpos::max_offset;
  }
  const std::vector<index_t> counts{0, 60};
  const meaning means = at.placing(
      {.bias = line, .rotation = support::rotary_meaning{.rotary_dim = 16, .theta = theta}});
  const auto got = attend(in, {}, relpos::rotary{half_split}, relpos::alibi{slopes},
                          relpos::left_padding{counts}, at.policy());
  for (const float value : got.out.values) ASSERT_TRUE(std::isfinite(value));
  const auto exact = naive_attention<double>(random_call(), means);
  for (std::size_t i = 0; i < got.out.values.size() / 2; ++i) {
    ASSERT_NEAR(got.out.values[i], exact.out[i], 1e-4);
  }
}

TEST(token_positions, of_no_rows) {
  for (const sizes& of : {sizes{.batch = 1, .query_length = 0, .key_length = 0},
                          sizes{.batch = 1, .query_length = 3, .key_length = 0},
                          sizes{.batch = 0, .query_length = 3, .key_length = 5}}) {
    const inputs<float> in = support::random_inputs(of, 73);
    const std::vector<index_t> positions(8);
    const relpos::view<const index_t, 2> queries(positions.data(), {of.batch, of.query_length});
    const relpos::view<const index_t, 2> keys(positions.data(), {of.batch, of.key_length});
    const relpos::token_positions none{queries, keys};
    const auto constant = [](index_t, index_t) { return 1.0f; };
    const auto got = attend(in, {}, relpos::relative_bias{constant}, none);
    for (const float value : got.out.values) EXPECT_EQ(value, 0.0f);
    const relpos::rotary_table rope(relpos::rope_frequencies(8), relpos::pair_layout::half_split);
    attend(in, {}, relpos::rotary{rope}, none);
  }
}

TEST(token_positions, that_do_not_fit_are_refused) {
  const inputs<float> in = random_call();
  const auto refusal = [&](const auto&... policies) {
    support::tensor<float> out({2, 2, 75, 6});
    std::vector<std::byte> memory(1 << 22);
    const auto done = relpos::attention(relpos::serial{}, memory, out.view(), in.q.view(),
                                        in.k.view(), in.v.view(), policies...);
    EXPECT_EQ(relpos::workspace_bytes(relpos::serial{}, in.q.view(), in.k.view(), in.v.view(),
                                      policies...),
              0u);
    for (const float x : out.values) EXPECT_EQ(x, 0.0f);
    return std::string(done.message);
  };
  const relpos::alibi alibi{slopes};
  placed at = restless(1, 2);
  placed small = at;
  small.keys.resize(2 * 289);
  EXPECT_EQ(
      refusal(alibi, small.policy()),
      "token_positions: keys: shape is [1, 2, 289], must be [axis, batch or 1, position] = [1 "
      "or more, 2, 290]");
  placed other = at;
  other.queries[80] = (index_t{1} << 60) + 1;
  EXPECT_EQ(refusal(alibi, other.policy()),
            "token_positions: queries: is 1152921504606846977 at [0, 1, 5], must be within +-2^60");
  const placed three = restless(3, 2);
  EXPECT_EQ(refusal(alibi, relpos::token_positions{three.policy().queries, at.policy().keys}),
            "token_positions: queries have 3 axes and keys 1, must be equal");

  placed far = at;
  far.keys[7] = -4300;
  EXPECT_EQ(refusal(relpos::relative_bias{[](index_t, index_t) { return 0.0f; }}, far.policy()),
            "token_positions: are -4390 to 90 apart, further than the 4096 distances for which a "
            "bias is tabulated: query_length + key_length - 1, or 4096");

  const relpos::rotary_table xpos(relpos::xpos_frequencies(16), relpos::pair_layout::half_split);
  EXPECT_EQ(refusal(relpos::rotary{xpos}, at.policy()),
            "token_positions: the rotation decays with distance, and takes implicit positions only "
            "(options.query_offset and key_offset)");
  auto frequencies = relpos::rope_frequencies(16);
  frequencies.axes = {0, 0, 1, 1, 1, 2, 2, 2};
  const relpos::rotary_table mrope(frequencies, relpos::pair_layout::half_split);
  EXPECT_EQ(refusal(relpos::rotary{mrope}, at.policy()),
            "token_positions: have 1 axes, but the pairs of the rotation rotate by 3");
}

TEST(token_positions, are_not_written) {
  const placed at = restless(1, 2);
  EXPECT_TRUE(at.policy().reads(relpos::byte_range::of(&at.queries[0], 1)));
  EXPECT_TRUE(at.policy().reads(relpos::byte_range::of(&at.keys[579], 8)));
  EXPECT_FALSE(at.policy().reads(relpos::byte_range::of(at.keys.data() + 580, 8)));
}

// Positions of no rows take no time, whatever the number of axes.
TEST(token_positions, of_no_rows_have_any_number_of_axes) {
  const relpos::view<const relpos::index_t, 3> none(nullptr, {relpos::index_t{1} << 50, 1, 0});
  EXPECT_TRUE(relpos::token_positions(none, none).check({.batch = 1}));
}

}  // namespace
