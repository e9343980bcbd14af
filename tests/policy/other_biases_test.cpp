// The biases of examples/other_biases.hpp, against their papers' formulas written once more.

#include "other_biases.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/attend.hpp"
#include "support/naive.hpp"
#include "support/t5_thresholds.hpp"

namespace {

using relpos::index_t;
using support::inputs;

inputs<float> two_heads() {
  return support::random_inputs({.batch = 1,
                                 .query_heads = 2,
                                 .key_heads = 2,
                                 .query_length = 70,
                                 .key_length = 250,
                                 .head_dim = 16,
                                 .value_dim = 4},
                                25);
}

const std::vector<float> first{0.8f, 0.05f};
const std::vector<float> second{0.4f, 1.3f};

TEST(other_biases, kerple) {
  expect_means(attend(two_heads(), {}, examples::kerple_log(first, second)), two_heads(),
               {.bias = [](index_t head, index_t distance) {
                 const double away = std::abs(static_cast<double>(distance));
                 return head == 0 ? -0.8f * std::log(1.0 + 0.4f * away)
                                  : -0.05f * std::log(1.0 + 1.3f * away);
               }});
  expect_means(attend(two_heads(), {}, examples::kerple_power(first, second)), two_heads(),
               {.bias = [](index_t head, index_t distance) {
                 const double away = std::abs(static_cast<double>(distance));
                 return head == 0 ? -0.8f * std::pow(away, 0.4f) : -0.05f * std::pow(away, 1.3f);
               }});
}

/// The embedding of a position: sines and cosines of position / 10000^(2j / d).
std::vector<double> sinusoid(index_t position, index_t dim) {
  std::vector<double> result;
  for (index_t j = 1; j <= dim / 2; ++j) {
    const double angle = static_cast<double>(position) /
                         std::pow(10000.0, 2.0 * static_cast<double>(j) / static_cast<double>(dim));
    result.push_back(std::sin(angle));
    result.push_back(std::cos(angle));
  }
  return result;
}

TEST(other_biases, sandwich_is_the_product_of_sinusoids) {
  const auto bias = [](index_t head, index_t distance) {
    const std::vector<double> here = sinusoid(1000, 32);
    const std::vector<double> there = sinusoid(1000 + distance, 32);
    double product = -16.0;
    for (std::size_t i = 0; i < here.size(); ++i) product += here[i] * there[i];
    return product / (head == 0 ? 4.0 : 8.0);  // 8 (head + 1) / 2
  };
  expect_means(attend(two_heads(), {}, examples::sandwich(2, 32)), two_heads(), {.bias = bias});
}

TEST(other_biases, fire_is_a_network_of_the_relative_logarithm) {
  const std::vector<float> in{2.0f, -0.5f, -1.0f, 0.75f, 3.0f, 0.0f};  // three hidden units
  const std::vector<float> out{1.0f, -2.0f, 0.5f, -1.0f, 0.25f, -0.125f};
  const auto bias = [](index_t head, index_t distance) {
    const double x =
        std::log(0.1 * std::abs(static_cast<double>(distance)) + 1.0) / std::log(0.1 * 512.0 + 1.0);
    const double a = std::max(2.0 * x - 0.5, 0.0);
    const double b = std::max(0.75 - x, 0.0);
    const double c = 3.0 * x;
    return head == 0 ? a - 2.0 * b + 0.5 * c : -a + 0.25 * b - 0.125 * c;
  };
  expect_means(attend(two_heads(), {}, examples::fire(in, out, 0.1, 512)), two_heads(),
               {.bias = bias});
}

TEST(other_biases, mpnet_has_the_buckets_and_not_the_scale_of_t5) {
  const std::vector<float> table = support::random_tensor({1, 1, 32, 2}, 26, 2.0f).values;
  expect_means(attend(two_heads(), {}, examples::mpnet(table)), two_heads(),
               {.bias = [&](index_t head, index_t distance) {
                 const index_t bucket = support::t5_encoder.bucket(distance);
                 return static_cast<double>(table[static_cast<std::size_t>(bucket * 2 + head)]);
               }});
}

TEST(other_biases, wavlm_gates_its_rows) {
  const std::vector<float> table = support::random_tensor({1, 1, 320, 2}, 27, 2.0f).values;
  support::tensor<float, 3> gates({1, 2, 70});
  for (std::size_t i = 0; i < gates.values.size(); ++i) gates.values[i] = 0.5f + 0.01f * float(i);
  const auto bias = [&](index_t, index_t head, index_t row, index_t key) {
    const index_t bucket = support::wavlm.bucket(key - row - 180);
    return static_cast<double>(gates(0, head, row)) *
           static_cast<double>(table[static_cast<std::size_t>(bucket * 2 + head)]);
  };
  const auto& read = gates;
  expect_means(attend(two_heads(), {}, examples::wavlm(read.view(), table)), two_heads(),
               {.element_bias = bias});
}

}  // namespace
