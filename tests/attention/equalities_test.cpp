// Calls that say the same thing in other words give the same bits.

#include <gtest/gtest.h>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/naive.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using support::attended;
using support::inputs;
using support::sizes;
using support::tensor;

constexpr sizes shape{.batch = 3,
                      .query_heads = 6,
                      .key_heads = 2,
                      .query_length = 41,
                      .key_length = 150,
                      .head_dim = 8,
                      .value_dim = 8};
const std::vector<float> slopes{0.3f, 0.02f, 0.11f, 0.5f, 0.004f, 0.07f};

/// The heads `picked` of `batches`, in that order.
template <class T, std::size_t Rank>
tensor<T, Rank> pick(const tensor<T, Rank>& from, const std::vector<index_t>& batches,
                     const std::vector<index_t>& heads) {
  std::array<index_t, Rank> picked_shape = from.shape;
  picked_shape[0] = static_cast<index_t>(batches.size());
  picked_shape[1] = static_cast<index_t>(heads.size());
  tensor<T, Rank> result(picked_shape);
  auto to = result.values.begin();
  const index_t head_size =
      static_cast<index_t>(from.values.size()) / (from.shape[0] * from.shape[1]);
  for (const index_t b : batches) {
    for (const index_t h : heads) {
      const auto first = from.values.begin() + (b * from.shape[1] + h) * head_size;
      to = std::copy(first, first + head_size, to);
    }
  }
  return result;
}

TEST(equalities, grouped_queries_are_repeated_keys) {
  const inputs<float> grouped = support::random_inputs(shape, 7);
  const std::vector<index_t> all{0, 1, 2};
  const std::vector<index_t> repeated{0, 0, 0, 1, 1, 1};
  const inputs<float> separate{grouped.q, pick(grouped.k, all, repeated),
                               pick(grouped.v, all, repeated)};
  EXPECT_TRUE(same_bits(attend(grouped, {}, relpos::alibi{slopes}, relpos::causal{}),
                        attend(separate, {}, relpos::alibi{slopes}, relpos::causal{})));
}

TEST(equalities, order_of_batch_and_heads) {
  const inputs<float> in = support::random_inputs(shape, 8);
  const std::vector<index_t> batches{2, 0, 1};
  const std::vector<index_t> key_heads{1, 0};
  const std::vector<index_t> heads{4, 3, 5, 1, 2, 0};
  std::vector<float> moved_slopes;
  for (const index_t h : heads) moved_slopes.push_back(slopes[static_cast<std::size_t>(h)]);
  const inputs<float> moved{pick(in.q, batches, heads), pick(in.k, batches, key_heads),
                            pick(in.v, batches, key_heads)};
  const attended<float> expected = attend(in, {}, relpos::alibi{slopes}, relpos::causal{});
  const attended<float> got = attend(moved, {}, relpos::alibi{moved_slopes}, relpos::causal{});
  EXPECT_TRUE(same_bits(got.out, pick(expected.out, batches, heads)));
  EXPECT_TRUE(same_bits(got.lse, pick(expected.lse, batches, heads)));
}

TEST(equalities, a_head_alone_is_a_head_among_others) {
  const inputs<float> in = support::random_inputs(shape, 9);
  const attended<float> expected = attend(in, {}, relpos::alibi{slopes}, relpos::causal{});
  for (const index_t h : {0, 2, 5}) {
    const std::vector<float> own{slopes[static_cast<std::size_t>(h)]};
    const inputs<float> alone{pick(in.q, {1}, {h}), pick(in.k, {1}, {h / 3}),
                              pick(in.v, {1}, {h / 3})};
    const attended<float> got = attend(alone, {}, relpos::alibi{own}, relpos::causal{});
    EXPECT_TRUE(same_bits(got.out, pick(expected.out, {1}, {h})));
    EXPECT_TRUE(same_bits(got.lse, pick(expected.lse, {1}, {h})));
  }
}

TEST(equalities, order_of_arguments_that_do_not_add) {
  const inputs<float> in = support::random_inputs(shape, 10);
  const relpos::temperature warm{1.7};
  EXPECT_TRUE(same_bits(attend(in, {}, relpos::alibi{slopes}, relpos::causal{}, warm),
                        attend(in, {}, warm, relpos::causal{}, relpos::alibi{slopes})));
}

TEST(equalities, several_biases_add) {
  const inputs<float> in = support::random_inputs(shape, 11);
  const std::vector<float> table = support::random_tensor({1, 1, 32, 6}, 3).values;
  const tensor<float> matrix = support::random_tensor({1, 6, 41, 150}, 4);
  const relpos::alibi line{slopes};
  const relpos::t5_bias buckets{table, relpos::bidirectional};
  const relpos::relative_bias constant{
      [](index_t head, index_t) { return 0.25 * static_cast<double>(head); }};
  const relpos::additive_bias any{matrix.view()};
  expect_reference(attend(in, {}, line, buckets, constant, any, relpos::causal{}), in, {}, line,
                   buckets, constant, any, relpos::causal{});
  expect_means(attend(in, {}, line, line), in, {.bias = [](index_t head, index_t distance) {
                 return 2.0 * slopes[static_cast<std::size_t>(head)] *
                        static_cast<double>(distance);
               }});
}

TEST(equalities, the_default_scale_written_out) {
  const inputs<float> in = support::random_inputs(shape, 12);
  EXPECT_TRUE(same_bits(attend(in, {}), attend(in, {.scale = 1.0f / std::sqrt(8.0f)})));
  EXPECT_TRUE(same_bits(attend(in, {}), attend(in, {.query_offset = 109, .key_offset = 0})));
}

}  // namespace
