// Calls of models with rotations, windows, sinks and laws of the position, against what the models
// return.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "models/recorded_case.hpp"

namespace {

using relpos::index_t;
using relpos::options;
using relpos::pair_layout;
using relpos::rope_frequencies;
using relpos::rotary;
using relpos::rotary_frequencies;
using relpos::rotary_table;
using support::recorded_case;

constexpr auto half_split = pair_layout::half_split;
constexpr auto interleaved = pair_layout::interleaved;

/// A causal call whose only encoding is this rotation.
void expect_rotated(const char* name, const rotary_frequencies& frequencies,
                    pair_layout layout = half_split, const options& opts = {}) {
  SCOPED_TRACE(name);
  const rotary_table table(frequencies, layout);
  expect_decoder(recorded_case(name), opts, rotary{table}, relpos::causal{});
}

/// The same in a window.
void expect_in_window(const char* name, const rotary_frequencies& frequencies, index_t window,
                      const options& opts = {}) {
  SCOPED_TRACE(name);
  const rotary_table table(frequencies, half_split);
  expect_decoder(recorded_case(name), opts, rotary{table}, relpos::sliding_window{window});
}

TEST(model_parity, rope) {
  expect_rotated("llama", rope_frequencies(16));
  expect_rotated("qwen3", rope_frequencies(32, 1e6));
  expect_rotated("cohere", rope_frequencies(16, 500000.0), interleaved);
  expect_rotated("granite", rope_frequencies(16), half_split, {.scale = 0.4f});
}

TEST(model_parity, rope_of_some_channels) {
  expect_rotated("gpt_neox", rope_frequencies(8));
  expect_rotated("stablelm", rope_frequencies(8));
  expect_rotated("phi", rope_frequencies(8));
  expect_rotated("gptj", rope_frequencies(8), interleaved);
  expect_rotated("glm4", rope_frequencies(16), interleaved);
}

TEST(model_parity, rope_padded_in_front) {
  const recorded_case of("llama_padded");
  const std::vector<index_t> padding = of.numbers<index_t>("padding");
  const rotary_table table(rope_frequencies(16), half_split);
  for (const auto kernel : {relpos::kernel_class::prefill, relpos::kernel_class::decode}) {
    const auto got = attend(of.in, {.kernel = kernel}, rotary{table}, relpos::causal{},
                            relpos::left_padding{padding});
    expect_model(got.out, of.out, support::model_tolerance, padding);
  }
}

TEST(model_parity, stretched_rope) {
  expect_rotated("llama_linear", relpos::linear_frequencies(16, 4.0));
  expect_rotated("llama_llama3", relpos::llama3_frequencies(32, 8.0, 64, 500000.0));
  expect_rotated("llama_dynamic", relpos::dynamic_ntk_frequencies(16, 4.0, 24, 60));
  std::vector<double> shorter, longer;
  for (int i = 0; i < 12; ++i) {
    shorter.push_back(1.0 + 0.05 * i);
    longer.push_back(1.0 + 0.5 * i);
  }
  expect_rotated("phi3_short", relpos::longrope_frequencies(shorter, 4.0, 48));
  expect_rotated("phi3_long", relpos::longrope_frequencies(longer, 4.0, 48));
  expect_rotated("gemma4_global", relpos::proportional_frequencies(64, 0.25, 1e6), half_split,
                 {.scale = 1.0f});
}

TEST(model_parity, yarn) {
  expect_rotated("llama_yarn", relpos::yarn_frequencies(32, 8.0, 16));
  rotary_frequencies with_pair = relpos::yarn_frequencies(32, 8.0, 16);
  with_pair.attention_factor = relpos::yarn_mscale(8.0, 1.0) / relpos::yarn_mscale(8.0, 0.707);
  expect_rotated("llama_yarn_mscale", with_pair);
  expect_rotated("llama_yarn_exact", relpos::yarn_frequencies(32, 8.0, 16, 10000.0, 32.0, 1.0,
                                                              relpos::yarn_ramp::exact));
}

TEST(model_parity, windows) {
  expect_in_window("mistral", rope_frequencies(16), 9);
  expect_in_window("gemma2", rope_frequencies(16), 9,
                   {.scale = static_cast<float>(1.0 / std::sqrt(24.0)), .softcap = 3.0f});
  expect_in_window("gemma3_local", rope_frequencies(32), 9);
  expect_rotated("gemma3_global", relpos::linear_frequencies(32, 8.0, 1e6));
  expect_in_window("beam_sliding", rope_frequencies(16), 9);
}

TEST(model_parity, encoders) {
  const rotary_table table(rope_frequencies(16), half_split);
  expect_whole(recorded_case("modernbert_local"), {}, rotary{table}, relpos::band{8, 8});
  expect_whole(recorded_case("esm"), {.scale = 1.0f}, rotary{table});
}

TEST(model_parity, gpt_oss) {
  const recorded_case of("gpt_oss");
  const std::vector<float> sinks = of.list("sinks");
  const rotary_table table(
      relpos::yarn_frequencies(32, 32.0, 64, 150000.0, 32.0, 1.0, relpos::yarn_ramp::exact),
      half_split);
  expect_decoder(of, {}, rotary{table}, relpos::sliding_window{9}, relpos::sink_logits{sinks});
}

TEST(model_parity, llama4) {
  const rotary_table table(rope_frequencies(16, 500000.0), interleaved);
  expect_decoder(recorded_case("llama4_chunked"), {}, rotary{table}, relpos::chunked_causal{16});
  expect_decoder(recorded_case("llama4_nope"), {}, relpos::causal{}, relpos::position_log{0.1, 16});
}

TEST(model_parity, layers_without_rotation) {
  expect_decoder(recorded_case("smollm3_nope"), {}, relpos::causal{});
  expect_whole(recorded_case("beam_nope"), {.key_offset = 2000}, relpos::causal{},
               relpos::position_power{0.1, 2048});
}

TEST(model_parity, ministral3) {
  rotary_frequencies frequencies = relpos::yarn_frequencies(32, 16.0, 16);
  frequencies.attention_factor = 1.0;
  const rotary_table table(frequencies, half_split);
  expect_decoder(recorded_case("ministral3"), {}, rotary{table}, relpos::causal{},
                 relpos::position_log{0.1, 16, 0});
}

TEST(model_parity, latent_attention) {
  const recorded_case deepseek("deepseek_v3");
  rotary_frequencies frequencies = relpos::yarn_frequencies(16, 40.0, 16);
  frequencies.attention_factor = 1.0;
  const rotary_table table(frequencies, interleaved);
  const double mscale = relpos::yarn_mscale(40.0, 1.0);
  expect_decoder(deepseek, {.scale = static_cast<float>(mscale * mscale / std::sqrt(32.0))},
                 rotary{table, 16}, relpos::causal{});

  const recorded_case mistral("mistral_large4");
  const std::vector<float> slopes = mistral.list("slopes");
  const std::vector<float> intercepts = mistral.list("intercepts");
  const std::vector<float> multipliers = mistral.list("multipliers");
  rotary_frequencies learned = rope_frequencies(16);
  for (std::size_t i = 0; i < multipliers.size(); ++i) {
    learned.radians[i] *= static_cast<double>(multipliers[i]);
  }
  const rotary_table learned_table(learned, interleaved);
  expect_decoder(mistral, {}, rotary{learned_table, 16}, relpos::causal{},
                 relpos::head_position_log{slopes, intercepts});
}

/// A call with positions of tokens on several axes.
template <class... Masks>
void expect_on_axes(const char* name, const rotary_frequencies& frequencies, pair_layout layout,
                    const options& opts, const Masks&... masks) {
  SCOPED_TRACE(name);
  const recorded_case of(name);
  const std::vector<index_t> positions = of.numbers<index_t>("positions");
  const index_t rows = of.in.q.shape[2];
  const auto axes = static_cast<index_t>(positions.size()) / rows;
  const relpos::view<const index_t, 3> at(positions.data(), {axes, 1, rows});
  const rotary_table table(frequencies, layout);
  expect_whole(of, opts, rotary{table}, relpos::token_positions{at, at}, masks...);
}

rotary_frequencies on_axes(rotary_frequencies frequencies, std::vector<std::uint8_t> axes) {
  frequencies.axes = std::move(axes);
  return frequencies;
}

TEST(model_parity, rope_of_time_height_and_width) {
  using sections = std::array<index_t, 3>;
  expect_on_axes("qwen2_vl",
                 on_axes(rope_frequencies(32, 1e6), relpos::mrope_axes(sections{4, 6, 6})),
                 half_split, {}, relpos::causal{});
  expect_on_axes(
      "qwen3_vl",
      on_axes(rope_frequencies(32, 1e6), relpos::interleaved_mrope_axes(sections{6, 5, 5})),
      half_split, {}, relpos::causal{});
  expect_on_axes("glm4v", on_axes(rope_frequencies(16, 1e6), relpos::mrope_axes(sections{2, 3, 3})),
                 interleaved, {}, relpos::causal{});
  expect_on_axes(
      "ernie4_5_vl",
      on_axes(rope_frequencies(32, 500000.0), {1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 0, 0, 0, 0}),
      interleaved, {}, relpos::causal{});
}

TEST(model_parity, vision_towers) {
  expect_on_axes("qwen2_vl_vision", relpos::axial_frequencies(32, 2), half_split, {});
  expect_on_axes("pixtral", relpos::axial_frequencies(32, 2, 10000.0, relpos::axial_spacing::dealt),
                 half_split, {});
  expect_on_axes("llama4_vision", relpos::axial_frequencies(32, 2), interleaved, {});
}

/// Each half of the channels rotates by its own axis: `rotate` of slices, and a plain call.
TEST(model_parity, gemma4_vision) {
  recorded_case of("gemma4_vision");
  const std::vector<index_t> positions = of.numbers<index_t>("positions");
  const index_t rows = of.in.q.shape[2];
  for (auto* const each : {&of.in.q, &of.in.k}) {
    for (index_t axis = 0; axis < 2; ++axis) {
      const relpos::view<const index_t, 2> at(positions.data() + axis * rows, {1, rows});
      ASSERT_TRUE(relpos::rotate(each->view().slice(3, 16 * axis, 16), rope_frequencies(16, 100.0),
                                 half_split, at));
    }
  }
  expect_whole(of, {.scale = 1.0f});
}

}  // namespace
