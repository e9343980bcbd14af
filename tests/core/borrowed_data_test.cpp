#include "relpos/core/borrowed_data.hpp"

#include <gtest/gtest.h>

#include <array>
#include <span>
#include <type_traits>
#include <vector>

/// A rank-2 tensor of somebody else's.
struct foreign_table {
  std::array<float, 6> values;
  float* data() { return values.data(); }
  const float* data() const { return values.data(); }
  static constexpr int size() { return 6; }
};

template <>
struct relpos::view_traits<const foreign_table> {
  using value_type = const float;
  static constexpr int rank = 2;
  static relpos::view<const float, 2> of(const foreign_table& table) {
    return {table.data(), {2, 3}};
  }
};

namespace {

using relpos::borrowed_data;

TEST(borrowed_data, refers_to_a_vector) {
  std::vector<float> values{1, 2, 3};
  const borrowed_data data = values;
  EXPECT_EQ(data.data, values.data());
  EXPECT_EQ(data.size, 3);
}

TEST(borrowed_data, refers_to_what_is_const) {
  const std::vector<float> vector{1, 2, 3};
  const std::array<float, 2> array{4, 5};
  EXPECT_EQ(borrowed_data(vector).data, vector.data());
  EXPECT_EQ(borrowed_data(array).data, array.data());
  EXPECT_EQ(borrowed_data(array).size, 2);
}

TEST(borrowed_data, takes_a_temporary_span_which_owns_nothing) {
  std::vector<float> values{1, 2, 3, 4};
  const borrowed_data writable = std::span<float>(values).subspan(1, 2);
  const borrowed_data constant = std::span<const float>(values).last(1);
  EXPECT_EQ(writable.data, values.data() + 1);
  EXPECT_EQ(writable.size, 2);
  EXPECT_EQ(constant.data, values.data() + 3);
  EXPECT_EQ(constant.size, 1);
}

TEST(borrowed_data, knows_rows_and_columns_of_a_rank_2_tensor_only) {
  foreign_table table{};
  const std::vector<float> vector(6);
  const borrowed_data tensor = table;
  EXPECT_EQ(tensor.size, 6);
  EXPECT_EQ(tensor.rows, 2);
  EXPECT_EQ(tensor.columns, 3);
  EXPECT_EQ(borrowed_data(vector).rows, 0);
  EXPECT_EQ(borrowed_data(vector).columns, 0);
}

TEST(borrowed_data, copies_as_what_it_is) {
  std::vector<float> values{1, 2, 3};
  borrowed_data data = values;
  const borrowed_data copy = data;
  EXPECT_EQ(copy.data, values.data());
  EXPECT_EQ(copy.size, 3);
  static_assert(std::is_trivially_copyable_v<borrowed_data>);
}

TEST(borrowed_data, is_empty_by_default) {
  EXPECT_EQ(borrowed_data().data, nullptr);
  EXPECT_EQ(borrowed_data().size, 0);
}

static_assert(!std::is_constructible_v<borrowed_data, float>);
static_assert(!std::is_constructible_v<borrowed_data, const float*>);

}  // namespace
