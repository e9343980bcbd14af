// Recorded results of an independent float64 implementation.

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/golden.hpp"

namespace {

using nlohmann::json;
using relpos::index;
using support::attended;
using support::tensor;

/// [head][row][channel]
tensor<float> tensor_of(const json& heads, index channels) {
  tensor<float> result(
      {1, static_cast<index>(heads.size()), static_cast<index>(heads.at(0).size()), channels});
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
  const std::vector<float> slopes = relpos::alibi_slopes(of.at("query_heads").get<index>());
  if (encoding == "alibi_symmetric") {
    return attend(in, choice, relpos::alibi_symmetric{slopes}, degrees, masks...);
  }
  EXPECT_EQ(encoding, "alibi");
  return attend(in, choice, relpos::alibi{slopes}, degrees, masks...);
}

attended<float> attend_case(const json& of, const support::inputs<float>& in,
                            const relpos::options& choice) {
  if (of.at("mask") == "none") return attend_with_encoding(of, in, choice);
  EXPECT_EQ(of.at("mask"), "causal");
  return attend_with_encoding(of, in, choice, relpos::causal{});
}

void expect_case(const json& of) {
  const support::inputs<float> in{tensor_of(of.at("query"), of.at("head_dim")),
                                  tensor_of(of.at("key"), of.at("head_dim")),
                                  tensor_of(of.at("value"), of.at("value_dim"))};
  const attended<float> got = attend_case(
      of, in, {.scale = of.at("scale").get<float>(), .query_offset = of.at("query_offset")});

  for (index h = 0; h < got.out.shape[1]; ++h) {
    for (index row = 0; row < got.out.shape[2]; ++row) {
      const auto at_h = static_cast<std::size_t>(h);
      const auto at_row = static_cast<std::size_t>(row);
      const json& out = of.at("out").at(at_h).at(at_row);
      double largest = 0.0;
      for (const json& value : out) largest = std::max(largest, std::abs(value.get<double>()));
      for (index c = 0; c < got.out.shape[3]; ++c) {
        EXPECT_NEAR(got.out(0, h, row, c), out.at(static_cast<std::size_t>(c)).get<double>(),
                    2e-6 * largest);
      }
      const double lse = of.at("logsumexp").at(at_h).at(at_row);
      EXPECT_NEAR(got.lse(0, h, row), lse, 2e-6 * std::max(1.0, std::abs(lse)));
    }
  }
}

TEST(golden, attention) {
  const std::set<std::string> encodings{"alibi", "alibi_symmetric", "t5"};
  const std::set<std::string> masks{"none", "causal"};
  std::set<std::string> ran;
  const json recorded = support::golden("attention.json");
  for (const json& each : recorded.at("cases")) {
    if (!encodings.contains(each.at("encoding")) || !masks.contains(each.at("mask"))) continue;
    SCOPED_TRACE(each.at("name").get<std::string>());
    expect_case(each);
    ran.insert(each.at("name"));
  }
  const std::set<std::string> expected{
      "alibi causal",           "alibi decode gqa",       "alibi symmetric encoder",
      "alibi past one tile",    "t5 encoder temperature", "t5 decoder",
      "t5 past the last bucket"};
  EXPECT_EQ(ran, expected);
}

}  // namespace
