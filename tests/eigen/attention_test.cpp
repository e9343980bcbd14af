// The ways to say one call over Eigen tensors.

#include "relpos/eigen/attention.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "eigen/tensors.hpp"

namespace {

using relpos::alibi;
using relpos::attention;
using relpos::causal;
using relpos::options;
using relpos_test::largest_error;
using relpos_test::lse_tensor;
using relpos_test::random_tensor;
using relpos_test::same_bits;
using relpos_test::tensor;
using relpos_test::tensors;

const Eigen::DefaultDevice device;

TEST(eigen_attention, is_what_the_definition_says) {
  const tensors given;
  lse_tensor lse(2, 4, 37);
  const tensor out =
      attention(given.q, given.k, given.v, alibi{given.slopes}, causal{}, options{.lse = lse});
  const relpos_test::causal_alibi<double> exact(given);
  const relpos_test::causal_alibi<float> naive(given);
  const double floor = std::numeric_limits<float>::epsilon();
  EXPECT_LE(largest_error(out, exact.out), 2 * largest_error(naive.out, exact.out) + floor);
  EXPECT_LE(largest_error(lse, exact.lse), 2 * largest_error(naive.lse, exact.lse) + floor);
}

TEST(eigen_attention, fills_a_tensor_with_what_the_returning_form_returns) {
  const tensors given;
  const tensor returned = attention(given.q, given.k, given.v, alibi{given.slopes}, causal{});
  tensor out = given.empty_out();
  attention(device, out, given.q, given.k, given.v, alibi{given.slopes}, causal{});
  EXPECT_TRUE(same_bits(out, returned));
}

TEST(eigen_attention, takes_maps_and_what_is_not_const) {
  tensors given;
  const tensor wanted = attention(given.q, given.k, given.v, alibi{given.slopes}, causal{});
  Eigen::TensorMap<tensor> q(given.q.data(), given.q.dimensions());
  const Eigen::TensorMap<tensor> k(given.k.data(), given.k.dimensions());
  Eigen::TensorMap<const tensor> v(given.v.data(), given.v.dimensions());
  EXPECT_TRUE(same_bits(attention(q, k, v, alibi{given.slopes}, causal{}), wanted));

  tensor out = given.empty_out();
  Eigen::TensorMap<tensor> map(out.data(), out.dimensions());
  attention(device, map, q, given.k, v, alibi{given.slopes}, causal{});
  EXPECT_TRUE(same_bits(out, wanted));
  out.setZero();
  attention(device, Eigen::TensorMap<tensor>(out.data(), out.dimensions()), given.q, k, v,
            alibi{given.slopes}, causal{});
  EXPECT_TRUE(same_bits(out, wanted));
}

TEST(eigen_attention, options_stand_anywhere) {
  const tensors given;
  lse_tensor lse(2, 4, 37);
  const auto with_lse = [&] { return options{.scale = 0.5f, .lse = lse}; };
  const tensor last =
      attention(given.q, given.k, given.v, alibi{given.slopes}, causal{}, with_lse());
  const lse_tensor wanted = lse;

  lse.setZero();
  const tensor first =
      attention(given.q, given.k, given.v, with_lse(), alibi{given.slopes}, causal{});
  EXPECT_TRUE(same_bits(first, last));
  EXPECT_TRUE(same_bits(lse, wanted));

  lse.setZero();
  const tensor between =
      attention(given.q, given.k, given.v, alibi{given.slopes}, with_lse(), causal{});
  EXPECT_TRUE(same_bits(between, last));
  EXPECT_TRUE(same_bits(lse, wanted));
}

TEST(eigen_attention, lse_may_be_a_map) {
  const tensors given;
  lse_tensor lse(2, 4, 37);
  lse_tensor mapped(2, 4, 37);
  attention(given.q, given.k, given.v, alibi{given.slopes}, causal{}, options{.lse = lse});
  Eigen::TensorMap<lse_tensor> map(mapped.data(), mapped.dimensions());
  attention(given.q, given.k, given.v, alibi{given.slopes}, causal{}, options{.lse = map});
  EXPECT_TRUE(same_bits(lse, mapped));
}

TEST(eigen_attention, t5_takes_a_tensor_as_its_table) {
  const tensors given;
  Eigen::Tensor<float, 2, Eigen::RowMajor> table(32, 4);
  std::vector<float> values(std::size_t{32} * 4);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = table.data()[i] = static_cast<float>(i % 7) * 0.25f;
  }
  const tensor by_tensor =
      attention(given.q, given.k, given.v, relpos::t5_bias{table, relpos::bidirectional});
  const tensor by_vector =
      attention(given.q, given.k, given.v, relpos::t5_bias{values, relpos::bidirectional});
  EXPECT_TRUE(same_bits(by_tensor, by_vector));
  EXPECT_FALSE(same_bits(by_tensor, attention(given.q, given.k, given.v)));
}

TEST(eigen_attention, additive_bias_takes_a_tensor) {
  const tensors given;
  const tensor bias = random_tensor(1, 4, 37, 150, 9);
  tensor zero = bias;
  zero.setZero();
  const tensor plain = attention(given.q, given.k, given.v);
  EXPECT_TRUE(same_bits(attention(given.q, given.k, given.v, relpos::additive_bias{zero}), plain));
  EXPECT_FALSE(same_bits(attention(given.q, given.k, given.v, relpos::additive_bias{bias}), plain));
}

TEST(eigen_attention, empty_tensors_are_no_error) {
  const tensor q(0, 4, 3, 8);
  const tensor k(0, 2, 5, 8);
  const tensor v(0, 2, 5, 6);
  const tensor no_batch = attention(q, k, v);
  EXPECT_EQ(no_batch.size(), 0);
  EXPECT_EQ(no_batch.dimension(3), 6);

  const tensor no_rows(2, 4, 0, 8);
  const tensor rows_of_none =
      attention(no_rows, tensor(2, 2, 5, 8).setZero(), tensor(2, 2, 5, 6).setZero());
  EXPECT_EQ(rows_of_none.dimension(2), 0);
}

TEST(eigen_attention, without_keys_rows_are_zero) {
  const tensor q = random_tensor(2, 4, 3, 8, 1);
  lse_tensor lse(2, 4, 3);
  const tensor out = attention(q, tensor(2, 2, 0, 8), tensor(2, 2, 0, 6), options{.lse = lse});
  EXPECT_EQ(out.size(), 2 * 4 * 3 * 6);
  for (Eigen::Index i = 0; i < out.size(); ++i) EXPECT_EQ(out.data()[i], 0.0f);
  for (Eigen::Index i = 0; i < lse.size(); ++i) {
    EXPECT_EQ(lse.data()[i], -std::numeric_limits<float>::infinity());
  }
}

TEST(eigen_partial, of_two_slices_merge_to_the_whole) {
  tensors given;
  lse_tensor lse(2, 4, 37);
  const tensor whole =
      attention(given.q, given.k, given.v, alibi{given.slopes}, causal{}, options{.lse = lse});
  const auto slice = [](const tensor& from, Eigen::Index first, Eigen::Index count) {
    tensor result(2, 2, count, from.dimension(3));
    for (Eigen::Index b = 0; b < 2; ++b) {
      for (Eigen::Index h = 0; h < 2; ++h) {
        for (Eigen::Index row = 0; row < count; ++row) {
          for (Eigen::Index c = 0; c < from.dimension(3); ++c) {
            result(b, h, row, c) = from(b, h, first + row, c);
          }
        }
      }
    }
    return result;
  };
  tensor out[2] = {given.empty_out(), given.empty_out()};
  lse_tensor parts[2] = {lse_tensor(2, 4, 37), lse_tensor(2, 4, 37)};
  const Eigen::Index first[2] = {0, 60};
  const Eigen::Index count[2] = {60, 90};
  for (int i = 0; i < 2; ++i) {
    relpos::partial(device, {out[i], parts[i]}, given.q, slice(given.k, first[i], count[i]),
                    slice(given.v, first[i], count[i]), alibi{given.slopes}, causal{},
                    options{.query_offset = 150 - 37, .key_offset = first[i]});
  }
  relpos::merge(device, {out[0], parts[0]}, {out[1], parts[1]});
  EXPECT_LE(largest_error(out[0], whole), 4e-6);
  EXPECT_LE(largest_error(parts[0], lse), 4e-6);
}

}  // namespace
