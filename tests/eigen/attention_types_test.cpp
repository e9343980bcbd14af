// Tensors of 16-bit types, each its own.

#include <gtest/gtest.h>

#include "eigen/tensors.hpp"

namespace {

using relpos::attention;
using relpos_test::same_bits;
using relpos_test::tensor;
using relpos_test::tensor_of;
using relpos_test::tensors;

const Eigen::DefaultDevice device;

/// Element by element by Eigen's conversions.
template <class To>
tensor_of<To> converted(const auto& from) {
  tensor_of<To> result(from.dimensions());
  for (Eigen::Index i = 0; i < from.size(); ++i) result.data()[i] = static_cast<To>(from.data()[i]);
  return result;
}

TEST(eigen_attention_types, out_is_rounded_to_its_own_type) {
  const tensors given;
  const tensor wanted = attention(given.q, given.k, given.v);
  tensor_of<Eigen::bfloat16> brains(2, 4, 37, 6);
  attention(device, brains, given.q, given.k, given.v);
  EXPECT_TRUE(same_bits(brains, converted<Eigen::bfloat16>(wanted)));
  tensor_of<Eigen::half> halves(2, 4, 37, 6);
  attention(device, halves, given.q, given.k, given.v);
  EXPECT_TRUE(same_bits(halves, converted<Eigen::half>(wanted)));
}

TEST(eigen_attention_types, tensors_each_have_their_own_type) {
  const tensors given;
  const auto q = converted<Eigen::half>(given.q);
  const auto k = converted<Eigen::bfloat16>(given.k);
  const tensor wanted = attention(converted<float>(q), converted<float>(k), given.v);
  tensor out = given.empty_out();
  attention(device, out, q, k, given.v);
  EXPECT_TRUE(same_bits(out, wanted));
}

TEST(eigen_attention_types, returns_the_type_of_q) {
  const tensors given;
  const auto q = converted<Eigen::bfloat16>(given.q);
  const auto k = converted<Eigen::bfloat16>(given.k);
  const auto v = converted<Eigen::bfloat16>(given.v);
  const tensor_of<Eigen::bfloat16> out = attention(q, k, v);
  EXPECT_TRUE(same_bits(out, converted<Eigen::bfloat16>(attention(
                                 converted<float>(q), converted<float>(k), converted<float>(v)))));
}

}  // namespace
