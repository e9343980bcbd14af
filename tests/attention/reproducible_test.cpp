// The bits of a row depend on its own query, keys and positions alone: not on the rows beside it,
// the call it comes in, or who runs the work.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/executors.hpp"

namespace {

using relpos::index_t;
using support::attended;
using support::inputs;

const std::vector<float> slopes{0.3f, 0.004f};
const std::vector<float> table = support::random_tensor({1, 1, 32, 2}, 3, 2.0f).values;

constexpr index_t queries = 230;
constexpr index_t keys = 470;
constexpr index_t key_offset = 1000;
constexpr index_t query_offset = key_offset + keys - queries;

inputs<float> long_inputs() {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = queries,
                                 .key_length = keys,
                                 .head_dim = 24,
                                 .value_dim = 11},
                                13);
}

int bits(float value) { return std::bit_cast<int>(value); }

void expect_rows(const attended<float>& got, const attended<float>& whole, index_t first) {
  const auto& shape = got.out.shape;
  for (index_t b = 0; b < shape[0]; ++b) {
    for (index_t h = 0; h < shape[1]; ++h) {
      for (index_t row = 0; row < shape[2]; ++row) {
        ASSERT_EQ(bits(got.lse(b, h, row)), bits(whole.lse(b, h, first + row)))
            << "row " << first + row;
        for (index_t c = 0; c < shape[3]; ++c) {
          ASSERT_EQ(bits(got.out(b, h, row, c)), bits(whole.out(b, h, first + row, c)))
              << "row " << first + row;
        }
      }
    }
  }
}

/// One call, and the same rows in calls of `chunk` rows, each with the keys [first, last) that
/// `keys_of_rows` says.
template <class KeysOfRows, class... Policies>
void expect_chunks(KeysOfRows keys_of_rows, const Policies&... policies) {
  const inputs<float> in = long_inputs();
  constexpr auto kernel = relpos::kernel_class::prefill;
  const relpos::options opts{
      .query_offset = query_offset, .key_offset = key_offset, .kernel = kernel};
  const attended<float> whole = attend(in, opts, policies...);
  for (const index_t chunk : {1, 7, 31, 100}) {
    SCOPED_TRACE(testing::Message() << "chunks of " << chunk);
    for (index_t first = 0; first < queries; first += chunk) {
      const index_t count = std::min(chunk, queries - first);
      const relpos::key_range seen = keys_of_rows(first, first + count);
      const index_t key_count = seen.last - seen.first;
      const relpos::options there{.query_offset = query_offset + first,
                                  .key_offset = key_offset + seen.first,
                                  .kernel = kernel};
      expect_rows(support::attend(in.q.view().slice(2, first, count),
                                  in.k.view().slice(2, seen.first, key_count),
                                  in.v.view().slice(2, seen.first, key_count), there, policies...),
                  whole, first);
    }
  }
}

relpos::key_range all_keys(index_t, index_t) { return {0, keys}; }

/// As a cache grows: the keys of later rows do not exist yet.
relpos::key_range keys_so_far(index_t, index_t last_row) { return {0, keys - queries + last_row}; }

/// As a cache evicts: only what a row sees in a band of 150 to the left and 40 to the right.
relpos::key_range keys_in_sight(index_t first_row, index_t last_row) {
  const index_t to_key = keys - queries;
  return {first_row + to_key - 150, std::min(last_row + to_key + 40, keys)};
}

TEST(reproducible, chunks_of_a_computed_bias) {
  expect_chunks(all_keys, relpos::alibi{slopes}, relpos::causal{});
  expect_chunks(keys_so_far, relpos::alibi{slopes}, relpos::causal{});
}

TEST(reproducible, chunks_of_a_tabulated_bias) {
  const relpos::t5_bias bias{table, relpos::bidirectional};
  expect_chunks(all_keys, bias, relpos::band{150, 40});
  expect_chunks(keys_in_sight, bias, relpos::band{150, 40});
}

TEST(reproducible, chunks_of_a_rotation) {
  // The queries stand from 1240 on and the keys from 1000 on: both pass edges of blocks.
  const relpos::rotary_table rope(relpos::rope_frequencies(20), relpos::pair_layout::half_split);
  const relpos::rotary_table xpos(relpos::xpos_frequencies(24), relpos::pair_layout::interleaved);
  expect_chunks(all_keys, relpos::rotary{rope}, relpos::causal{});
  expect_chunks(keys_so_far, relpos::rotary{xpos}, relpos::alibi{slopes}, relpos::causal{});
  expect_chunks(keys_in_sight, relpos::rotary{rope}, relpos::band{150, 40});
}

TEST(reproducible, chunks_without_policies) { expect_chunks(all_keys); }

TEST(reproducible, any_executor) {
  const inputs<float> in = long_inputs();
  const relpos::t5_bias bias{table, relpos::bidirectional};
  const attended<float> lines = attend(in, {}, relpos::alibi{slopes}, relpos::causal{});
  const attended<float> buckets = attend(in, {}, bias, relpos::band{150, 40});
  for (const index_t workers : {1, 2, 5}) {
    const support::shuffled runner{workers, static_cast<std::uint32_t>(workers)};
    EXPECT_TRUE(same_bits(lines, support::attend_on(runner, in.q.view(), in.k.view(), in.v.view(),
                                                    {}, relpos::alibi{slopes}, relpos::causal{})));
    EXPECT_TRUE(same_bits(buckets, support::attend_on(runner, in.q.view(), in.k.view(), in.v.view(),
                                                      {}, bias, relpos::band{150, 40})));
  }
  const relpos::rotary_table xpos(relpos::xpos_frequencies(24), relpos::pair_layout::half_split);
  const attended<float> rotated = attend(in, {}, relpos::rotary{xpos}, relpos::causal{});
  for (const index_t workers : {1, 2, 5}) {
    const support::shuffled runner{workers, static_cast<std::uint32_t>(workers)};
    EXPECT_TRUE(same_bits(rotated, support::attend_on(runner, in.q.view(), in.k.view(), in.v.view(),
                                                      {}, relpos::rotary{xpos}, relpos::causal{})));
  }
  for (int times = 0; times < 5; ++times) {
    EXPECT_TRUE(same_bits(
        lines, support::attend_on(support::threaded{}, in.q.view(), in.k.view(), in.v.view(), {},
                                  relpos::alibi{slopes}, relpos::causal{})));
  }
}

TEST(reproducible, whatever_the_workspace_holds) {
  const inputs<float> in = long_inputs();
  const attended<float> expected = attend(in, {}, relpos::alibi{slopes}, relpos::causal{});
  std::vector<unsigned char> memory(
      relpos::workspace_bytes(relpos::serial{}, in.q.view(), in.k.view(), in.v.view(),
                              relpos::alibi{slopes}, relpos::causal{}));
  for (const char fill : {'\x00', '\x3f', '\x7f', '\xff'}) {
    std::memset(memory.data(), fill, memory.size());
    attended<float> got = expected;
    std::fill(got.out.values.begin(), got.out.values.end(), support::not_a_number);
    ASSERT_TRUE(relpos::attention(relpos::serial{}, {memory.data(), memory.size()}, got.out.view(),
                                  in.q.view(), in.k.view(), in.v.view(), relpos::alibi{slopes},
                                  relpos::causal{}, relpos::options{.lse = got.lse.view()}));
    EXPECT_TRUE(same_bits(got, expected)) << "workspace full of " << int{fill};
  }
}

}  // namespace
