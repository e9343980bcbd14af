// Workspace grows with the lengths and with the workers, never with their product.

#include <gtest/gtest.h>

#include <vector>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/executors.hpp"

namespace {

using relpos::index_t;

const std::vector<float> slopes{0.3f, 0.02f};
const std::vector<float> table(64);

// Nothing is read of it.
const float element = 0.0f;

template <class... Policies>
std::size_t bytes(index_t queries, index_t keys, index_t workers, const Policies&... policies) {
  const relpos::view<const float, 4> q(&element, {1, 2, queries, 64});
  const relpos::view<const float, 4> kv(&element, {1, 2, keys, 64});
  return relpos::workspace_bytes(support::shuffled{workers}, q, kv, kv, policies...);
}

template <class... Policies>
void expect_linear(const Policies&... policies) {
  const index_t length = 1 << 20;
  const std::size_t one = bytes(length, length, 1, policies...);
  EXPECT_GT(one, 0u);
  // Tables over distance: 4 bytes for each of 2 length distances of 2 heads, and something fixed.
  EXPECT_LE(one, 4u * 2u * 2u * length + (1u << 20));
  EXPECT_LE(bytes(2 * length, 2 * length, 1, policies...), 2 * one);
  EXPECT_LE(bytes(length, 2 * length, 1, policies...), 2 * one);
  EXPECT_LE(bytes(2 * length, length, 1, policies...), 2 * one);
  EXPECT_LE(bytes(length, length, 8, policies...), 8 * one);
}

TEST(workspace_bytes, is_linear) {
  expect_linear();
  expect_linear(relpos::causal{});
  expect_linear(relpos::alibi{slopes}, relpos::causal{});
  expect_linear(relpos::relative_bias{[](index_t, index_t) { return 0.0; }});
  const relpos::view<const float, 4> same(&element, {1, 1, 1, 1});
  expect_linear(relpos::additive_bias{same});
}

TEST(workspace_bytes, of_a_bias_that_saturates_does_not_grow) {
  const relpos::t5_bias bias{table, relpos::bidirectional};
  EXPECT_EQ(bytes(1 << 20, 1 << 20, 1, bias), bytes(1 << 10, 1 << 10, 1, bias));
  EXPECT_EQ(bytes(1 << 20, 1 << 20, 1), bytes(64, 64, 1));
}

// One long sequence beside many short ones takes what they would take apart, and something fixed.
TEST(workspace_bytes, of_a_ragged_batch_is_of_its_rows) {
  constexpr index_t long_keys = 1 << 17;
  const auto bytes_of = [](index_t shorts) {
    std::vector<index_t> query_starts{0};
    std::vector<index_t> key_starts{0};
    for (index_t i = 0; i <= shorts; ++i) {
      query_starts.push_back(i + 1);
      key_starts.push_back(long_keys + i);
    }
    const relpos::view<const float, 4> q(&element, {1, 2, shorts + 1, 64});
    const relpos::view<const float, 4> kv(&element, {1, 2, long_keys + shorts, 64});
    return relpos::workspace_bytes(
        support::shuffled{1}, q, kv, kv,
        relpos::options{.query_starts = query_starts, .key_starts = key_starts});
  };
  // A state of 66 floats for each head and for each of at most two parts of the keys; the plan.
  EXPECT_GT(bytes_of(0), 0u);
  EXPECT_LE(bytes_of(256), bytes_of(0) + 256u * (2u * 2u * 66u * 4u + 200u));
}

TEST(workspace_bytes, one_byte_less_is_refused) {
  const auto in = support::random_inputs({.query_heads = 2, .key_heads = 2, .query_length = 3}, 41);
  std::vector<std::byte> memory(relpos::workspace_bytes(relpos::serial{}, in.q.view(), in.k.view(),
                                                        in.v.view(), relpos::alibi{slopes}));
  support::tensor<float> out(in.q.shape, 7.0f);
  const auto run = [&] {
    return relpos::attention(relpos::serial{}, memory, out.view(), in.q.view(), in.k.view(),
                             in.v.view(), relpos::alibi{slopes});
  };
  memory.pop_back();
  EXPECT_EQ(run().code, relpos::status_code::workspace_too_small);
  for (const float value : out.values) EXPECT_EQ(value, 7.0f);
  memory.emplace_back();
  EXPECT_TRUE(run());
}

}  // namespace
