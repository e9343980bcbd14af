// Positions that are given per token, against definitions written from the papers, with positions
// in any order.

#include "relpos/policy/token_positions.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "policy/placed_tokens.hpp"
#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/naive.hpp"

namespace {

using relpos::index_t;
using support::inputs;
using support::meaning;
using support::placed_tokens::half_split;
using support::placed_tokens::is_causal;
using support::placed_tokens::line;
using support::placed_tokens::placed;
using support::placed_tokens::random_call;
using support::placed_tokens::restless;
using support::placed_tokens::shape;
using support::placed_tokens::slopes;
using support::placed_tokens::theta;

TEST(token_positions, place_a_computed_bias) {
  for (const index_t origin : {index_t{0}, index_t{1} << 40}) {
    const placed at = restless(1, 2, origin);
    expect_means(attend(random_call(), {}, relpos::alibi{slopes}, relpos::causal{}, at.policy()),
                 random_call(), at.placing({.bias = line, .visible = is_causal}));
  }
}

TEST(token_positions, place_a_tabulated_bias) {
  const placed at = restless(1, 2);
  const auto wave = [](index_t head, index_t distance) {
    return std::sin(0.3 * static_cast<double>(distance)) * static_cast<double>(head + 1);
  };
  expect_means(
      attend(random_call(), {}, relpos::relative_bias{wave}, relpos::causal{}, at.policy()),
      random_call(), at.placing({.bias = wave, .visible = is_causal}));
}

TEST(token_positions, place_a_rotation) {
  for (const index_t origin : {index_t{0}, index_t{450}, index_t{1000000}, index_t{1} << 30}) {
    const placed at = restless(1, 2, origin);
    const meaning means{.visible = is_causal,
                        .rotation = support::rotary_meaning{.rotary_dim = 16, .theta = theta}};
    expect_means(
        attend(random_call(), {}, relpos::rotary{half_split}, relpos::causal{}, at.policy()),
        random_call(), at.placing(means));
  }
}

TEST(token_positions, place_a_rotation_of_the_last_channels) {
  const auto slow = [](index_t pair) { return std::pow(10000.0, -static_cast<double>(pair) / 3); };
  for (const auto layout : {relpos::pair_layout::half_split, relpos::pair_layout::interleaved}) {
    const relpos::rotary_table of_six(relpos::rope_frequencies(6), layout);
    const placed at = restless(1, 2, 450);
    const meaning means{.visible = is_causal,
                        .rotation = support::rotary_meaning{
                            .rotary_dim = 6,
                            .interleaved = layout == relpos::pair_layout::interleaved,
                            .theta = slow,
                            .first_channel = 10}};
    expect_means(
        attend(random_call(), {}, relpos::rotary{of_six, 10}, relpos::causal{}, at.policy()),
        random_call(), at.placing(means));
  }
}

TEST(token_positions, of_one_entry_are_for_the_batch) {
  const placed at = restless(1, 1);
  expect_means(attend(random_call(), {}, relpos::alibi{slopes}, at.policy()), random_call(),
               at.placing({.bias = line}));
}

TEST(token_positions, place_each_axis_of_m_rope) {
  auto frequencies = relpos::rope_frequencies(16);
  const placed at = restless(3, 2);
  const auto expect_axes = [&](std::vector<std::uint8_t> axes, relpos::pair_layout layout) {
    frequencies.axes = axes;
    const relpos::rotary_table table(frequencies, layout);
    const meaning means{.visible = is_causal,
                        .rotation = support::rotary_meaning{
                            .rotary_dim = 16,
                            .interleaved = layout == relpos::pair_layout::interleaved,
                            .theta = theta,
                            .axis = [axes](index_t pair) {
                              return index_t{axes[static_cast<std::size_t>(pair)]};
                            }}};
    expect_means(attend(random_call(), {}, relpos::rotary{table}, relpos::causal{}, at.policy()),
                 random_call(), at.placing(means));
  };
  expect_axes({0, 0, 1, 1, 1, 2, 2, 2}, relpos::pair_layout::half_split);
  expect_axes({0, 1, 2, 0, 1, 2, 0, 0}, relpos::pair_layout::interleaved);
  // Rows and columns of an image: each has the frequencies of half the channels.
  frequencies = relpos::axial_frequencies(16, 2);
  const relpos::rotary_table axial(frequencies, relpos::pair_layout::half_split);
  const meaning means{
      .rotation = support::rotary_meaning{
          .rotary_dim = 16,
          .theta =
              [](index_t pair) { return std::pow(10000.0, -static_cast<double>(pair % 4) / 4.0); },
          .axis = [](index_t pair) { return pair / 4; }}};
  const placed in_image = restless(2, 2);
  expect_means(attend(random_call(), {}, relpos::rotary{axial}, in_image.policy()), random_call(),
               in_image.placing(means));
}

TEST(token_positions, of_text_turn_all_axes_alike) {
  auto frequencies = relpos::rope_frequencies(16);
  const relpos::rotary_table plain(frequencies, relpos::pair_layout::half_split);
  frequencies.axes = {0, 0, 1, 1, 1, 2, 2, 2};
  const relpos::rotary_table axes(frequencies, relpos::pair_layout::half_split);
  EXPECT_TRUE(same_bits(attend(random_call(), {}, relpos::rotary{axes}),
                        attend(random_call(), {}, relpos::rotary{plain})));
}

TEST(token_positions, place_a_logit_scaling) {
  const placed at = restless(1, 2);
  const auto factor = [](index_t, index_t q_pos, index_t) {
    return 1.0 + 0.5 * std::log(std::floor(static_cast<double>(q_pos + 1) / 8.0) + 1.0);
  };
  expect_means(attend(random_call(), {}, relpos::position_log{0.5, 8}, at.policy()), random_call(),
               at.placing({.logit_factor = factor}));
  const auto power = [](index_t, index_t q_pos, index_t) {
    return std::sqrt(1.0 + static_cast<double>(std::max<index_t>(q_pos + 1, 0)) / 8.0);
  };
  expect_means(attend(random_call(), {}, relpos::position_power{0.5, 8}, at.policy()),
               random_call(), at.placing({.logit_factor = power}));
  const std::vector<float> rising{0.2f, 0.1f}, constant{1.0f, 0.5f};
  const auto line_of_head = [&](index_t head, index_t q_pos, index_t) {
    const auto h = static_cast<std::size_t>(head);
    return static_cast<double>(rising[h]) *
               std::log(static_cast<double>(std::max<index_t>(q_pos + 1, 1))) +
           static_cast<double>(constant[h]);
  };
  expect_means(attend(random_call(), {}, relpos::head_position_log{rising, constant}, at.policy()),
               random_call(), at.placing({.logit_factor = line_of_head}));
}

TEST(token_positions, place_all_at_once) {
  const placed at = restless(1, 2);
  const std::vector<float> table(32 * 2, 0.25f);
  const meaning means{
      .bias = [](index_t head, index_t distance) { return 0.25 + line(head, distance); },
      .visible = is_causal,
      .rotation = support::rotary_meaning{.rotary_dim = 16, .theta = theta},
      .scale = 0.3f,
      .softcap = 5.0,
      .temperature = double{0.8f}};
  expect_means(attend(random_call(), {.scale = 0.3f, .softcap = 5.0f}, relpos::rotary{half_split},
                      relpos::t5_bias{table, relpos::bidirectional}, relpos::alibi{slopes},
                      relpos::causal{}, relpos::temperature{0.8f}, at.policy()),
               random_call(), at.placing(means));
}

TEST(token_positions, that_are_counted_change_no_more_than_rounding) {
  placed at{1, 1, {}, {}};
  for (index_t row = 0; row < shape.query_length; ++row) at.queries.push_back(row + 215);
  for (index_t row = 0; row < shape.key_length; ++row) at.keys.push_back(row);
  const inputs<float> in = random_call();
  const auto wave = [](index_t, index_t distance) {
    return std::sin(static_cast<double>(distance));
  };
  EXPECT_TRUE(
      same_bits(attend(in, {}, relpos::alibi{slopes}, relpos::relative_bias{wave}, at.policy()),
                attend(in, {}, relpos::alibi{slopes}, relpos::relative_bias{wave})));
}

}  // namespace
