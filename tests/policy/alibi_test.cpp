#include "relpos/policy/alibi.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "relpos/policy/mask/causal.hpp"
#include "support/attend.hpp"
#include "support/naive.hpp"

namespace {

using support::inputs;
using support::meaning;

const std::vector<float> slopes{0.5f, 0.07f, 0.011f, 0.93f};

inputs<float> four_heads() {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 4,
                                 .key_heads = 2,
                                 .query_length = 71,
                                 .key_length = 290,
                                 .head_dim = 16,
                                 .value_dim = 8},
                                11);
}

bool not_later(relpos::index_t, relpos::index_t q_pos, relpos::index_t k_pos) {
  return k_pos <= q_pos;
}

meaning lines_times(double multiplier) {
  return {.bias =
              [multiplier](auto head, auto distance) {
                return multiplier * slopes[static_cast<std::size_t>(head)] *
                       static_cast<double>(distance);
              },
          .visible = not_later};
}

TEST(alibi, adds_slope_times_distance_after_scale) {
  const inputs<float> in = four_heads();
  expect_means(attend(in, {}, relpos::alibi{slopes}, relpos::causal{}), in, lines_times(1.0));
}

TEST(alibi, is_not_divided_by_the_scale) {
  const inputs<float> in = four_heads();
  meaning means = lines_times(1.0);
  means.scale = 0.1;
  expect_means(attend(in, {.scale = 0.1f}, relpos::alibi{slopes}, relpos::causal{}), in, means);
}

TEST(alibi, before_scale_divides_the_bias_too) {
  const inputs<float> in = four_heads();
  const relpos::alibi divided{slopes, relpos::alibi_before_scale(16)};
  expect_means(attend(in, {}, divided, relpos::causal{}), in, lines_times(1.0 / std::sqrt(16.0)));
}

TEST(alibi, position_interpolation_flattens_the_slopes) {
  const inputs<float> in = four_heads();
  const relpos::alibi flattened{slopes, 128.0f / 290.0f};
  expect_means(attend(in, {}, flattened, relpos::causal{}), in, lines_times(128.0 / 290.0));
}

TEST(alibi, rewards_later_keys_where_no_mask_hides_them) {
  const inputs<float> in = four_heads();
  meaning means = lines_times(1.0);
  means.visible = nullptr;
  means.query_offset = 100;
  expect_means(attend(in, {.query_offset = 100}, relpos::alibi{slopes}), in, means);
}

TEST(alibi, accepts_slopes_of_any_sign) {
  const inputs<float> in = four_heads();
  const std::vector<float> signs{-0.3f, 0.0f, 2.5f, -0.01f};
  const meaning means{.bias =
                          [&](auto head, auto distance) {
                            return signs[static_cast<std::size_t>(head)] *
                                   static_cast<double>(distance);
                          },
                      .visible = not_later};
  expect_means(attend(in, {}, relpos::alibi{signs}, relpos::causal{}), in, means);
}

}  // namespace
