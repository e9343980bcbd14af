// Biases, factors of rows and masks change a score alike for a number and for each lane of a
// vector.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <type_traits>

#include "relpos/simd/pack.hpp"
#include "relpos/simd/tanh.hpp"
#include "relpos/stage/score.hpp"

namespace {

using pack = relpos::float_pack<relpos::native>;
constexpr auto lanes = static_cast<std::size_t>(relpos::lanes<relpos::native>);

/// Lane by lane what `of` gives of a number.
template <class Of>
void expect_same(const std::array<float, lanes>& scores, const Of& of) {
  std::array<float, lanes> together;
  pack(of(pack::load(scores.data()))).store(together.data());
  for (std::size_t i = 0; i < lanes; ++i) EXPECT_EQ(together[i], of(scores[i]));
}

std::array<float, lanes> scores() {
  std::array<float, lanes> result;
  for (std::size_t i = 0; i < lanes; ++i) result[i] = 0.3f * static_cast<float>(i) - 1.7f;
  result[1] = relpos::hidden_score;
  return result;
}

struct parabola {
  template <class Real>
  constexpr Real bias(Real distance) const {
    return distance * distance;
  }
};

TEST(score_stage, biases_are_added_with_their_factor) {
  expect_same(scores(), []<class Real>(Real s) {
    return relpos::add_computed_bias(s, parabola(), Real(3.0f), Real(0.5f));
  });
  EXPECT_EQ(relpos::add_computed_bias(1.0f, parabola(), 3.0f, 0.5f), 5.5f);
  EXPECT_EQ(relpos::add_tabulated_bias(1.0f, 4.0f, 0.25f), 2.0f);
}

TEST(score_stage, a_large_element_of_a_matrix_is_not_made_infinite) {
  constexpr float lowest = std::numeric_limits<float>::lowest();
  EXPECT_EQ(relpos::scaled_element(lowest, 1.44f), lowest);
  EXPECT_EQ(relpos::scaled_element(relpos::hidden_score, 1.44f), relpos::hidden_score);
  EXPECT_EQ(relpos::scaled_element(2.0f, 1.5f), 3.0f);
}

TEST(score_stage, a_cap_is_of_tanh_and_keeps_what_is_hidden) {
  const auto tanh_of = []<class Real>(Real x) {
    if constexpr (std::is_same_v<Real, float>) {
      float lane[lanes];
      relpos::tanh<relpos::native>(pack(x)).store(lane);
      return lane[0];
    } else {
      return relpos::tanh<relpos::native>(x);
    }
  };
  expect_same(scores(), [&]<class Real>(Real s) {
    return relpos::capped_score(tanh_of, s, Real(2.0f), Real(0.5f));
  });
  EXPECT_EQ(relpos::capped_score(tanh_of, relpos::hidden_score, 2.0f, 0.5f), relpos::hidden_score);
  EXPECT_EQ(relpos::capped_score(tanh_of, -1e30f, 2.0f, 0.5f), -2.0f);
  EXPECT_NEAR(relpos::capped_score(tanh_of, 1.0f, 2.0f, 0.5f), 2.0f * std::tanh(0.5f), 1e-6f);
}

TEST(score_stage, what_is_hidden_stays_so_whatever_the_factor_of_its_row) {
  for (const float factor : {0.0f, -2.0f, 1.5f}) {
    expect_same(scores(),
                [&]<class Real>(Real s) { return relpos::times_row_factor(s, Real(factor)); });
    EXPECT_EQ(relpos::times_row_factor(relpos::hidden_score, factor), relpos::hidden_score);
  }
  EXPECT_EQ(relpos::times_row_factor(2.0f, -2.0f), -4.0f);
}

TEST(score_stage, a_masked_score_is_replaced_even_if_it_is_not_a_number) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(relpos::hidden_unless(relpos::range_shows(7, 3, 7), nan), relpos::hidden_score);
  EXPECT_EQ(relpos::hidden_unless(relpos::range_shows(3, 3, 7), 2.0f), 2.0f);
  EXPECT_EQ(relpos::hidden_unless(relpos::range_shows(2, 3, 7), 2.0f), relpos::hidden_score);
}

}  // namespace
