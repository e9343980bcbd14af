#include "relpos/model/temperature_alignment.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

namespace {

using relpos::index_t;

constexpr int rows = 150;

/// Standard normal logits, rows x length.
const std::vector<double>& samples(index_t length) {
  static std::map<index_t, std::vector<double>> drawn;
  std::vector<double>& result = drawn[length];
  if (result.empty()) {
    std::mt19937 bits(static_cast<std::uint32_t>(length));
    std::normal_distribution<double> gaussian;
    for (index_t i = 0; i < rows * length; ++i) result.push_back(gaussian(bits));
  }
  return result;
}

/// The mean over rows of Gaussian logits of what `of` makes of a row's probabilities.
template <class Of>
double mean_over_rows(double sigma, index_t length, double temperature, const Of& of) {
  std::vector<double> weights(static_cast<std::size_t>(length));
  const double* logit = samples(length).data();
  double mean = 0.0;
  for (int row = 0; row < rows; ++row) {
    double sum = 0.0;
    for (double& weight : weights) sum += weight = std::exp(*logit++ * sigma / temperature);
    for (double& weight : weights) weight /= sum;
    mean += of(weights) / rows;
  }
  return mean;
}

double entropy_of(const std::vector<double>& probabilities) {
  double sum = 0.0;
  for (const double p : probabilities) sum -= p > 0.0 ? p * std::log(p) : 0.0;
  return sum;
}
double log_largest(const std::vector<double>& probabilities) {
  return std::log(*std::max_element(probabilities.begin(), probabilities.end()));
}

/// The temperature at which sampled logits of 4096 keys are as sharp as logits of 512 keys.
template <class Of>
double sampled_temperature(double sigma, const Of& of) {
  const double target = mean_over_rows(sigma, 512, 1.0, of);
  double low = 0.3;
  double high = 1.0;
  const bool rises = mean_over_rows(sigma, 4096, high, of) > mean_over_rows(sigma, 4096, low, of);
  for (int step = 0; step < 9; ++step) {
    const double middle = 0.5 * (low + high);
    ((mean_over_rows(sigma, 4096, middle, of) > target) == rises ? high : low) = middle;
  }
  return 0.5 * (low + high);
}

TEST(entropy_temperature, is_a_little_too_high_for_small_sigma) {
  EXPECT_NEAR(relpos::entropy_temperature(2.0, 512, 4096), 0.700, 5e-4);
  EXPECT_NEAR(relpos::entropy_temperature(4.0, 512, 4096), 0.891, 5e-4);
  for (const double sigma : {1.0, 2.0}) {
    const double ratio =
        relpos::entropy_temperature(sigma, 512, 4096) / sampled_temperature(sigma, entropy_of);
    EXPECT_GT(ratio, 1.0);
    EXPECT_LT(ratio, 1.07);
  }
}

TEST(entropy_temperature, is_too_timid_for_large_sigma) {
  EXPECT_GT(relpos::entropy_temperature(4.0, 512, 4096),
            1.09 * sampled_temperature(4.0, entropy_of));
}

TEST(max_probability_temperature, is_too_high_by_a_tenth_at_most) {
  EXPECT_NEAR(relpos::max_probability_temperature(2.0, 512, 4096), 0.785, 5e-4);
  EXPECT_NEAR(relpos::max_probability_temperature(4.0, 512, 4096), 0.880, 5e-4);
  for (const double sigma : {2.0, 4.0}) {
    const double ratio = relpos::max_probability_temperature(sigma, 512, 4096) /
                         sampled_temperature(sigma, log_largest);
    EXPECT_GT(ratio, 1.03);
    EXPECT_LT(ratio, 1.13);
  }
}

TEST(closed_form_temperatures, are_one_at_the_training_length) {
  for (const double sigma : {0.5, 3.0}) {
    EXPECT_EQ(relpos::entropy_temperature(sigma, 512, 512), 1.0);
    EXPECT_EQ(relpos::max_probability_temperature(sigma, 512, 512), 1.0);
  }
}

TEST(aligned_temperature, finds_where_a_statistic_meets_its_target) {
  const auto rising = [](double t) { return std::log(t) * 3.0; };
  const auto falling = [](double t) { return 1.0 / t; };
  for (const double wanted : {1.0, 0.9, 0.5, 0.07, 1.0 / 64.0}) {
    EXPECT_NEAR(relpos::aligned_temperature(rising, rising(wanted)), wanted, 2e-6 * wanted);
    EXPECT_NEAR(relpos::aligned_temperature(falling, falling(wanted)), wanted, 2e-6 * wanted);
  }
}

TEST(aligned_temperature, stays_in_range) {
  const auto rising = [](double t) { return t; };
  EXPECT_EQ(relpos::aligned_temperature(rising, 5.0), 1.0);
  EXPECT_EQ(relpos::aligned_temperature(rising, -5.0), 1.0 / 64.0);
  EXPECT_EQ(relpos::aligned_temperature(rising, -5.0, 4.0), 0.25);
}

TEST(aligned_temperature, restores_sampled_entropy) {
  const double target = mean_over_rows(2.0, 512, 1.0, entropy_of);
  const double t = relpos::aligned_temperature(
      [](double temperature) { return mean_over_rows(2.0, 2048, temperature, entropy_of); }, target,
      2.0);
  EXPECT_NEAR(mean_over_rows(2.0, 2048, t, entropy_of), target, 1e-4);
  EXPECT_GT(t, 0.6);
  EXPECT_LT(t, 0.9);
}

}  // namespace
