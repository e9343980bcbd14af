// Decode of one query row of a key head. With 16 lanes, values of a whole tile and keys of the next
// are read in one stream, with 8 lanes in turns: the reference, and the bits of the same row beside
// another, where they are read apart.

#include <gtest/gtest.h>

#include <utility>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/layouts.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using support::attended;
using support::inputs;

// So many that an item of work goes through some chunks of the longest keys.
constexpr index_t heads = 6;
const std::vector<float> slopes{0.3f, 0.1f, 0.03f, 0.004f, 0.001f, 0.0f};

/// Two queries, of which the first stands at the last key: under causal{} it sees all keys, as it
/// does alone.
template <class T>
inputs<T> two_rows(index_t keys, index_t channels) {
  return support::random_inputs<T>({.batch = 1,
                                    .query_heads = heads,
                                    .key_heads = heads,
                                    .query_length = 2,
                                    .key_length = keys,
                                    .head_dim = channels,
                                    .value_dim = channels},
                                   static_cast<std::uint32_t>(keys + channels));
}

attended<float> first_row(const attended<float>& of) {
  const index_t channels = of.out.shape[3];
  attended<float> result{support::tensor<float>({1, heads, 1, channels}),
                         support::tensor<float, 3>({1, heads, 1})};
  for (index_t h = 0; h < heads; ++h) {
    result.lse(0, h, 0) = of.lse(0, h, 0);
    for (index_t c = 0; c < channels; ++c) result.out(0, h, 0, c) = of.out(0, h, 0, c);
  }
  return result;
}

template <class T, class... Policies>
void expect_one_row(index_t keys, index_t channels, index_t key_offset,
                    const Policies&... policies) {
  SCOPED_TRACE(testing::Message() << keys << " keys from " << key_offset << ", " << channels
                                  << " channels");
  const inputs<T> in = two_rows<T>(keys, channels);
  const relpos::options opts{.query_offset = key_offset + keys - 1,
                             .key_offset = key_offset,
                             .kernel = relpos::kernel_class::decode};
  const auto q = std::as_const(in.q).view().slice(2, 0, 1);
  const attended<float> alone = support::attend(q, in.k.view(), in.v.view(), opts, policies...);
  expect_reference(alone, q, in.k.view(), in.v.view(), opts, policies...);
  EXPECT_TRUE(same_bits(alone, first_row(attend(in, opts, policies...))));

  // Heads vary fastest, so that the rows of one head are not contiguous.
  const auto k = lay_out(in.k, support::strides_of(in.k.shape, {0, 2, 1, 3}));
  const auto v = lay_out(in.v, support::strides_of(in.v.shape, {0, 2, 1, 3}));
  EXPECT_TRUE(same_bits(alone, support::attend(q, k.view(), v.view(), opts, policies...)));
  EXPECT_TRUE(same_bits(alone, support::attend(q, in.k.view(), v.view(), opts, policies...)));
}

/// use(keys, channels, key offset): lengths around whole tiles and chunks, whose edges move with
/// the offset.
template <class Use>
void for_each_length(const Use& use) {
  for (const index_t channels : {64, 128}) {
    for (const index_t keys : {129, 256, 257, 1024, 1025, 2500}) {
      for (const index_t key_offset : {0, 1000}) use(keys, channels, key_offset);
    }
  }
}

template <class T>
void expect_lengths() {
  for_each_length([](index_t keys, index_t channels, index_t key_offset) {
    expect_one_row<T>(keys, channels, key_offset, relpos::alibi{slopes}, relpos::causal{});
  });
}

TEST(decode_one_row, of_float) { expect_lengths<float>(); }
TEST(decode_one_row, of_bfloat16) { expect_lengths<relpos::bfloat16>(); }
TEST(decode_one_row, of_half) { expect_lengths<relpos::half>(); }

TEST(decode_one_row, of_keys_beside_values_of_another_type) {
  for_each_length([](index_t keys, index_t channels, index_t key_offset) {
    SCOPED_TRACE(testing::Message()
                 << keys << " keys from " << key_offset << ", " << channels << " channels");
    const inputs<float> in = two_rows<float>(keys, channels);
    const inputs<relpos::half> rounded = two_rows<relpos::half>(keys, channels);
    const relpos::options opts{.query_offset = key_offset + keys - 1,
                               .key_offset = key_offset,
                               .kernel = relpos::kernel_class::decode};
    const auto q = std::as_const(in.q).view().slice(2, 0, 1);
    const auto expect = [&](const auto& k, const auto& v) {
      const relpos::alibi line{slopes};
      const auto alone = support::attend(q, k.view(), v.view(), opts, line, relpos::causal{});
      expect_reference(alone, q, k.view(), v.view(), opts, line, relpos::causal{});
    };
    expect(in.k, rounded.v);
    expect(rounded.k, in.v);
  });
}

// Rotated keys are floats: beside values of 16 bits they are read in turns alone.
TEST(decode_one_row, of_rotated_keys) {
  for_each_length([](index_t keys, index_t channels, index_t key_offset) {
    const relpos::rotary_table rope(relpos::rope_frequencies(channels),
                                    relpos::pair_layout::half_split);
    expect_one_row<float>(keys, channels, key_offset, relpos::rotary{rope}, relpos::causal{});
  });
}

}  // namespace
