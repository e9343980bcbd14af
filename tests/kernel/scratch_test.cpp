// Scratch grows with the lengths and with the slots, never with their product.

#include <gtest/gtest.h>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/executors.hpp"

namespace {

using relpos::index;

const std::vector<float> slopes{0.3f, 0.02f};
const std::vector<float> table(64);

template <class... Policies>
std::size_t bytes(index queries, index keys, index slots, const Policies&... policies) {
  const relpos::view<const float, 4> q(nullptr, {1, 2, queries, 64});
  const relpos::view<const float, 4> kv(nullptr, {1, 2, keys, 64});
  return relpos::scratch_bytes(support::shuffled{slots}, q, kv, kv, policies...);
}

template <class... Policies>
void expect_linear(const Policies&... policies) {
  const index length = 1 << 20;
  const std::size_t one = bytes(length, length, 1, policies...);
  // Tables over distance: 4 bytes for each of 2 length distances of 2 heads, and something fixed.
  EXPECT_LE(one, 4u * 2u * 2u * length + (1u << 20));
  EXPECT_LE(bytes(2 * length, 2 * length, 1, policies...), 2 * one);
  EXPECT_LE(bytes(length, 2 * length, 1, policies...), 2 * one);
  EXPECT_LE(bytes(2 * length, length, 1, policies...), 2 * one);
  EXPECT_LE(bytes(length, length, 8, policies...), 8 * one);
}

TEST(scratch_bytes, is_linear) {
  expect_linear();
  expect_linear(relpos::causal{});
  expect_linear(relpos::alibi{slopes}, relpos::causal{});
  expect_linear(relpos::relative_bias{[](index, index) { return 0.0; }});
  const relpos::view<const float, 4> nothing(nullptr, {1, 1, 1, 1});
  expect_linear(relpos::additive_bias{nothing});
}

TEST(scratch_bytes, of_a_bias_that_saturates_does_not_grow) {
  const relpos::t5_bias bias{table, relpos::bidirectional};
  EXPECT_EQ(bytes(1 << 20, 1 << 20, 1, bias), bytes(1 << 10, 1 << 10, 1, bias));
  EXPECT_EQ(bytes(1 << 20, 1 << 20, 1), bytes(1, 1, 1));
}

TEST(scratch_bytes, one_byte_less_is_refused) {
  const auto in = support::random_inputs({.query_heads = 2, .key_heads = 2, .query_length = 3}, 41);
  std::vector<std::byte> memory(relpos::scratch_bytes(relpos::serial{}, in.q.view(), in.k.view(),
                                                      in.v.view(), relpos::alibi{slopes}));
  support::tensor<float> out(in.q.shape, 7.0f);
  const auto run = [&] {
    return relpos::attention(relpos::serial{}, memory, out.view(), in.q.view(), in.k.view(),
                             in.v.view(), relpos::alibi{slopes});
  };
  memory.pop_back();
  EXPECT_EQ(run().code, relpos::status_code::scratch_too_small);
  for (const float value : out.values) EXPECT_EQ(value, 7.0f);
  memory.emplace_back();
  EXPECT_TRUE(run());
}

}  // namespace
