// The tile instructions of a call: one product for each 16 keys, 16 queries and 32 channels, and
// little else.

#include <gtest/gtest.h>

#include <vector>

#include "amx/emulated_amx.hpp"
#include "relpos/attention.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "support/random_tensors.hpp"

namespace {

using relpos::bfloat16;
using relpos::index_t;

support::amx_counts counts_of_call(const support::sizes& of) {
  const auto in = support::random_inputs<bfloat16>(of, 3);
  support::tensor<float> out({of.batch, of.query_heads, of.query_length, of.value_dim});
  const relpos::options opts{.kernel = relpos::kernel_class::prefill,
                             .arithmetic = relpos::arithmetic_type::bfloat16};
  std::vector<std::byte> memory(
      relpos::workspace_bytes(relpos::serial(), in.q.view(), in.k.view(), in.v.view(), opts));
  const support::amx_counts before = support::emulated_amx();
  const relpos::status done = relpos::attention(relpos::serial(), memory, out.view(), in.q.view(),
                                                in.k.view(), in.v.view(), opts);
  EXPECT_TRUE(done) << done.message;
  const support::amx_counts after = support::emulated_amx();
  return {after.configurations - before.configurations,
          after.releases - before.releases,
          after.clears - before.clears,
          after.loads - before.loads,
          after.products - before.products,
          after.stores - before.stores};
}

class amx_instructions : public testing::Test {
 protected:
  void SetUp() override {
    if (!support::amx_is_emulated()) GTEST_SKIP() << "the processor's own AMX counts nothing";
  }
};

constexpr index_t block_rows = relpos::geometry<relpos::native>::block_rows;

TEST_F(amx_instructions, of_a_block) {
  constexpr index_t keys = 256, head_dim = 64, value_dim = 96;
  const auto counts = counts_of_call({.batch = 1,
                                      .query_heads = 1,
                                      .key_heads = 1,
                                      .query_length = block_rows,
                                      .key_length = keys,
                                      .head_dim = head_dim,
                                      .value_dim = value_dim});
  const long products = keys / 16 * (block_rows / 16) * (head_dim + value_dim) / 32;
  EXPECT_EQ(counts.products, products);
  // Three vectors of queries share an operand of keys or values.
  EXPECT_EQ(counts.loads, products / 3 * 4);
  const long tiles_of_keys = keys / 128;
  const long sums = block_rows / 16 * (keys / 16 + tiles_of_keys * value_dim / 16);
  EXPECT_EQ(counts.clears, sums);
  EXPECT_EQ(counts.stores, sums);
  EXPECT_EQ(counts.configurations, 1);
  EXPECT_EQ(counts.releases, 1);
}

// A short group of queries takes no products of vectors that it does not fill.
TEST_F(amx_instructions, of_a_few_queries) {
  const auto counts = counts_of_call({.batch = 1,
                                      .query_heads = 1,
                                      .key_heads = 1,
                                      .query_length = 17,
                                      .key_length = 33,
                                      .head_dim = 40,
                                      .value_dim = 8});
  const long panels = 2, vectors = 2;
  EXPECT_EQ(counts.products, panels * 2 * vectors * 2 + panels * vectors);
  EXPECT_EQ(counts.releases, 1);
}

// Each block of queries configures the tiles of its own thread.
TEST_F(amx_instructions, of_two_blocks) {
  const auto counts = counts_of_call({.batch = 1,
                                      .query_heads = 1,
                                      .key_heads = 1,
                                      .query_length = block_rows + 1,
                                      .key_length = 32,
                                      .head_dim = 8,
                                      .value_dim = 8});
  EXPECT_EQ(counts.configurations, 2);
  EXPECT_EQ(counts.releases, 2);
}

}  // namespace
