#include "relpos/policy/additive_bias.hpp"

#include <gtest/gtest.h>

#include "relpos/policy/mask/causal.hpp"
#include "support/attend.hpp"
#include "support/naive.hpp"

namespace {

using relpos::additive_bias;
using relpos::index_t;
using support::infinity;
using support::inputs;
using support::meaning;
using support::tensor;

constexpr std::array<index_t, 4> scores_shape{2, 4, 37, 150};

inputs<float> four_heads() {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 4,
                                 .key_heads = 2,
                                 .query_length = 37,
                                 .key_length = 150,
                                 .head_dim = 8,
                                 .value_dim = 8},
                                51);
}

/// A matrix that is broadcast along the axes whose bit is set.
struct broadcast_matrix {
  tensor<float> values;

  broadcast_matrix(unsigned axes, std::uint32_t seed) {
    std::array<index_t, 4> shape = scores_shape;
    for (std::size_t axis = 0; axis < 4; ++axis) {
      if (axes >> axis & 1u) shape[axis] = 1;
    }
    values = support::random_tensor(shape, seed, 2.0f);
  }

  double at(index_t b, index_t h, index_t row, index_t key) const {
    const auto within = [&](index_t i, std::size_t axis) {
      return values.shape[axis] == 1 ? 0 : i;
    };
    return values(within(b, 0), within(h, 1), within(row, 2), within(key, 3));
  }
  meaning means() const {
    return {.element_bias = [this](index_t b, index_t h, index_t row, index_t key) {
      return at(b, h, row, key);
    }};
  }
};

TEST(additive_bias, every_broadcast) {
  const inputs<float> in = four_heads();
  for (unsigned axes = 0; axes < 16; ++axes) {
    SCOPED_TRACE(axes);
    const broadcast_matrix matrix(axes, 60 + axes);
    expect_means(attend(in, {}, additive_bias{matrix.values.view()}), in, matrix.means());
  }
}

TEST(additive_bias, minus_infinity_hides) {
  const inputs<float> in = four_heads();
  for (unsigned axes = 0; axes < 16; ++axes) {
    SCOPED_TRACE(axes);
    broadcast_matrix matrix(axes, 80 + axes);
    support::random_numbers random(axes);
    for (float& value : matrix.values.values) {
      if (random.between(0, 3) == 0) value = -infinity;
    }
    expect_means(attend(in, {}, additive_bias{matrix.values.view()}), in, matrix.means());
  }
}

TEST(additive_bias, a_row_of_minus_infinity_is_empty) {
  const inputs<float> in = four_heads();
  broadcast_matrix matrix(0, 97);
  for (index_t key = 0; key < 150; ++key) matrix.values(1, 2, 20, key) = -infinity;
  const auto got = attend(in, {}, additive_bias{matrix.values.view()});
  expect_means(got, in, matrix.means());
  EXPECT_EQ(got.lse(1, 2, 20), -infinity);
  for (index_t c = 0; c < 8; ++c) EXPECT_EQ(got.out(1, 2, 20, c), 0.0f);
}

TEST(additive_bias, rows_are_those_of_the_call) {
  const inputs<float> in = four_heads();
  const broadcast_matrix matrix(0, 98);
  const auto here = attend(in, {}, additive_bias{matrix.values.view()});
  const auto there = attend(in, {.query_offset = 128 * 9 + 5, .key_offset = 128 * 20},
                            additive_bias{matrix.values.view()});
  EXPECT_TRUE(same_bits(here, there));
}

TEST(additive_bias, strides_of_any_kind) {
  const inputs<float> in = four_heads();
  const broadcast_matrix matrix(0, 99);
  tensor<float> transposed({2, 4, 150, 37});
  for (index_t b = 0; b < 2; ++b) {
    for (index_t h = 0; h < 4; ++h) {
      for (index_t row = 0; row < 37; ++row) {
        // Keys run backwards, in the axis that is not contiguous.
        for (index_t key = 0; key < 150; ++key) {
          transposed(b, h, 149 - key, row) = matrix.values(b, h, row, key);
        }
      }
    }
  }
  const relpos::view<const float, 4> strided(&transposed(0, 0, 149, 0), scores_shape,
                                             {4 * 150 * 37, 150 * 37, 1, -37});
  EXPECT_TRUE(same_bits(attend(in, {}, additive_bias{matrix.values.view()}),
                        attend(in, {}, additive_bias{strided})));
}

TEST(additive_bias, under_a_mask) {
  const inputs<float> in = four_heads();
  const broadcast_matrix matrix(1, 100);
  meaning means = matrix.means();
  means.visible = [](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; };
  expect_means(attend(in, {}, relpos::causal{}, additive_bias{matrix.values.view()}), in, means);
}

}  // namespace
