// The statistics of a row that is summed tile by tile, against two passes in float64.

#include "relpos/stage/statistics.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

constexpr float hidden = relpos::hidden_score;

std::vector<float> random_logits(std::size_t count, float mean) {
  std::mt19937 random(5);
  std::normal_distribution<float> of_one(mean, 3.0f);
  std::vector<float> result(count);
  for (float& each : result) each = of_one(random);
  return result;
}

/// In tiles of `width`.
relpos::logit_moments<float> moments_of(const std::vector<float>& logits, std::size_t width) {
  relpos::logit_moments<float> result(0.0f, 0.0f, 0.0f);
  for (std::size_t first = 0; first < logits.size(); first += width) {
    const std::size_t last = std::min(first + width, logits.size());
    float origin = 0.0f;  // of a tile that is hidden
    for (std::size_t i = first; i < last; ++i) {
      if (logits[i] != hidden) origin = logits[i];
    }
    result.begin_tile(origin);
    for (std::size_t i = first; i < last; ++i) result.add(logits[i]);
    result.end_tile();
  }
  return result;
}

void expect_moments(const relpos::logit_moments<float>& got, const std::vector<float>& logits) {
  double count = 0.0, sum = 0.0, squares = 0.0;
  for (const float s : logits) {
    if (s == hidden) continue;
    count += 1.0;
    sum += static_cast<double>(s);
  }
  const double mean = sum / count;
  for (const float s : logits) {
    if (s != hidden) squares += std::pow(static_cast<double>(s) - mean, 2);
  }
  EXPECT_EQ(static_cast<double>(got.count), count);
  EXPECT_NEAR(got.mean, mean, 1e-6 * std::abs(mean) + 1e-6);
  EXPECT_NEAR(got.squares, squares, 1e-3 * squares);
}

TEST(statistics_stage, moments_are_those_of_two_passes) {
  for (const float mean :
       {0.0f, 1e4f}) {  // squares about zero would lose the variance of the second
    const auto logits = random_logits(1000, mean);
    for (const std::size_t width : std::vector<std::size_t>{1, 7, 128, 1000}) {
      expect_moments(moments_of(logits, width), logits);
    }
  }
}

TEST(statistics_stage, what_is_hidden_is_no_logit) {
  auto logits = random_logits(64, 2.0f);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (i < 8 || i % 3 == 0) logits[i] = hidden;
  }
  expect_moments(moments_of(logits, 8), logits);
  EXPECT_EQ(moments_of({hidden, hidden}, 2).count, 0.0f);
}

TEST(statistics_stage, not_a_number_is_a_logit) {
  auto logits = random_logits(64, 2.0f);
  logits[40] = std::numeric_limits<float>::quiet_NaN();
  const auto got = moments_of(logits, 8);
  EXPECT_EQ(got.count, 64.0f);
  EXPECT_TRUE(std::isnan(got.mean));
}

TEST(statistics_stage, entropy_is_that_of_the_probabilities) {
  auto exponents = random_logits(50, 0.0f);
  exponents[40] = 9.0f;
  // In two tiles, the second with the larger maximum.
  float maximum = std::numeric_limits<float>::lowest(), spread = 0.0f, sum = 0.0f;
  for (const std::size_t first : {std::size_t{0}, std::size_t{25}}) {
    float now = maximum;
    for (std::size_t i = first; i < first + 25; ++i) now = std::max(now, exponents[i]);
    const float rescale = std::exp2(maximum - now);
    spread = relpos::raised_spread(spread, maximum, now, sum, rescale);
    sum *= rescale;
    for (std::size_t i = first; i < first + 25; ++i) {
      const float weight = std::exp2(exponents[i] - now);
      spread = relpos::add_spread(spread, exponents[i], now, weight);
      sum += weight;
    }
    maximum = now;
  }
  double total = 0.0, entropy = 0.0, largest = 0.0;
  for (const float s : exponents) total += std::exp2(static_cast<double>(s));
  for (const float s : exponents) {
    const double p = std::exp2(static_cast<double>(s)) / total;
    entropy -= p * std::log(p);
    largest = std::max(largest, p);
  }
  const auto got = relpos::finish_statistics(spread, moments_of(exponents, 25), sum, 1.0f / sum);
  EXPECT_NEAR(got.entropy, entropy, 1e-5);
  EXPECT_NEAR(got.max_probability, largest, 1e-6);
  EXPECT_EQ(got.logit_count, 50.0f);
  // Natural logits are ln 2 times the logits of base 2.
  double mean = 0.0, variance = 0.0;
  for (const float s : exponents) mean += static_cast<double>(s) * std::log(2.0) / 50.0;
  for (const float s : exponents) {
    variance += std::pow(static_cast<double>(s) * std::log(2.0) - mean, 2) / 50.0;
  }
  EXPECT_NEAR(got.logit_mean, mean, 1e-5);
  EXPECT_NEAR(got.logit_variance, variance, 1e-4);
}

TEST(statistics_stage, a_row_without_weights_has_none) {
  const auto got = relpos::finish_statistics(0.0f, moments_of({}, 1), 0.0f, 0.0f);
  EXPECT_EQ(got.max_probability, 0.0f);
  EXPECT_EQ(got.entropy, 0.0f);
  EXPECT_EQ(got.logit_mean, 0.0f);
  EXPECT_EQ(got.logit_variance, 0.0f);
}

}  // namespace
