#include "relpos/policy/softcap_after_bias.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "relpos/policies.hpp"
#include "support/both_kernels.hpp"

namespace {

using relpos::index_t;
using relpos::softcap_after_bias;
using support::expect_both_kernels;
using support::inputs;

inputs<float> sizes(index_t queries, float spread = 4.0f) {
  inputs<float> in = support::random_inputs({.batch = 2,
                                             .query_heads = 4,
                                             .key_heads = 2,
                                             .query_length = queries,
                                             .key_length = 300,
                                             .head_dim = 20,
                                             .value_dim = 6},
                                            83);
  for (float& each : in.q.values) each *= spread;
  return in;
}

bool is_causal(index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; }

TEST(softcap_after_bias, caps_score_and_bias) {
  const std::vector<float> slopes{0.5f, 0.25f, 0.125f, 0.0625f};
  const auto linear = [&](index_t head, index_t distance) {
    return static_cast<double>(slopes[static_cast<std::size_t>(head)]) *
           static_cast<double>(distance);
  };
  for (const index_t queries : {1, 3, 150}) {
    const inputs<float> in = sizes(queries);
    expect_both_kernels(in, {}, {.cap_after_bias = 3.0}, softcap_after_bias{3.0f});
    expect_both_kernels(in, {}, {.bias = linear, .visible = is_causal, .cap_after_bias = 5.0},
                        softcap_after_bias{5.0f}, relpos::alibi{slopes}, relpos::causal{});
  }
}

/// It stands behind options.softcap and before logit scaling and temperature, wherever it is given.
TEST(softcap_after_bias, among_all_stages) {
  const inputs<float> in = sizes(100);
  const auto curve = [](index_t, index_t distance) { return 0.05 * static_cast<double>(distance); };
  expect_both_kernels(
      in, {.softcap = 2.0f},
      {.bias = curve,
       .visible = is_causal,
       .logit_factor = [](index_t, index_t q_pos,
                          index_t) { return 1.0 + 0.01 * static_cast<double>(q_pos); },
       .softcap = 2.0,
       .cap_after_bias = 4.0,
       .temperature = 0.6},
      relpos::position_power{1.0f, 100, 0}, relpos::temperature{0.6f}, softcap_after_bias{4.0f},
      relpos::relative_bias{curve}, relpos::causal{});
}

TEST(softcap_after_bias, minus_infinity_hides) {
  const inputs<float> in = sizes(3);
  std::vector<float> list(300, 0.5f);
  for (std::size_t i = 0; i < 300; i += 2) list[i] = -std::numeric_limits<float>::infinity();
  expect_both_kernels(in, {},
                      {.element_bias =
                           [&](index_t, index_t, index_t, index_t key) {
                             return static_cast<double>(list[static_cast<std::size_t>(key)]);
                           },
                       .cap_after_bias = 2.0},
                      relpos::key_bias{relpos::view<const float, 3>(list.data(), {1, 1, 300})},
                      softcap_after_bias{2.0f});
}

/// Biases near the lowest float are one cap, however small the temperature makes their scores.
TEST(softcap_after_bias, of_the_lowest_biases) {
  for (const index_t queries : {1, 150}) {
    const inputs<float> in = sizes(queries);
    std::vector<float> list(300, -1e38f);
    for (std::size_t i = 0; i < 300; i += 2) list[i] = -2e38f;
    expect_both_kernels(in, {},
                        {.element_bias =
                             [&](index_t, index_t, index_t, index_t key) {
                               return static_cast<double>(list[static_cast<std::size_t>(key)]);
                             },
                         .cap_after_bias = 1e30f,
                         .temperature = 1e-7f},
                        relpos::key_bias{relpos::view<const float, 3>(list.data(), {1, 1, 300})},
                        softcap_after_bias{1e30f}, relpos::temperature{1e-7f});
  }
}

/// Far tiles, which ALiBi alone makes vanish, have the weight e^-2 cap at least.
TEST(softcap_after_bias, leaves_no_tile_out) {
  const inputs<float> in = support::random_inputs({.batch = 1,
                                                   .query_heads = 1,
                                                   .key_heads = 1,
                                                   .query_length = 700,
                                                   .key_length = 700,
                                                   .head_dim = 8,
                                                   .value_dim = 4},
                                                  2);
  const std::vector<float> slopes{1.0f};
  expect_both_kernels(
      in, {},
      {.bias = [](index_t, index_t distance) { return static_cast<double>(distance); },
       .visible = is_causal,
       .cap_after_bias = 1.0},
      relpos::alibi{slopes}, softcap_after_bias{1.0f}, relpos::causal{});
}

void expect_refused(float cap, float temperature, const char* message) {
  const inputs<float> in = sizes(3);
  support::tensor<float> out({2, 4, 3, 6});
  std::vector<std::byte> memory(1 << 20);
  const relpos::status done =
      relpos::attention(relpos::serial{}, memory, out.view(), in.q.view(), in.k.view(), in.v.view(),
                        softcap_after_bias{cap}, relpos::temperature{temperature});
  EXPECT_EQ(done.code, relpos::status_code::invalid_value);
  EXPECT_NE(std::string(done.message).find(message), std::string::npos) << done.message;
}

TEST(softcap_after_bias, refused) {
  for (const float cap : {0.0f, -1.0f, 2e30f, std::numeric_limits<float>::quiet_NaN()}) {
    expect_refused(cap, 1.0f, "softcap_after_bias: cap is ");
  }
  // The product of infinity, or of the inverse of zero, and of a score of zero is no number.
  expect_refused(1e30f, 1e-9f, "cap after the bias 1e+30 and temperature 1e-09");
  expect_refused(1e-30f, 1e10f, "cap after the bias 1e-30 and temperature 1e+10");
  expect_refused(1e-39f, 1.0f, "no normal number");
}

}  // namespace
