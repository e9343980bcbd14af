// Batches of sequences so short that a worker computes several heads at a time, and rotates their
// keys itself.

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/executors.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using support::attended;
using support::inputs;

constexpr index_t head_dim = 24;

inputs<float> short_inputs(index_t query_length, index_t key_length) {
  return support::random_inputs({.batch = 9,
                                 .query_heads = 6,
                                 .key_heads = 3,
                                 .query_length = query_length,
                                 .key_length = key_length,
                                 .head_dim = head_dim,
                                 .value_dim = 11},
                                17);
}

/// One worker bundles all items of a sequence, 2 and 3 bundle whole key heads, 7 bundle nothing.
template <class... Policies>
void expect_same_on_any_workers(const inputs<float>& in, relpos::options opts,
                                const Policies&... policies) {
  opts.kernel = relpos::kernel_class::prefill;
  const attended<float> alone = attend(in, opts, policies...);
  support::expect_reference(alone, in, opts, policies...);
  for (const index_t workers : {1, 2, 3, 7}) {
    SCOPED_TRACE(testing::Message() << workers << " workers");
    const support::shuffled shuffled{workers, static_cast<std::uint32_t>(workers)};
    const support::threaded threaded{workers};
    const auto q = in.q.view();
    const auto k = in.k.view();
    const auto v = in.v.view();
    EXPECT_TRUE(same_bits(alone, support::attend_on(shuffled, q, k, v, opts, policies...)));
    EXPECT_TRUE(same_bits(alone, support::attend_on(threaded, q, k, v, opts, policies...)));
  }
}

const std::vector<float> slopes{0.3f, 0.004f, 0.7f, 1.0f, 0.05f, 0.1f};

TEST(short_sequences, on_any_number_of_workers) {
  // One tile of keys, part of a tile, and three tiles, under the bound of ALiBi the last of them.
  for (const index_t length : {index_t{20}, index_t{48}, index_t{300}}) {
    const inputs<float> in = short_inputs(length, length + 6);
    expect_same_on_any_workers(in, {});
    expect_same_on_any_workers(in, {}, relpos::alibi{slopes}, relpos::causal{});
  }
}

TEST(short_sequences, whose_keys_are_rotated) {
  const relpos::rotary_table rope(relpos::rope_frequencies(head_dim),
                                  relpos::pair_layout::interleaved);
  const relpos::rotary_table xpos(relpos::xpos_frequencies(16), relpos::pair_layout::half_split);
  const inputs<float> in = short_inputs(20, 26);
  expect_same_on_any_workers(in, {}, relpos::rotary{rope});
  expect_same_on_any_workers(in, {}, relpos::rotary{rope}, relpos::alibi{slopes});
  std::vector<index_t> positions(std::size_t{9 * 26});
  for (std::size_t i = 0; i < positions.size(); ++i)
    positions[i] = static_cast<index_t>(i * 7 % 50);
  const relpos::view<const index_t, 2> of_keys(positions.data(), {9, 26});
  const relpos::token_positions each{of_keys.slice(1, 6, 20), of_keys};
  expect_same_on_any_workers(in, {}, relpos::rotary{rope}, each);

  // More than a block of queries.
  expect_same_on_any_workers(short_inputs(200, 100), {}, relpos::rotary{xpos});
}

/// Rows that see no key, in a block of their own and beside others: outputs are never added up.
TEST(short_sequences, rows_without_keys_are_zero) {
  const inputs<float> in = short_inputs(100, 30);
  expect_same_on_any_workers(in, {.query_offset = -60}, relpos::causal{});
  const attended<float> none = attend(in, {.query_offset = -200}, relpos::causal{});
  for (const float value : none.out.values) ASSERT_EQ(value, 0.0f);
}

/// The workspace has the rotated keys of one head for one worker, and never more than all keys.
TEST(short_sequences, workspace_of_rotated_keys) {
  const relpos::rotary_table rope(relpos::rope_frequencies(head_dim),
                                  relpos::pair_layout::half_split);
  constexpr index_t keys = 1 << 16;
  const auto bytes = [&](index_t heads, index_t queries, index_t workers) {
    const float element = 0.0f;
    const relpos::view<const float, 4> q(&element, {1, heads, queries, head_dim});
    const relpos::view<const float, 4> kv(&element, {1, heads, keys, head_dim});
    return relpos::workspace_bytes(support::shuffled{workers}, q, kv, kv, relpos::rotary{rope});
  };
  EXPECT_EQ(bytes(1, keys, 1), bytes(16, keys, 1));
  const std::size_t of_one_head = keys * head_dim * sizeof(float);
  EXPECT_LT(bytes(1, 64, 16), 2 * of_one_head);
  EXPECT_LT(bytes(2, 64, 16), 3 * of_one_head);
}

TEST(short_sequences, without_heads) {
  const relpos::rotary_table rope(relpos::rope_frequencies(head_dim),
                                  relpos::pair_layout::half_split);
  const float element = 0.0f;
  float out = 0.0f;
  const relpos::view<const float, 4> rows(&element, {2, 0, 20, head_dim});
  const relpos::view<float, 4> outputs(&out, {2, 0, 20, head_dim});
  const auto call =
      relpos::prepare(support::shuffled{3}, outputs, rows, rows, rows, relpos::rotary{rope});
  std::vector<std::byte> memory(call.workspace_bytes());
  EXPECT_TRUE(call.run(support::shuffled{3}, memory));
}

/// Products of tiny negative values are -0. Where the largest weight belongs to a zero, so is their
/// sum: it becomes 0, in the first tile of a group as in a later one.
TEST(short_sequences, a_row_has_the_same_zeros_alone) {
  const inputs<float> in = [] {
    inputs<float> result = short_inputs(40, 160);
    for (std::size_t i = 0; i < result.v.values.size(); ++i) {
      result.v.values[i] = i / 11 % 2 == 0 ? -0x1p-149f : -0.0f;
    }
    return result;
  }();
  const attended<float> whole = attend(in, {}, relpos::causal{});
  for (index_t row = 0; row < 8; ++row) {  // these see one tile, others of their group two
    const relpos::options there{.query_offset = 120 + row, .kernel = relpos::kernel_class::prefill};
    const attended<float> alone = support::attend(in.q.view().slice(2, row, 1), in.k.view(),
                                                  in.v.view(), there, relpos::causal{});
    for (index_t head = 0; head < 9 * 6; ++head) {
      ASSERT_EQ(std::signbit(alone.out(head / 6, head % 6, 0, 0)),
                std::signbit(whole.out(head / 6, head % 6, row, 0)))
          << "row " << row << " of head " << head;
    }
  }
}

}  // namespace
