// Decode on the GPU, whose keys are split into chunks, against the reference: rows of one block and
// of several, edges of chunks, what masks hide, and bits that depend on nothing beside the row.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "cuda/expect_device.hpp"
#include "relpos/policies.hpp"

namespace {

using relpos::bfloat16;
using relpos::half;
using relpos::index_t;
using support::device_array;
using support::expect_device;
using support::inputs;

using decode = support::device_test;

const std::vector<float> slopes{0.3f, 0.02f, 0.11f, 0.004f};

template <class T, int HeadDim>
inputs<T> inputs_of(index_t queries, index_t keys, index_t key_heads = 1, index_t batch = 1) {
  return support::random_inputs<T>({.batch = batch,
                                    .query_heads = 4,
                                    .key_heads = key_heads,
                                    .query_length = queries,
                                    .key_length = keys,
                                    .head_dim = HeadDim,
                                    .value_dim = HeadDim},
                                   static_cast<std::uint32_t>(queries * 7 + keys));
}

template <class T, int HeadDim>
void expect_lengths(std::initializer_list<index_t> queries, std::initializer_list<index_t> keys) {
  for (const index_t rows : queries) {
    for (const index_t length : keys) {
      SCOPED_TRACE(testing::Message() << rows << " queries, " << length << " keys");
      expect_device<HeadDim>(inputs_of<T, HeadDim>(rows, length),
                             {.kernel = relpos::kernel_class::decode}, relpos::alibi{slopes},
                             relpos::causal{});
    }
  }
}

// Four heads share keys: four queries fill a block, five take two.
TEST_F(decode, of_half_at_64) {
  expect_lengths<half, 64>({1, 4, 5, 9}, {1, 15, 17, 255, 256, 257, 700});
}
TEST_F(decode, of_bfloat16_at_96) { expect_lengths<bfloat16, 96>({1, 4}, {33, 700}); }
TEST_F(decode, of_bfloat16_at_128) { expect_lengths<bfloat16, 128>({1, 4}, {33, 700}); }
TEST_F(decode, of_half_at_256) { expect_lengths<half, 256>({1, 5}, {33, 700}); }
TEST_F(decode, of_float) {
  expect_lengths<float, 64>({1, 5}, {33, 700});
  expect_lengths<float, 128>({3}, {33, 300});
  expect_lengths<float, 256>({3}, {33, 300});
}

TEST_F(decode, heads_that_share_keys_or_do_not) {
  for (const index_t key_heads : {1, 2, 4}) {
    expect_device<64>(inputs_of<half, 64>(2, 700, key_heads, 2), {}, relpos::alibi{slopes},
                      relpos::causal{});
  }
}

TEST_F(decode, positions_from_offsets) {
  const auto in = inputs_of<half, 64>(2, 700);
  for (const index_t key_offset : {index_t{5}, index_t{-300}, (index_t{1} << 40) + 3}) {
    for (const index_t query_offset : {key_offset + 698, key_offset + 40, key_offset - 30}) {
      SCOPED_TRACE(testing::Message() << query_offset << ", " << key_offset);
      expect_device<64>(in, {.query_offset = query_offset, .key_offset = key_offset},
                        relpos::alibi{slopes}, relpos::causal{});
    }
  }
}

TEST_F(decode, none_and_no_keys) {
  expect_device<64>(inputs_of<half, 64>(0, 70), {});
  expect_device<64>(inputs_of<half, 64>(1, 0), {});
  const std::vector<float> logits{1.0f, -2.0f, 0.0f, 3.0f};
  expect_device<64>(inputs_of<half, 64>(1, 0), {}, relpos::sink_logits{logits});
  expect_device<64>(inputs_of<half, 64>(2, 70), {.query_offset = -500}, relpos::sink_logits{logits},
                    relpos::causal{});
}

TEST_F(decode, beside_many_in_a_ragged_batch) {
  const auto in = inputs_of<half, 64>(90, 1500);
  const std::vector<index_t> queries{0, 1, 1, 70, 73, 90};
  const std::vector<index_t> keys{0, 650, 700, 800, 1483, 1500};
  expect_device<64>(in, {.query_starts = queries, .key_starts = keys}, relpos::alibi{slopes},
                    relpos::causal{});
}

TEST_F(decode, policies) {
  const auto in = inputs_of<half, 64>(3, 700);
  std::vector<float> table(32 * 4);
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 7) * 0.3f;
  expect_device<64>(in, {}, relpos::t5_bias{table, relpos::unidirectional}, relpos::causal{});
  expect_device<64>(in, {.softcap = 5.0f}, relpos::head_temperature{slopes}, relpos::band{300, 0});
  expect_device<64>(in, {}, relpos::ssmax{slopes}, relpos::alibi{slopes}, relpos::causal{});
  expect_device<64>(in, {}, relpos::either{relpos::band{40, 0}, relpos::sinks{4}},
                    relpos::causal{});
  const auto wave = [](index_t head, index_t distance) {
    return std::sin(0.1 * static_cast<double>(distance)) * static_cast<double>(head + 1);
  };
  const device_array<float> gates(support::random_tensor({1, 1, 4, 3}, 5).values);
  const relpos::view<const float, 3> of_rows(gates.data(), {1, 4, 3});
  expect_device<64>(in, {}, relpos::gated_bias{of_rows, relpos::relative_bias{wave}},
                    relpos::causal{});
  const device_array<float> numbers(support::random_tensor({1, 4, 3, 700}, 3).values);
  const relpos::view<const float, 4> matrix(numbers.data(), {1, 4, 3, 700});
  expect_device<64>(in, {}, relpos::additive_bias{matrix}, relpos::causal{});
}

TEST_F(decode, what_is_hidden_reaches_no_row) {
  auto in = inputs_of<half, 64>(3, 700);
  for (index_t row = 600; row < 700; ++row) {
    for (index_t c = 0; c < 64; ++c) {
      in.k(0, 0, row, c) = half(std::numeric_limits<float>::quiet_NaN());
      in.v(0, 0, row, c) = half(std::numeric_limits<float>::infinity());
    }
  }
  expect_device<64>(in, {.query_offset = 597}, relpos::alibi{slopes}, relpos::causal{});
  // A tile of sixteen keys has both.
  expect_device<64>(in, {.query_offset = 597, .key_offset = 3}, relpos::causal{});
}

/// Rows of a call, each also alone.
template <class... Policies>
void expect_same_bits_alone(index_t keys, const Policies&... policies) {
  const auto both = inputs_of<half, 64>(3, keys, 2, 2);
  const auto whole = support::attend_on_device<64>(both, {}, policies...);
  inputs<half> one = both;
  one.q = support::tensor<half>({2, 4, 1, 64});
  for (index_t row = 0; row < 3; ++row) {
    for (index_t batch = 0; batch < 2; ++batch) {
      for (index_t head = 0; head < 4; ++head) {
        for (index_t c = 0; c < 64; ++c) one.q(batch, head, 0, c) = both.q(batch, head, row, c);
      }
    }
    const auto got =
        support::attend_on_device<64>(one, {.query_offset = keys - 3 + row}, policies...);
    for (index_t batch = 0; batch < 2; ++batch) {
      for (index_t head = 0; head < 4; ++head) {
        EXPECT_EQ(std::memcmp(&got.out(batch, head, 0, 0), &whole.out(batch, head, row, 0),
                              64 * sizeof(float)),
                  0)
            << "row " << row << " of head " << head;
        EXPECT_EQ(got.lse(batch, head, 0), whole.lse(batch, head, row));
      }
    }
  }
}

TEST_F(decode, a_row_has_the_same_bits_beside_any_others) {
  expect_same_bits_alone(700, relpos::alibi{slopes}, relpos::causal{});
  // The first row, at 1535, sees a chunk of 256 that the others do not, and all see more chunks
  // than a merge has warps.
  expect_same_bits_alone(1538, relpos::band{1280, 0});
}

}  // namespace
