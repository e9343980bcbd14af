#include "relpos/simd/transpose.hpp"

#include <gtest/gtest.h>

namespace {

template <class Isa>
class transpose_of : public testing::Test {};
using isas = testing::Types<relpos::native, relpos::generic<4>, relpos::generic<16>>;
TYPED_TEST_SUITE(transpose_of, isas);

TYPED_TEST(transpose_of, rows_is_columns) {
  constexpr int n = relpos::lanes<TypeParam>;
  using real = relpos::float_pack<TypeParam>;
  real rows[n];
  for (int row = 0; row < n; ++row) {
    float values[n];
    for (int lane = 0; lane < n; ++lane) values[lane] = static_cast<float>(100 * row + lane);
    rows[row] = real::load(values);
  }
  relpos::transpose<TypeParam>(rows);
  for (int row = 0; row < n; ++row) {
    float values[n];
    rows[row].store(values);
    for (int lane = 0; lane < n; ++lane) {
      EXPECT_EQ(values[lane], static_cast<float>(100 * lane + row));
    }
  }
}

}  // namespace
