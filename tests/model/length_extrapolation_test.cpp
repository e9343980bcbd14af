#include "relpos/model/length_extrapolation.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "relpos/model/frequencies.hpp"

namespace {

using relpos::index_t;

TEST(xpos_decay, runs_from_gamma_towards_one) {
  EXPECT_DOUBLE_EQ(relpos::xpos_decay(0, 64), 0.4 / 1.4);
  EXPECT_DOUBLE_EQ(relpos::xpos_decay(16, 64), 0.9 / 1.4);
  EXPECT_DOUBLE_EQ(relpos::xpos_decay(31, 64, 1.0), (31.0 / 32.0 + 1.0) / 2.0);
}

TEST(expected_score, is_the_sum_of_damped_cosines) {
  for (const index_t n : {0, 1, 7, 300, 5000}) {
    double sum = 0.0;
    for (int i = 0; i < 32; ++i) {
      const double zeta = (i / 32.0 + 0.4) / 1.4;
      sum += std::cos(static_cast<double>(n) * std::exp(-i / 32.0 * std::log(10000.0))) *
             std::exp(static_cast<double>(n) / 512.0 * std::log(zeta));
    }
    EXPECT_NEAR(relpos::expected_score(relpos::xpos_frequencies(64), n), sum, 1e-9);
  }
  EXPECT_DOUBLE_EQ(relpos::expected_score(relpos::xpos_frequencies(64), 0), 32.0);
}

TEST(expected_score, without_decay_is_that_of_rope) {
  const relpos::rotary_frequencies one_pair{.radians = {0.25}};
  EXPECT_DOUBLE_EQ(relpos::expected_score(one_pair, 10), std::cos(2.5));
}

// The reason for XPOS: without the decay the curve swings back up at distances never seen in
// training.
TEST(expected_score, of_xpos_swings_less_than_that_of_rope) {
  const auto largest_rise = [](const relpos::rotary_frequencies& frequencies) {
    double lowest = 1e9;
    double rise = 0.0;
    for (index_t n = 0; n < 4096; ++n) {
      const double g = relpos::expected_score(frequencies, n);
      lowest = std::min(lowest, g);
      rise = std::max(rise, g - lowest);
    }
    return rise;
  };
  EXPECT_LT(largest_rise(relpos::xpos_frequencies(64)),
            0.8 * largest_rise(relpos::rope_frequencies(64)));
}

TEST(attention_resolution, of_two_scores) {
  // weights 3/4 and 1/4
  const std::vector<double> falling{std::log(3.0), 0.0};
  EXPECT_NEAR(relpos::attention_resolution(falling), 0.75 * 0.5, 1e-15);
  const std::vector<double> rising{0.0, std::log(3.0)};
  EXPECT_NEAR(relpos::attention_resolution(rising), 0.25 * -0.5, 1e-15);
}

TEST(attention_resolution, does_not_depend_on_a_constant) {
  std::vector<double> scores;
  std::vector<double> shifted;
  for (int i = 0; i < 50; ++i) {
    scores.push_back(std::sin(0.3 * i) - 0.1 * i);
    shifted.push_back(scores.back() + 5000.0);
  }
  EXPECT_NEAR(relpos::attention_resolution(shifted), relpos::attention_resolution(scores), 1e-12);
}

TEST(attention_resolution, is_zero_where_distance_does_not_matter) {
  EXPECT_EQ(relpos::attention_resolution({}), 0.0);
  EXPECT_EQ(relpos::attention_resolution(std::vector<double>{7.0}), 0.0);
  EXPECT_EQ(relpos::attention_resolution(std::vector<double>(100, 3.0)), 0.0);
}

}  // namespace
