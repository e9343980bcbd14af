// Recorded results of an independent float64 implementation.

#include <gtest/gtest.h>

#include <cmath>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/golden.hpp"
#include "support/statistics.hpp"

namespace {

using nlohmann::json;
using relpos::index_t;
using support::attended;
using support::tensor;

/// [head][row][channel]
tensor<float> tensor_of(const json& heads, index_t channels) {
  tensor<float> result(
      {1, static_cast<index_t>(heads.size()), static_cast<index_t>(heads.at(0).size()), channels});
  std::size_t at = 0;
  for (const json& head : heads) {
    for (const json& row : head) {
      for (const json& value : row) result.values.at(at++) = value;
    }
  }
  EXPECT_EQ(at, result.values.size());
  return result;
}

template <class... Masks>
attended<float> attend_with_encoding(const json& of, const support::inputs<float>& in,
                                     const relpos::options& choice, const Masks&... masks) {
  const std::string encoding = of.at("encoding");
  const relpos::temperature degrees{of.at("temperature").get<double>()};
  if (encoding == "t5") {
    std::vector<float> table;
    for (const json& bucket : of.at("table_buckets_by_heads")) {
      for (const json& value : bucket) table.push_back(value);
    }
    const relpos::t5_bias bias{
        table,
        of.at("bidirectional").get<bool>() ? relpos::bidirectional : relpos::unidirectional,
        {.num_buckets = of.at("num_buckets"), .max_distance = of.at("max_distance")}};
    return attend(in, choice, bias, degrees, masks...);
  }
  if (encoding == "xpos" || encoding == "rope_half") {
    const index_t head_dim = of.at("head_dim");
    const bool is_xpos = encoding == "xpos";
    const relpos::rotary_table table(
        is_xpos ? relpos::xpos_frequencies(head_dim) : relpos::rope_frequencies(head_dim),
        is_xpos ? relpos::pair_layout::interleaved : relpos::pair_layout::half_split);
    return attend(in, choice, relpos::rotary{table}, degrees, masks...);
  }
  const std::vector<float> slopes = relpos::alibi_slopes(of.at("query_heads").get<index_t>());
  if (encoding == "alibi_symmetric") {
    return attend(in, choice, relpos::alibi_symmetric{slopes}, degrees, masks...);
  }
  EXPECT_EQ(encoding, "alibi");
  return attend(in, choice, relpos::alibi{slopes}, degrees, masks...);
}

attended<float> attend_case(const json& of, const support::inputs<float>& in,
                            const relpos::options& choice) {
  if (of.at("mask") == "none") return attend_with_encoding(of, in, choice);
  if (of.at("mask") == "blockwise_causal") {
    return attend_with_encoding(of, in, choice,
                                relpos::blockwise_causal{of.at("block").get<index_t>()});
  }
  EXPECT_EQ(of.at("mask"), "causal");
  return attend_with_encoding(of, in, choice, relpos::causal{});
}

void expect_case(const json& of) {
  const support::inputs<float> in{tensor_of(of.at("query"), of.at("head_dim")),
                                  tensor_of(of.at("key"), of.at("head_dim")),
                                  tensor_of(of.at("value"), of.at("value_dim"))};
  support::collected statistics(support::rows_of(in));
  const attended<float> got = attend_case(of, in,
                                          {.scale = of.at("scale").get<float>(),
                                           .statistics = statistics.views(),
                                           .query_offset = of.at("query_offset")});

  for (index_t h = 0; h < got.out.shape[1]; ++h) {
    for (index_t row = 0; row < got.out.shape[2]; ++row) {
      const auto at_h = static_cast<std::size_t>(h);
      const auto at_row = static_cast<std::size_t>(row);
      const json& out = of.at("out").at(at_h).at(at_row);
      double largest = 0.0;
      for (const json& value : out) largest = std::max(largest, std::abs(value.get<double>()));
      for (index_t c = 0; c < got.out.shape[3]; ++c) {
        EXPECT_NEAR(got.out(0, h, row, c), out.at(static_cast<std::size_t>(c)).get<double>(),
                    2e-6 * largest);
      }
      const double lse = of.at("logsumexp").at(at_h).at(at_row);
      EXPECT_NEAR(got.lse(0, h, row), lse, 2e-6 * std::max(1.0, std::abs(lse)));
      const double max_probability = of.at("max_probability").at(at_h).at(at_row);
      const double entropy = of.at("entropy").at(at_h).at(at_row);
      EXPECT_NEAR(statistics.max_probability(0, h, row), max_probability, 2e-6);
      EXPECT_NEAR(statistics.entropy(0, h, row), entropy, 4e-6);
    }
  }
}

TEST(golden, attention) {
  const json recorded = support::golden("attention.json");
  EXPECT_EQ(recorded.at("cases").size(), 11u);
  for (const json& each : recorded.at("cases")) {
    SCOPED_TRACE(each.at("name").get<std::string>());
    expect_case(each);
  }
}

/// The score of one pair is the lse of a call over one key.
double score_of(const json& query, const json& key, index_t q_pos, index_t k_pos,
                const relpos::rotary_table& xpos) {
  const auto head_dim = static_cast<index_t>(query.size());
  support::inputs<float> in{tensor<float>({1, 1, 1, head_dim}), tensor<float>({1, 1, 1, head_dim}),
                            tensor<float>({1, 1, 1, 1})};
  for (std::size_t c = 0; c < query.size(); ++c) {
    in.q.values[c] = query.at(c);
    in.k.values[c] = key.at(c);
  }
  const relpos::options choice{.scale = 1.0f, .query_offset = q_pos, .key_offset = k_pos};
  return static_cast<double>(attend(in, choice, relpos::rotary{xpos}).lse.values[0]);
}

TEST(golden, xpos_scores) {
  const json recorded = support::golden("xpos_scores.json");
  ASSERT_EQ(recorded.at("cases").size(), 3u);
  for (const json& each : recorded.at("cases")) {
    const relpos::rotary_table xpos(
        relpos::xpos_frequencies(each.at("head_dim"), 0.4, each.at("scale_base")),
        relpos::pair_layout::interleaved);
    const json& rows = each.at("scores_lower_triangle_float64");
    const auto length = each.at("length").get<std::size_t>();
    ASSERT_EQ(rows.size(), length);
    for (std::size_t q = 0; q < length; ++q) {
      ASSERT_EQ(rows.at(q).size(), q + 1);
      for (std::size_t k = 0; k <= q; ++k) {
        const double score = rows.at(q).at(k);
        EXPECT_NEAR(score_of(each.at("query").at(q), each.at("key").at(k), static_cast<index_t>(q),
                             static_cast<index_t>(k), xpos),
                    score, 1e-5 * std::max(1.0, std::abs(score)));
      }
    }
  }
}

}  // namespace
