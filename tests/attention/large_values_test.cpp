// Scores far beyond the exponential's range, values near the largest float, positions near the
// limit.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using support::inputs;

const std::vector<float> slopes{0.3f, 0.02f};

inputs<float> two_heads(float spread) {
  return support::random_inputs({.batch = 1,
                                 .query_heads = 2,
                                 .key_heads = 2,
                                 .query_length = 100,
                                 .key_length = 260,
                                 .head_dim = 16,
                                 .value_dim = 8},
                                37, spread);
}

// All keys of a row share a large score and differ by little, so that rounding shows in every row.
TEST(large_values, scores_to_ten_thousand) {
  for (const float score : {300.0f, -300.0f, 1e4f, -1e4f}) {
    inputs<float> in = two_heads(3.0f);
    for (index_t h = 0; h < 2; ++h) {
      for (index_t row = 0; row < 100; ++row) in.q(0, h, row, 0) = score * std::sqrt(16.0f);
      for (index_t key = 0; key < 260; ++key) in.k(0, h, key, 0) = 1.0f;
    }
    expect_reference_of(in, {}, relpos::alibi{slopes}, relpos::causal{});
  }
}

TEST(large_values, equal_scores_of_any_size) {
  // A score of any size that all keys share changes lse alone.
  for (const float score : {1e4f, -1e4f, 1e30f, -1e30f}) {
    inputs<float> in = two_heads(1.0f);
    for (float& value : in.q.values) value = 0.0f;
    for (float& value : in.k.values) value = 0.0f;
    const support::tensor<float> everywhere({1, 1, 1, 1}, score);
    const auto got = attend(in, {}, relpos::additive_bias{everywhere.view()});
    EXPECT_TRUE(same_bits(
        got.out, attend(in, {}, relpos::additive_bias{everywhere.view()}, relpos::full{}).out));
    expect_reference(got, in, {}, relpos::additive_bias{everywhere.view()});
  }
}

// Many models write the largest float where they mean minus infinity. A row that has nothing else
// is the mean of its values, not an empty row.
TEST(large_values, biases_of_the_largest_float) {
  constexpr float largest = std::numeric_limits<float>::max();
  inputs<float> in = two_heads(1.0f);
  support::tensor<float> matrix({1, 1, 100, 260}, 0.0f);
  for (index_t row = 0; row < 100; ++row) {
    for (index_t key = 0; key < 260; ++key) {
      if (row % 3 == 0 || key % 2 == 0) matrix(0, 0, row, key) = -largest;
      if (row % 7 == 1 && key == 33) matrix(0, 0, row, key) = largest;
    }
  }
  const auto got = attend(in, {}, relpos::additive_bias{matrix.view()});
  for (index_t row = 0; row < 100; row += 3) {
    if (row % 7 == 1) continue;
    for (index_t c = 0; c < 8; ++c) {
      double mean = 0.0;
      for (index_t key = 0; key < 260; ++key) mean += in.v(0, 0, key, c) / 260.0;
      EXPECT_NEAR(got.out(0, 0, row, c), mean, 1e-6);
    }
    EXPECT_TRUE(std::isfinite(got.lse(0, 0, row)));
  }
  for (index_t row = 1; row < 100; row += 21) {
    for (index_t c = 0; c < 8; ++c) EXPECT_EQ(got.out(0, 0, row, c), in.v(0, 0, 33, c));
  }
}

TEST(large_values, values_near_the_largest_float) {
  inputs<float> in = two_heads(1.0f);
  for (float& value : in.v.values) value *= 1e36f;
  expect_reference_of(in, {}, relpos::alibi{slopes}, relpos::causal{});
}

TEST(large_values, steep_slopes) {
  const inputs<float> in = two_heads(1.0f);
  const std::vector<float> steep{1e4f, 1e30f};
  expect_reference_of(in, {}, relpos::alibi{steep}, relpos::causal{});
}

// One unit of distance at 2^30: exact to a part in 2^23, which the sum over the keys does not
// notice.
TEST(large_values, keys_far_behind_the_queries) {
  const inputs<float> in = two_heads(3.0f);
  const std::vector<float> flat{1e-9f, 1e-8f};
  const relpos::options opts{.query_offset = (index_t{1} << 30) + 7, .key_offset = -12345};
  expect_reference_of(in, opts, relpos::alibi{flat}, relpos::causal{});
}

}  // namespace
