// Positions that are given per token on the GPU, in any order, against the reference.

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "cuda/expect_device.hpp"
#include "relpos/policies.hpp"

namespace {

using relpos::index_t;
using support::device_array;
using support::expect_device;

using token_positions = support::device_test;

const std::vector<float> slopes{0.3f, 0.02f};

support::inputs<float> inputs_of(index_t queries, index_t keys, index_t batch = 2) {
  return support::random_inputs<float>({.batch = batch,
                                        .query_heads = 2,
                                        .key_heads = 1,
                                        .query_length = queries,
                                        .key_length = keys,
                                        .head_dim = 64,
                                        .value_dim = 64},
                                       71);
}

/// In runs that restart, ascending and descending, the same for no two entries and axes, [axis,
/// batch, row].
std::vector<index_t> restless(index_t axes, index_t batch, index_t rows, index_t origin) {
  std::vector<index_t> result;
  for (index_t plane = 0; plane < axes * batch; ++plane) {
    for (index_t row = 0; row < rows; ++row) {
      const index_t run = row / (23 + 7 * plane);
      const index_t within = row % (23 + 7 * plane);
      result.push_back(origin + (run % 3 == 2 ? 90 - within : within + 5 * run) + 11 * plane);
    }
  }
  return result;
}

/// Positions of a call in memory that host and device read.
struct placed {
  placed(index_t of_axes, index_t of_batch, index_t of_queries, index_t of_keys, index_t origin)
      : shape{of_axes, of_batch},
        query_length(of_queries),
        key_length(of_keys),
        queries(restless(of_axes, of_batch, of_queries, origin)),
        keys(restless(of_axes, of_batch, of_keys, origin)) {}

  std::array<index_t, 2> shape;
  index_t query_length;
  index_t key_length;
  device_array<index_t> queries;
  device_array<index_t> keys;

  relpos::token_positions policy() const {
    return {relpos::view<const index_t, 3>(queries.data(), {shape[0], shape[1], query_length}),
            relpos::view<const index_t, 3>(keys.data(), {shape[0], shape[1], key_length})};
  }
};

TEST_F(token_positions, of_rotations_by_several_axes) {
  relpos::rotary_frequencies frequencies = relpos::rope_frequencies(64);
  frequencies.axes = relpos::mrope_axes(std::array<index_t, 3>{8, 12, 12});
  const relpos::rotary_table table(frequencies, relpos::pair_layout::half_split);
  for (const index_t queries : {2, 70}) {
    const auto in = inputs_of(queries, 150);
    for (const index_t origin : {index_t{-40}, index_t{480}, (index_t{1} << 40) + 3}) {
      const placed tokens(3, 2, queries, 150, origin);
      expect_device<64>(in, {}, relpos::rotary{table}, relpos::causal{}, tokens.policy());
    }
    // Every entry of the batch has the same positions.
    const placed tokens(3, 1, queries, 150, 480);
    expect_device<64>(in, {}, relpos::rotary{table}, relpos::causal{}, tokens.policy());
  }
}

TEST_F(token_positions, of_rotations_in_a_ragged_batch) {
  const relpos::rotary_table table(relpos::rope_frequencies(32), relpos::pair_layout::interleaved);
  const auto in = inputs_of(74, 200, 1);
  const std::vector<index_t> queries{0, 1, 3, 74};
  const std::vector<index_t> keys{0, 40, 90, 200};
  const placed tokens(1, 3, 71, 110, 500);
  expect_device<64>(in, {.query_starts = queries, .key_starts = keys}, relpos::rotary{table},
                    relpos::causal{}, tokens.policy());
  expect_device<64>(in, {.query_starts = queries, .key_starts = keys}, relpos::rotary{table, 32},
                    relpos::causal{}, tokens.policy());
}

TEST_F(token_positions, of_biases_and_logit_scaling) {
  std::vector<float> table(64);
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 7) * 0.3f;
  for (const index_t queries : {2, 130}) {
    const auto in = inputs_of(queries, 150);
    for (const index_t origin : {index_t{0}, index_t{1} << 40}) {
      const placed tokens(1, 2, queries, 150, origin);
      expect_device<64>(in, {}, relpos::alibi_symmetric{slopes},
                        relpos::t5_bias{table, relpos::bidirectional},
                        relpos::position_log{0.1f, 16}, relpos::causal{}, tokens.policy());
    }
  }
}

}  // namespace
