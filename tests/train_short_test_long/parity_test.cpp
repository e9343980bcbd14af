// The models in C++ against PyTorch, on the same weights and bytes (expected.py).

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "train_short_test_long/reader.hpp"

namespace {

using extrapolation::language_model;
using extrapolation::matrix;
using extrapolation::reader;
using extrapolation::variant;
using nlohmann::json;

const std::string weights = RELPOS_WEIGHTS;

json recorded() {
  std::ifstream file(weights + "/logits.json");
  return json::parse(file);
}

std::string text_of(const json& recording) {
  std::string text;
  for (const json& byte : recording.at("text")) text += static_cast<char>(byte.get<int>());
  return text;
}

/// The variants that read as the models were trained.
template <class Use>
void for_each_model(const Use& use) {
  for (const variant& each : extrapolation::variants()) {
    if (each.beyond == extrapolation::stretch::none) {
      SCOPED_TRACE(each.name);
      use(each, language_model(weights + "/" + each.model + ".safetensors"));
    }
  }
}

TEST(train_short_test_long, logits_are_those_of_pytorch) {
  const json recording = recorded();
  const std::string text = text_of(recording);
  std::size_t models = 0;
  for_each_model([&](const variant& of, const language_model& model) {
    reader reads(of, model, static_cast<long>(text.size()));
    const matrix logits = reads.logits(reads.read(text));
    for (const auto& [row, expected] : recording.at("models").at(of.model).items()) {
      ASSERT_EQ(expected.size(), 256u);
      for (long byte = 0; byte < 256; ++byte) {
        ASSERT_NEAR(logits(std::stol(row), byte),
                    expected.at(static_cast<std::size_t>(byte)).get<double>(), 2e-4)
            << row << ' ' << byte;
      }
    }
    ++models;
  });
  EXPECT_EQ(models, recording.at("models").size());
}

TEST(train_short_test_long, a_cache_goes_on_where_the_text_ended) {
  const std::string text = text_of(recorded());
  for_each_model([&](const variant& of, const language_model& model) {
    reader whole(of, model, static_cast<long>(text.size()));
    reader parts(of, model, static_cast<long>(text.size()));
    const matrix expected = whole.read(text);
    long row = 0;
    for (const long count : {120L, 1L, 1L, 57L, 1L, 120L}) {
      const matrix got = parts.read_on(std::string_view(text).substr(
          static_cast<std::size_t>(row), static_cast<std::size_t>(count)));
      ASSERT_LE((got - expected.middleRows(row, count)).cwiseAbs().maxCoeff(), 1e-4f) << row;
      row += count;
    }
  });
}

}  // namespace
