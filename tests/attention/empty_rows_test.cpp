// A row that sees no key gives 0 and -inf; a call without rows, heads or channels gives nothing.

#include <gtest/gtest.h>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using support::attended;
using support::infinity;
using support::inputs;
using support::sizes;

sizes two_heads(index_t queries, index_t keys) {
  return {.batch = 2,
          .query_heads = 2,
          .key_heads = 1,
          .query_length = queries,
          .key_length = keys,
          .head_dim = 8,
          .value_dim = 5};
}

void expect_empty(const attended<float>& got, index_t first_row, index_t last_row) {
  for (index_t b = 0; b < got.out.shape[0]; ++b) {
    for (index_t h = 0; h < got.out.shape[1]; ++h) {
      for (index_t row = first_row; row < last_row; ++row) {
        EXPECT_EQ(got.lse(b, h, row), -infinity) << "row " << row;
        for (index_t c = 0; c < got.out.shape[3]; ++c) {
          EXPECT_EQ(std::bit_cast<int>(got.out(b, h, row, c)), 0) << "row " << row;
        }
      }
    }
  }
}

const std::vector<float> slopes{0.3f, 0.02f};

TEST(empty_rows, no_keys) {
  for (const index_t queries : {1, 17, 200}) {
    const inputs<float> in = support::random_inputs(two_heads(queries, 0), 1);
    expect_empty(attend(in, {}), 0, queries);
    expect_empty(attend(in, {}, relpos::alibi{slopes}, relpos::causal{}), 0, queries);
    expect_empty(attend(in, {.key_offset = 77}, relpos::alibi{slopes}, relpos::causal{}), 0,
                 queries);
  }
}

TEST(empty_rows, queries_before_all_keys) {
  const inputs<float> in = support::random_inputs(two_heads(200, 60), 2);
  // Rows 0 to 139 stand before the first key.
  const attended<float> got = attend(in, {}, relpos::alibi{slopes}, relpos::causal{});
  expect_empty(got, 0, 140);
  expect_reference(got, in, {}, relpos::alibi{slopes}, relpos::causal{});
  expect_empty(attend(in, {.query_offset = -200}, relpos::alibi{slopes}, relpos::causal{}), 0, 200);
}

TEST(empty_rows, bands_that_miss_the_keys) {
  const inputs<float> in = support::random_inputs(two_heads(200, 60), 3);
  expect_empty(attend(in, {.query_offset = 1000}, relpos::band{20, 20}), 0, 200);
  expect_empty(attend(in, {.query_offset = -1000}, relpos::band{20, 20}), 0, 200);
  // Row r stands at r: it sees the last keys up to r = 79.
  const relpos::options opts{.query_offset = 0};
  const attended<float> got = attend(in, opts, relpos::band{20, 0});
  expect_empty(got, 80, 200);
  expect_reference(got, in, opts, relpos::band{20, 0});
}

TEST(empty_rows, masks_that_contradict_each_other) {
  const inputs<float> in = support::random_inputs(two_heads(70, 70), 4);
  // Heads that look right only, under a causal mask: the own key is left.
  const relpos::alibi_one_sided right{slopes, 0};
  const attended<float> got = attend(in, {}, right, relpos::causal{});
  expect_reference(got, in, {}, right, relpos::causal{});
  expect_empty(attend(in, {.query_offset = 200}, right, relpos::causal{}), 0, 70);
}

TEST(empty_rows, only_minus_infinity) {
  const inputs<float> in = support::random_inputs(two_heads(20, 150), 5);
  const support::tensor<float> nothing({1, 1, 1, 1}, -infinity);
  expect_empty(attend(in, {}, relpos::additive_bias{nothing.view()}), 0, 20);
  const auto never = [](index_t, index_t) { return -double{infinity}; };
  expect_empty(attend(in, {}, relpos::relative_bias{never}), 0, 20);
}

TEST(empty_rows, no_rows_heads_batch_or_channels) {
  sizes none = two_heads(0, 40);
  EXPECT_TRUE(attend(support::random_inputs(none, 6), {}, relpos::alibi{slopes}, relpos::causal{})
                  .out.values.empty());
  none = two_heads(5, 40);
  none.batch = 0;
  EXPECT_TRUE(attend(support::random_inputs(none, 6), {}, relpos::alibi{slopes}, relpos::causal{})
                  .out.values.empty());
  none = two_heads(5, 40);
  none.query_heads = none.key_heads = 0;
  EXPECT_TRUE(attend(support::random_inputs(none, 6), {}).out.values.empty());

  none = two_heads(5, 40);
  none.value_dim = 0;
  const inputs<float> in = support::random_inputs(none, 6);
  const attended<float> got = attend(in, {}, relpos::alibi{slopes}, relpos::causal{});
  expect_reference(got, in, {}, relpos::alibi{slopes}, relpos::causal{});
}

}  // namespace
