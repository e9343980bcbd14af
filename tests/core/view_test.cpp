#include "relpos/core/view.hpp"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <numeric>
#include <type_traits>
#include <vector>

/// A tensor type of somebody else's, column-major.
struct foreign_matrix {
  std::vector<float> values;
  relpos::index_t rows;
  relpos::index_t columns;
};

template <>
struct relpos::view_traits<foreign_matrix> {
  using value_type = float;
  static constexpr int rank = 2;
  static relpos::view<float, 2> of(foreign_matrix& matrix) {
    return {matrix.values.data(), {matrix.rows, matrix.columns}, {1, matrix.rows}};
  }
};

namespace {

using relpos::index_t;
using relpos::view;

std::vector<int> numbers(std::size_t count) {
  std::vector<int> values(count);
  std::iota(values.begin(), values.end(), 0);
  return values;
}

TEST(view, is_contiguous_and_row_major_by_default) {
  auto values = numbers(2 * 3 * 4 * 5);
  const view<int, 4> array(values.data(), {2, 3, 4, 5});
  EXPECT_EQ(array.strides, (std::array<index_t, 4>{60, 20, 5, 1}));
  int wanted = 0;
  for (index_t a = 0; a < 2; ++a) {
    for (index_t b = 0; b < 3; ++b) {
      for (index_t c = 0; c < 4; ++c) {
        for (index_t d = 0; d < 5; ++d) EXPECT_EQ(array(a, b, c, d), wanted++);
      }
    }
  }
}

TEST(view, reads_position_before_head_by_strides) {
  auto values = numbers(3 * 2 * 4);  // [position, head, channel]
  const view<int, 3> heads_first(values.data(), {2, 3, 4}, {4, 8, 1});
  for (index_t head = 0; head < 2; ++head) {
    for (index_t position = 0; position < 3; ++position) {
      for (index_t channel = 0; channel < 4; ++channel) {
        EXPECT_EQ(heads_first(head, position, channel), (position * 2 + head) * 4 + channel);
      }
    }
  }
}

TEST(view, walks_backwards_with_a_negative_stride) {
  auto values = numbers(6);
  const view<int, 2> reversed(values.data() + 5, {2, 3}, {-3, -1});
  int wanted = 5;
  for (index_t row = 0; row < 2; ++row) {
    for (index_t column = 0; column < 3; ++column) EXPECT_EQ(reversed(row, column), wanted--);
  }
}

TEST(view, repeats_an_element_with_a_zero_stride) {
  int value = 7;
  const view<int, 2> broadcast(&value, {100, 100}, {0, 0});
  EXPECT_EQ(&broadcast(99, 42), &value);
  EXPECT_EQ(broadcast.size(), 10000);
}

TEST(view, writes_through) {
  auto values = numbers(6);
  const view<int, 2> array(values.data(), {2, 3});
  array(1, 2) = 42;
  EXPECT_EQ(values[5], 42);
}

TEST(view, counts_its_elements) {
  EXPECT_EQ((view<int, 4>(nullptr, {2, 3, 4, 5}).size()), 120);
  EXPECT_EQ((view<int, 4>(nullptr, {2, 0, 4, 5}).size()), 0);
  EXPECT_EQ((view<int, 3>().size()), 0);
  EXPECT_EQ((view<int, 2>(nullptr, {index_t{1} << 31, 4}).size()), index_t{1} << 33);
}

// The sanitizers would report an overflow. A check refuses the view later.
TEST(view, of_extents_whose_product_overflows_can_be_made) {
  constexpr index_t largest = std::numeric_limits<index_t>::max();
  const view<int, 4> huge(nullptr, {largest, 3, largest, largest});
  EXPECT_EQ(huge.shape[2], largest);
  EXPECT_EQ(huge.strides[3], 1);
  EXPECT_EQ((view<int, 4>(nullptr, {largest, largest, largest, 0}).size()), 0);
}

TEST(view, holds_nothing_by_default) {
  const view<float, 3> nothing;
  EXPECT_EQ(nothing.data, nullptr);
  EXPECT_EQ(nothing.shape, (std::array<index_t, 3>{}));
}

TEST(view, gives_read_only_access_to_what_is_writable) {
  auto values = numbers(6);
  const view<int, 2> array(values.data(), {2, 3}, {1, 2});
  const view<const int, 2> read_only = array;
  EXPECT_EQ(read_only.data, array.data);
  EXPECT_EQ(read_only.shape, array.shape);
  EXPECT_EQ(read_only.strides, array.strides);
  static_assert(!std::is_convertible_v<view<const int, 2>, view<int, 2>>);
}

TEST(view, refers_to_a_tensor_that_specialises_view_traits) {
  foreign_matrix matrix{{0, 1, 2, 3, 4, 5}, 2, 3};
  const view<float, 2> array = matrix;
  EXPECT_EQ(array.data, matrix.values.data());
  EXPECT_EQ(array(1, 2), 5.0f);
  EXPECT_EQ(array(0, 1), 2.0f);
  const view<const float, 2> read_only = matrix;
  EXPECT_EQ(read_only(1, 0), 1.0f);
}

static_assert(!std::is_convertible_v<foreign_matrix&, view<float, 3>>);
static_assert(!std::is_convertible_v<foreign_matrix&, view<double, 2>>);
static_assert(std::is_trivially_copyable_v<view<float, 4>>);

}  // namespace
