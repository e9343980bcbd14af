// Calls of models with biases, against what the models return.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "models/recorded_case.hpp"

namespace {

using relpos::index_t;
using relpos::options;
using relpos::view;
using support::recorded_case;

TEST(model_parity, t5) {
  const recorded_case encoder("t5_encoder");
  const std::vector<float> table = encoder.list("table");
  expect_whole(encoder, {}, relpos::t5_bias{table, relpos::bidirectional});

  const recorded_case padded("t5_encoder_padded");
  const std::vector<float> padded_table = padded.list("table");
  const std::vector<index_t> lengths = padded.numbers<index_t>("lengths");
  expect_whole(padded, {}, relpos::t5_bias{padded_table, relpos::bidirectional},
               relpos::right_padding{lengths});

  const recorded_case decoder("t5_decoder");
  const std::vector<float> decoder_table = decoder.list("table");
  expect_decoder(decoder, {}, relpos::t5_bias{decoder_table, relpos::unidirectional},
                 relpos::causal{});
}

TEST(model_parity, mpnet) {
  const recorded_case of("mpnet");
  const std::vector<float> table = of.list("table");
  expect_whole(of, {.scale = 0.25f}, relpos::t5_bias{table, relpos::bidirectional});
}

TEST(model_parity, wavlm) {
  const recorded_case of("wavlm");
  const std::vector<float> table = of.list("table");
  expect_whole(of, {},
               relpos::gated_bias{of.array<3>("gates"),
                                  relpos::t5_bias{table, relpos::bidirectional, {32, 64}}});
}

TEST(model_parity, alibi) {
  const std::vector<float> six = relpos::alibi_slopes(6);
  expect_decoder(recorded_case("bloom"), {}, relpos::alibi{six}, relpos::causal{});
  expect_decoder(recorded_case("mpt"), {}, relpos::alibi{six}, relpos::causal{});
  const std::vector<float> four = relpos::alibi_slopes(4);
  expect_decoder(recorded_case("falcon_alibi"), {},
                 relpos::alibi{four, relpos::alibi_before_scale(16)}, relpos::causal{});
}

TEST(model_parity, deberta_v2) {
  const recorded_case of("deberta_v2");
  const std::vector<std::int32_t> of_queries = of.numbers<std::int32_t>("query_buckets");
  const std::vector<std::int32_t> of_keys = of.numbers<std::int32_t>("key_buckets");
  const index_t first = 1 - of.in.q.shape[2];
  expect_whole(of, {.scale = static_cast<float>(1.0 / std::sqrt(3.0 * 16.0))},
               relpos::query_tables(of.array<4>("query_tables"), of_queries, first),
               relpos::key_tables(of.array<4>("key_tables"), of_keys, first));
}

TEST(model_parity, wav2vec2_bert) {
  const recorded_case of("wav2vec2_bert");
  expect_whole(of, {},
               relpos::mixed_bias{of.array<4>("coefficients"), of.array<3>("tables"), -16,
                                  relpos::table_ends::repeated});
}

TEST(model_parity, parakeet) {
  const recorded_case of("parakeet");
  expect_whole(
      of, {},
      relpos::mixed_bias{of.array<4>("coefficients"), of.array<3>("tables"), 1 - of.in.q.shape[2]});
}

TEST(model_parity, inkling) {
  const options over_channels{.scale = 1.0f / 16.0f};
  const recorded_case sliding("inkling_sliding");
  expect_whole(sliding, over_channels, relpos::sliding_window{20},
               relpos::mixed_bias{sliding.array<4>("coefficients"), sliding.array<3>("tables"),
                                  1 - sliding.array<3>("tables").shape[2]});
  const recorded_case full("inkling_full");
  expect_whole(full, over_channels, relpos::causal{}, relpos::position_log_ratio{0.5, 8},
               relpos::mixed_bias{full.array<4>("coefficients"), full.array<3>("tables"),
                                  1 - full.array<3>("tables").shape[2]});
  const recorded_case second("inkling2_sliding");
  expect_whole(second, {}, relpos::sliding_window{20},
               relpos::row_sink_logits{second.array<3>("sinks")},
               relpos::mixed_bias{second.array<4>("coefficients"), second.array<3>("tables"),
                                  1 - second.array<3>("tables").shape[2]});
}

TEST(model_parity, gemma4_audio) {
  const recorded_case of("gemma4_audio");
  expect_whole(of, {.scale = 1.0f}, relpos::band{7, 0}, relpos::softcap_after_bias{3.0f},
               relpos::mixed_bias{of.array<4>("coefficients"), of.array<3>("tables"), -8});
}

/// Positions of tokens in the text, across a page and down.
struct on_pages {
  std::vector<index_t> positions;

  relpos::token_positions of(index_t rows) const {
    const view<const index_t, 3> all(positions.data(), {3, 1, rows});
    return {all, all};
  }
};

TEST(model_parity, udop) {
  const recorded_case of("udop");
  const std::vector<float> along = of.list("table");
  const std::vector<float> across = of.list("table_horizontal");
  const std::vector<float> down = of.list("table_vertical");
  const on_pages at{of.numbers<index_t>("positions")};
  expect_whole(of, {}, relpos::t5_bias{along, relpos::bidirectional},
               relpos::on_axis{1, relpos::t5_bias{across, relpos::bidirectional, {32, 100}}},
               relpos::on_axis{2, relpos::t5_bias{down, relpos::bidirectional, {32, 100}}},
               at.of(of.in.q.shape[2]));
}

TEST(model_parity, layoutlmv3) {
  const recorded_case of("layoutlmv3");
  const std::vector<float> along = of.list("table");
  const std::vector<float> across = of.list("table_horizontal");
  const std::vector<float> down = of.list("table_vertical");
  const on_pages at{of.numbers<index_t>("positions")};
  expect_whole(of, {.scale = 0.25f}, relpos::t5_bias{along, relpos::bidirectional},
               relpos::on_axis{1, relpos::t5_bias{across, relpos::bidirectional, {64, 256}}},
               relpos::on_axis{2, relpos::t5_bias{down, relpos::bidirectional, {64, 256}}},
               at.of(of.in.q.shape[2]));
}

TEST(model_parity, gemma3_with_images) {
  for (const bool slides : {true, false}) {
    const recorded_case of(slides ? "gemma3_image_sliding" : "gemma3_image_full");
    const std::vector<index_t> last = of.numbers<index_t>("last");
    const auto length = static_cast<index_t>(last.size());
    const std::vector<index_t> first(last.size(), 0);
    const relpos::key_ranges images{view<const index_t, 2>(first.data(), {1, length}),
                                    view<const index_t, 2>(last.data(), {1, length})};
    const relpos::rotary_table table(
        slides ? relpos::rope_frequencies(16) : relpos::linear_frequencies(16, 8.0, 1e6),
        relpos::pair_layout::half_split);
    expect_whole(of, {.scale = static_cast<float>(1.0 / std::sqrt(24.0))}, relpos::rotary{table},
                 images, relpos::band{slides ? 11 : length, length});
  }
}

TEST(model_parity, glm_moe_dsa) {
  const recorded_case of("glm_moe_dsa");
  const std::vector<std::int32_t> selected = of.numbers<std::int32_t>("selected");
  const view<const float, 4> shape = of.array<4>("selected");
  const relpos::rotary_table table(relpos::rope_frequencies(8), relpos::pair_layout::interleaved);
  expect_whole(of, {}, relpos::rotary{table, 16}, relpos::causal{},
               relpos::selected_keys{view<const std::int32_t, 4>(selected.data(), shape.shape)});
}

TEST(model_parity, encoders_without_policies) {
  expect_whole(recorded_case("whisper_encoder"), {});
  expect_whole(recorded_case("whisper_cross"), {});
  const recorded_case beit("beit");
  expect_whole(beit, {}, relpos::additive_bias{beit.array<4>("additive")});
  const recorded_case swin("swin");
  expect_whole(swin, {}, relpos::additive_bias{swin.array<4>("additive")});
}

}  // namespace
