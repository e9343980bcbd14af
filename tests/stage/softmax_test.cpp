// The end of a row and the merge of its parts, against sums of exponentials in float64.

#include "relpos/stage/softmax.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace {

constexpr float nothing = -std::numeric_limits<float>::infinity();

float exp2_of(float x) { return std::exp2(x); }

/// The largest of some exponents, base 2, and the sum of weights relative to it.
struct state {
  float maximum = relpos::no_maximum;
  float sum = 0.0f;

  explicit state(const std::vector<double>& exponents) {
    for (const double s : exponents) maximum = std::max(maximum, static_cast<float>(s));
    for (const double s : exponents) sum += std::exp2(static_cast<float>(s) - maximum);
  }
};

double lse_of(const std::vector<double>& exponents) {
  double sum = 0.0;
  for (const double s : exponents) sum += std::exp2(s);
  return std::log(sum);
}

TEST(softmax_stage, a_row_ends_with_its_sink_among_the_weights) {
  const std::vector<double> exponents{-3.0, 0.5, 7.25, 6.0};
  for (const double sink : {-4.0, 6.5, 9.0}) {
    const state of(exponents);
    const auto row = relpos::finish_row(exp2_of, of.maximum, of.sum, static_cast<float>(sink));
    std::vector<double> with_sink = exponents;
    with_sink.push_back(sink);
    EXPECT_NEAR(relpos::lse_of(row.top, row.total), lse_of(with_sink), 1e-6);
    // An output that is relative to the maximum, here of a value of 1 for each key.
    EXPECT_NEAR(of.sum * row.factor, std::exp(lse_of(exponents) - lse_of(with_sink)), 1e-6);
  }
}

TEST(softmax_stage, a_row_that_sees_nothing_has_no_outputs) {
  const state empty({});
  const auto alone = relpos::finish_row(exp2_of, empty.maximum, empty.sum, nothing);
  EXPECT_EQ(alone.factor, 0.0f);
  EXPECT_EQ(relpos::lse_of(alone.top, alone.total), nothing);
  const auto with_sink = relpos::finish_row(exp2_of, empty.maximum, empty.sum, 3.0f);
  EXPECT_EQ(with_sink.factor, 0.0f);
  EXPECT_NEAR(relpos::lse_of(with_sink.top, with_sink.total), 3.0 * std::log(2.0), 1e-6);
}

TEST(softmax_stage, states_merge_to_that_of_all_keys) {
  const std::vector<double> first{1.0, -2.0}, second{4.5}, none{};
  std::vector<double> all = first;
  all.insert(all.end(), second.begin(), second.end());
  const float top = 4.5f;
  float total = 0.0f;
  for (const auto& exponents : {first, none, second}) {
    const state of(exponents);
    total += of.sum * relpos::state_weight(exp2_of, of.maximum, of.sum, top);
  }
  EXPECT_NEAR(relpos::lse_of(top, total), lse_of(all), 1e-6);
}

TEST(softmax_stage, the_maximum_of_a_state_without_keys_means_nothing) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(relpos::state_weight(exp2_of, nan, 0.0f, 1.0f), 0.0f);
  EXPECT_EQ(relpos::state_weight(exp2_of, 1e38f, 0.0f, 1.0f), 0.0f);
}

}  // namespace
