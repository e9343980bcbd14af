#include "relpos/eigen/view.hpp"

#include <gtest/gtest.h>

#include <array>
#include <type_traits>
#include <utility>
#include <vector>

#include "relpos/core/borrowed_data.hpp"

namespace {

using relpos::index_t;
using relpos::view;
using relpos::view_of;
using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

tensor numbered_tensor() {
  tensor result(2, 3, 4, 5);
  for (Eigen::Index i = 0; i < result.size(); ++i) result.data()[i] = static_cast<float>(i);
  return result;
}

template <class Tensor>
void expect_same_elements(Tensor& elements) {
  const auto array = view_of(elements);
  EXPECT_EQ(array.shape, (std::array<index_t, 4>{2, 3, 4, 5}));
  for (index_t a = 0; a < 2; ++a) {
    for (index_t b = 0; b < 3; ++b) {
      for (index_t c = 0; c < 4; ++c) {
        for (index_t d = 0; d < 5; ++d)
          EXPECT_EQ(&array(a, b, c, d), &std::as_const(elements)(a, b, c, d));
      }
    }
  }
}

TEST(eigen_view, has_the_elements_of_the_tensor_in_its_order) {
  tensor array = numbered_tensor();
  expect_same_elements(array);
  expect_same_elements(std::as_const(array));
  Eigen::TensorMap<tensor> map(array.data(), 2, 3, 4, 5);
  expect_same_elements(map);
  Eigen::TensorMap<const tensor> read_only(array.data(), 2, 3, 4, 5);
  expect_same_elements(read_only);
}

TEST(eigen_view, is_contiguous) {
  tensor array = numbered_tensor();
  EXPECT_EQ(view_of(array).strides, (std::array<index_t, 4>{60, 20, 5, 1}));
}

TEST(eigen_view, writes_into_the_tensor) {
  tensor array = numbered_tensor();
  view_of(array)(1, 2, 3, 4) = -1.0f;
  EXPECT_EQ(array(1, 2, 3, 4), -1.0f);
}

TEST(eigen_view, holds_the_bits_of_16_bit_tensors) {
  Eigen::Tensor<Eigen::half, 4, Eigen::RowMajor> halves(1, 1, 1, 2);
  halves(0, 0, 0, 1) = static_cast<Eigen::half>(1.5f);
  EXPECT_EQ(static_cast<float>(view_of(halves)(0, 0, 0, 1)), 1.5f);
  Eigen::Tensor<Eigen::bfloat16, 4, Eigen::RowMajor> brains(1, 1, 1, 2);
  brains(0, 0, 0, 1) = static_cast<Eigen::bfloat16>(-2.5f);
  EXPECT_EQ(static_cast<float>(view_of(brains)(0, 0, 0, 1)), -2.5f);
}

// Two types for the same bits: compilers must not take them for different memory.
TEST(eigen_view, of_16_bit_tensors_is_seen_through_by_eigen) {
  Eigen::Tensor<Eigen::half, 4, Eigen::RowMajor> halves(1, 1, 1, 1);
  halves(0, 0, 0, 0) = static_cast<Eigen::half>(1.5f);
  view_of(halves)(0, 0, 0, 0) = relpos::half(2.5f);
  EXPECT_EQ(static_cast<float>(halves(0, 0, 0, 0)), 2.5f);
  Eigen::Tensor<Eigen::bfloat16, 4, Eigen::RowMajor> brains(1, 1, 1, 1);
  brains(0, 0, 0, 0) = static_cast<Eigen::bfloat16>(1.5f);
  view_of(brains)(0, 0, 0, 0) = relpos::bfloat16(2.5f);
  EXPECT_EQ(static_cast<float>(brains(0, 0, 0, 0)), 2.5f);
}

TEST(eigen_view, of_an_empty_tensor_is_empty) {
  tensor nothing(2, 0, 4, 5);
  EXPECT_EQ(view_of(nothing).size(), 0);
  EXPECT_EQ(view_of(nothing).shape, (std::array<index_t, 4>{2, 0, 4, 5}));
}

TEST(eigen_view, tensors_with_32_bit_indices_are_tensors_too) {
  Eigen::Tensor<float, 3, Eigen::RowMajor, int> array(2, 3, 4);
  EXPECT_EQ(view_of(array).shape, (std::array<index_t, 3>{2, 3, 4}));
}

template <class Tensor>
using element_of = typename decltype(view_of(std::declval<Tensor&>()))::value_type;
template <class Scalar>
using tensor_of = Eigen::Tensor<Scalar, 4, Eigen::RowMajor>;
static_assert(std::is_same_v<element_of<tensor>, float>);
static_assert(std::is_same_v<element_of<const tensor>, const float>);
static_assert(std::is_same_v<element_of<Eigen::TensorMap<tensor>>, float>);
static_assert(std::is_same_v<element_of<Eigen::TensorMap<const tensor>>, const float>);
static_assert(std::is_same_v<element_of<tensor_of<Eigen::half>>, relpos::half>);
static_assert(std::is_same_v<element_of<const tensor_of<Eigen::bfloat16>>, const relpos::bfloat16>);
static_assert(std::is_convertible_v<tensor&, view<const float, 4>>);
static_assert(!std::is_convertible_v<const tensor&, view<float, 4>>);

TEST(eigen_borrowed_data, is_an_eigen_vector_array_or_tensor) {
  Eigen::VectorXf vector(3);
  const Eigen::Array<float, 4, 1> array = Eigen::Array<float, 4, 1>::Zero();
  Eigen::Tensor<float, 1, Eigen::RowMajor> rank_1(5);
  EXPECT_EQ(relpos::borrowed_data(vector).data, vector.data());
  EXPECT_EQ(relpos::borrowed_data(vector).size, 3);
  EXPECT_EQ(relpos::borrowed_data(array).data, array.data());
  EXPECT_EQ(relpos::borrowed_data(array).size, 4);
  EXPECT_EQ(relpos::borrowed_data(rank_1).size, 5);
  EXPECT_EQ(relpos::borrowed_data(rank_1).rows, 0);
}

TEST(eigen_borrowed_data, knows_rows_and_columns_of_a_rank_2_tensor) {
  using matrix = Eigen::Tensor<float, 2, Eigen::RowMajor>;
  matrix table(32, 4);
  const Eigen::TensorMap<const matrix> map(table.data(), 16, 8);
  EXPECT_EQ(relpos::borrowed_data(table).data, table.data());
  EXPECT_EQ(relpos::borrowed_data(table).size, 128);
  EXPECT_EQ(relpos::borrowed_data(table).rows, 32);
  EXPECT_EQ(relpos::borrowed_data(table).columns, 4);
  EXPECT_EQ(relpos::borrowed_data(map).rows, 16);
  EXPECT_EQ(relpos::borrowed_data(map).columns, 8);
}

}  // namespace
