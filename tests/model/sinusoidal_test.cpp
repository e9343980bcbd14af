#include "relpos/model/sinusoidal.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "support/random_tensors.hpp"

namespace {

using relpos::index_t;
using relpos::sinusoidal_layout;
using support::tensor;

/// The embedding of the paper, in long double: 1e-13 at position 10^6.
double embedding(index_t position, index_t channel, index_t channels, double base) {
  const auto exponent =
      static_cast<long double>(channel / 2 * 2) / static_cast<long double>(channels);
  const long double angle =
      static_cast<long double>(position) / std::pow(static_cast<long double>(base), exponent);
  return static_cast<double>(channel % 2 == 0 ? std::sin(angle) : std::cos(angle));
}

TEST(sinusoidal, is_that_of_the_paper) {
  for (const index_t channels : {2, 8, 30}) {
    for (const index_t offset : {0, 100, 1000000, -7}) {
      tensor<float, 3> rows({2, 11, channels}, 99.0f);
      ASSERT_TRUE(relpos::fill_sinusoidal(rows.view(), sinusoidal_layout::interleaved, offset));
      for (index_t b = 0; b < 2; ++b) {
        for (index_t row = 0; row < 11; ++row) {
          for (index_t c = 0; c < channels; ++c) {
            EXPECT_NEAR(rows(b, row, c), embedding(row + offset, c, channels, 10000.0), 1e-7);
          }
        }
      }
    }
  }
}

TEST(sinusoidal, of_the_other_layout_has_the_same_numbers_elsewhere) {
  tensor<float, 3> rows({1, 9, 12});
  tensor<float, 3> apart({1, 9, 12});
  ASSERT_TRUE(relpos::fill_sinusoidal(rows.view(), sinusoidal_layout::interleaved, 40, 500.0));
  ASSERT_TRUE(
      relpos::fill_sinusoidal(apart.view(), sinusoidal_layout::sines_then_cosines, 40, 500.0));
  for (index_t row = 0; row < 9; ++row) {
    for (index_t c = 0; c < 12; ++c) {
      EXPECT_EQ(apart(0, row, c % 2 * 6 + c / 2), rows(0, row, c));
      EXPECT_NEAR(rows(0, row, c), embedding(row + 40, c, 12, 500.0), 1e-7);
    }
  }
}

TEST(sinusoidal, is_added) {
  tensor<float, 3> table({1, 5, 4});
  ASSERT_TRUE(relpos::fill_sinusoidal(table.view(), sinusoidal_layout::interleaved, 3));
  tensor<float, 3> rows({2, 5, 4}, 0.75f);
  ASSERT_TRUE(relpos::add_sinusoidal(rows.view(), sinusoidal_layout::interleaved, 3));
  tensor<relpos::half, 3> halves({1, 5, 4}, relpos::half(0.75f));
  ASSERT_TRUE(relpos::add_sinusoidal(halves.view(), sinusoidal_layout::interleaved, 3));
  for (index_t row = 0; row < 5; ++row) {
    for (index_t c = 0; c < 4; ++c) {
      const float sum = 0.75f + table(0, row, c);
      EXPECT_EQ(rows(0, row, c), sum);
      EXPECT_EQ(rows(1, row, c), sum);
      EXPECT_EQ(halves(0, row, c).bits, relpos::half(sum).bits);
    }
  }
}

TEST(sinusoidal, refuses_what_does_not_fit) {
  tensor<float, 3> odd({1, 5, 7}, 3.0f);
  const auto message = [](const relpos::status& done) { return std::string(done.message); };
  EXPECT_EQ(message(relpos::fill_sinusoidal(odd.view(), sinusoidal_layout::interleaved)),
            "rows: channels of [1, 5, 7] must be even and from 2 to 2^20, base 10000 above 1");
  tensor<float, 3> even({1, 5, 6}, 3.0f);
  EXPECT_FALSE(relpos::add_sinusoidal(even.view(), sinusoidal_layout::interleaved, 0, 1.0));
  EXPECT_FALSE(
      relpos::add_sinusoidal(even.view(), sinusoidal_layout::interleaved, relpos::max_offset + 1));
  relpos::view<float, 3> broadcast = even.view();
  broadcast.strides[1] = 0;
  EXPECT_NE(
      message(relpos::add_sinusoidal(broadcast, sinusoidal_layout::interleaved)).find("share"),
      std::string::npos);
  for (const float value : even.values) EXPECT_EQ(value, 3.0f);
  for (const float value : odd.values) EXPECT_EQ(value, 3.0f);
}

}  // namespace
