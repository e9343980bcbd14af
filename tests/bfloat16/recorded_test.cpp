// Products of bfloat16 over recorded layers of models and golden cases: the error against float64
// is at most twice the error of a plain computation that rounds the same operands.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "models/recorded_case.hpp"
#include "support/reference.hpp"

namespace {

using nlohmann::json;
using relpos::bfloat16;
using relpos::index_t;
using relpos::options;
using relpos::rotary;
using support::inputs;
using support::recorded_case;
using support::tensor;

using instruction_set = std::conditional_t<relpos::has_pair_products<relpos::native>,
                                           relpos::native, relpos::generic<4>>;

/// Rows rotated in float64 by frequencies base^(-2 i / channels), channel i with i + channels / 2,
/// and rounded.
tensor<bfloat16> rotated(const tensor<bfloat16>& rows, index_t first_position, double base) {
  tensor<bfloat16> result(rows.shape);
  const index_t pairs = rows.shape[3] / 2;
  for (index_t b = 0; b < rows.shape[0]; ++b) {
    for (index_t h = 0; h < rows.shape[1]; ++h) {
      for (index_t row = 0; row < rows.shape[2]; ++row) {
        for (index_t i = 0; i < pairs; ++i) {
          const double angle = static_cast<double>(first_position + row) *
                               std::pow(base, -static_cast<double>(i) / static_cast<double>(pairs));
          const auto x = static_cast<double>(static_cast<float>(rows(b, h, row, i)));
          const auto y = static_cast<double>(static_cast<float>(rows(b, h, row, pairs + i)));
          result(b, h, row, i) =
              bfloat16(static_cast<float>(x * std::cos(angle) - y * std::sin(angle)));
          result(b, h, row, pairs + i) =
              bfloat16(static_cast<float>(x * std::sin(angle) + y * std::cos(angle)));
        }
      }
    }
  }
  return result;
}

/// The probabilities of all keys in float64, [batch][head][row][key]: the outputs where the value
/// of a key is 1 in its own channel.
template <class... Policies>
tensor<double> probabilities(const inputs<bfloat16>& in, const options& opts,
                             const Policies&... policies) {
  const index_t keys = in.k.shape[2];
  tensor<bfloat16> ones({in.k.shape[0], in.k.shape[1], keys, keys});
  for (index_t b = 0; b < ones.shape[0]; ++b) {
    for (index_t h = 0; h < ones.shape[1]; ++h) {
      for (index_t key = 0; key < keys; ++key) ones(b, h, key, key) = bfloat16(1.0f);
    }
  }
  tensor<double> result({in.q.shape[0], in.q.shape[1], in.q.shape[2], keys});
  std::vector<double> lse;
  support::run_reference(result.values, lse, in.q.view(), in.k.view(), std::as_const(ones).view(),
                         opts, policies...);
  return result;
}

/// The outputs in float32 from weights relative to the largest of the row, rounded.
template <class... Policies>
std::vector<float> rounded_attention(const inputs<bfloat16>& in, const options& opts,
                                     const Policies&... policies) {
  const tensor<double> probability = probabilities(in, opts, policies...);
  tensor<float> out({in.q.shape[0], in.q.shape[1], in.q.shape[2], in.v.shape[3]});
  const index_t queries_per_key_head = in.q.shape[1] / in.k.shape[1];
  for (index_t b = 0; b < out.shape[0]; ++b) {
    for (index_t h = 0; h < out.shape[1]; ++h) {
      for (index_t row = 0; row < out.shape[2]; ++row) {
        double largest = 0.0;
        for (index_t key = 0; key < in.k.shape[2]; ++key) {
          largest = std::max(largest, probability(b, h, row, key));
        }
        if (largest == 0.0) continue;
        for (index_t c = 0; c < out.shape[3]; ++c) {
          float sum = 0.0f;
          for (index_t key = 0; key < in.k.shape[2]; ++key) {
            const bfloat16 weight(static_cast<float>(probability(b, h, row, key) / largest));
            sum += static_cast<float>(weight) *
                   static_cast<float>(in.v(b, h / queries_per_key_head, key, c));
          }
          out(b, h, row, c) = static_cast<float>(largest) * sum;
        }
      }
    }
  }
  return out.values;
}

template <class... Policies>
void expect_as_exact(const inputs<bfloat16>& in, const inputs<bfloat16>& rounded_in, options opts,
                     const std::optional<rotary>& rotation, const Policies&... policies) {
  opts.kernel = relpos::kernel_class::prefill;
  opts.arithmetic = relpos::arithmetic_type::bfloat16;
  const auto naive = rounded_attention(rounded_in, opts, policies...);
  std::vector<double> exact, lse;
  const auto compare = [&](const auto&... all) {
    support::run_reference(exact, lse, in.q.view(), in.k.view(), in.v.view(), opts, all...);
    const auto got = support::attend<instruction_set>(in, opts, all...);
    support::expect_close(got.out.values, exact, support::float_tolerance(exact, naive), "out");
  };
  rotation ? compare(*rotation, policies...) : compare(policies...);
}

template <class... Policies>
void expect_recorded(const recorded_case& of, const options& opts, const Policies&... policies) {
  const auto in = support::stored_as<bfloat16>(of.in);
  expect_as_exact(in, in, opts, std::nullopt, policies...);
}

template <class... Policies>
void expect_rotated(const inputs<bfloat16>& in, const options& opts, double base,
                    const Policies&... policies) {
  const relpos::rotary_table table(relpos::rope_frequencies(in.q.shape[3], base),
                                   relpos::pair_layout::half_split);
  const index_t first_query = in.k.shape[2] - in.q.shape[2];
  expect_as_exact(in, {rotated(in.q, first_query, base), rotated(in.k, 0, base), in.v}, opts,
                  rotary{table}, policies...);
}

TEST(bfloat16_recorded, tables_of_models) {
  const recorded_case encoder("t5_encoder");
  const std::vector<float> table = encoder.list("table");
  expect_recorded(encoder, {}, relpos::t5_bias{table, relpos::bidirectional});
  const recorded_case decoder("t5_decoder");
  const std::vector<float> decoder_table = decoder.list("table");
  expect_recorded(decoder, {}, relpos::t5_bias{decoder_table, relpos::unidirectional},
                  relpos::causal{});
  const recorded_case gated("wavlm");
  const std::vector<float> gated_table = gated.list("table");
  expect_recorded(
      gated, {},
      relpos::gated_bias{gated.array<3>("gates"),
                         relpos::t5_bias{gated_table, relpos::bidirectional, {32, 64}}});
}

TEST(bfloat16_recorded, slopes_of_models) {
  const std::vector<float> six = relpos::alibi_slopes(6);
  expect_recorded(recorded_case("bloom"), {}, relpos::alibi{six}, relpos::causal{});
  expect_recorded(recorded_case("mpt"), {}, relpos::alibi{six}, relpos::causal{});
  const std::vector<float> four = relpos::alibi_slopes(4);
  expect_recorded(recorded_case("falcon_alibi"), {},
                  relpos::alibi{four, relpos::alibi_before_scale(16)}, relpos::causal{});
}

TEST(bfloat16_recorded, mixed_biases_of_models) {
  const recorded_case of("parakeet");
  expect_recorded(
      of, {},
      relpos::mixed_bias{of.array<4>("coefficients"), of.array<3>("tables"), 1 - of.in.q.shape[2]});
  const recorded_case capped("gemma4_audio");
  expect_recorded(
      capped, {.scale = 1.0f}, relpos::band{7, 0}, relpos::softcap_after_bias{3.0f},
      relpos::mixed_bias{capped.array<4>("coefficients"), capped.array<3>("tables"), -8});
  const recorded_case with_sinks("inkling2_sliding");
  expect_recorded(
      with_sinks, {}, relpos::sliding_window{20},
      relpos::row_sink_logits{with_sinks.array<3>("sinks")},
      relpos::mixed_bias{with_sinks.array<4>("coefficients"), with_sinks.array<3>("tables"),
                         1 - with_sinks.array<3>("tables").shape[2]});
}

TEST(bfloat16_recorded, layers_without_encoding) {
  expect_recorded(recorded_case("smollm3_nope"), {}, relpos::causal{});
  expect_recorded(recorded_case("llama4_nope"), {}, relpos::causal{},
                  relpos::position_log{0.1, 16});
}

TEST(bfloat16_recorded, rotations_of_models) {
  const auto inputs_of = [](const std::string& name) {
    return support::stored_as<bfloat16>(recorded_case(name).in);
  };
  expect_rotated(inputs_of("llama"), {}, 1e4, relpos::causal{});
  expect_rotated(inputs_of("qwen3"), {}, 1e6, relpos::causal{});
  expect_rotated(inputs_of("mistral"), {}, 1e4, relpos::sliding_window{9});
  expect_rotated(inputs_of("gemma2"),
                 {.scale = static_cast<float>(1.0 / std::sqrt(24.0)), .softcap = 3.0f}, 1e4,
                 relpos::sliding_window{9});
}

TEST(bfloat16_recorded, golden_cases) {
  const auto tensor_of = [](const json& heads) {
    tensor<bfloat16> result({1, static_cast<index_t>(heads.size()),
                             static_cast<index_t>(heads.at(0).size()),
                             static_cast<index_t>(heads.at(0).at(0).size())});
    std::size_t at = 0;
    for (const json& head : heads) {
      for (const json& row : head) {
        for (const json& value : row) result.values.at(at++) = bfloat16(value.get<float>());
      }
    }
    return result;
  };
  int cases = 0;
  const json recorded = support::golden("attention.json");
  for (const json& of : recorded.at("cases")) {
    SCOPED_TRACE(of.at("name").get<std::string>());
    const std::string encoding = of.at("encoding");
    const inputs<bfloat16> in{tensor_of(of.at("query")), tensor_of(of.at("key")),
                              tensor_of(of.at("value"))};
    const options opts{.scale = of.at("scale").get<float>()};
    if (encoding == "rope_half") {
      expect_rotated(in, opts, 1e4, relpos::causal{});
    } else if (encoding == "alibi") {
      const std::vector<float> slopes = relpos::alibi_slopes(in.q.shape[1]);
      expect_as_exact(in, in, opts, std::nullopt, relpos::alibi{slopes}, relpos::causal{});
    } else if (encoding == "t5" && of.at("mask") == "none") {
      std::vector<float> table;
      for (const json& bucket : of.at("table_buckets_by_heads")) {
        for (const json& value : bucket) table.push_back(value);
      }
      const relpos::temperature degrees{of.at("temperature").get<double>()};
      expect_as_exact(in, in, opts, std::nullopt, relpos::t5_bias{table, relpos::bidirectional},
                      degrees);
    } else {
      continue;
    }
    ++cases;
  }
  EXPECT_EQ(cases, 6);
}

}  // namespace
