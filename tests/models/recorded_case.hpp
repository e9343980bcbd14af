#pragma once
// The attention of one layer of a real model, as tests/models/export.py recorded it, and the
// comparison of a call with it.

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "kv_cache/caches.hpp"
#include "relpos/policies.hpp"
#include "support/golden.hpp"

namespace support {

class recorded_case {
 public:
  explicit recorded_case(const std::string& name) {
    static const nlohmann::json index = golden("../models/arrays/index.json");
    of_ = index.at("cases").at(name).at("arrays");
    std::ifstream file(RELPOS_TEST_DATA "/../models/arrays/" + name + ".f32", std::ios::binary);
    index_t floats = 0;
    for (const auto& [key, array] : of_.items()) {
      index_t size = 1;
      for (const index_t extent : array.at("shape")) size *= extent;
      floats = std::max(floats, array.at("offset").get<index_t>() + size);
    }
    data_.resize(static_cast<std::size_t>(floats));
    file.read(reinterpret_cast<char*>(data_.data()),
              static_cast<std::streamsize>(data_.size() * sizeof(float)));
    EXPECT_TRUE(file) << name;
    in = {rows("q"), rows("k"), rows("v")};
    out = rows("out");
  }

  /// An array of this rank.
  template <int Rank>
  relpos::view<const float, Rank> array(const std::string& name) const {
    const auto shape = of_.at(name).at("shape").get<std::array<index_t, Rank>>();
    return {data_.data() + of_.at(name).at("offset").get<index_t>(), shape};
  }
  std::vector<float> list(const std::string& name) const {
    index_t size = 1;
    for (const index_t extent : of_.at(name).at("shape")) size *= extent;
    const float* const first = data_.data() + of_.at(name).at("offset").get<index_t>();
    return {first, first + size};
  }
  template <class T>
  std::vector<T> numbers(const std::string& name) const {
    std::vector<T> result;
    for (const float number : list(name)) result.push_back(static_cast<T>(std::lround(number)));
    return result;
  }

  inputs<float> in;
  tensor<float> out;

 private:
  tensor<float> rows(const std::string& name) const {
    tensor<float> result(of_.at(name).at("shape").get<std::array<index_t, 4>>());
    result.values = list(name);
    return result;
  }

  nlohmann::json of_;
  std::vector<float> data_;
};

/// Rows of `got` from row `first` on are the model's, within `tolerance` of the largest value of
/// their row. Padding rows, the first `padding` of each entry, mean nothing.
template <class Out>
void expect_model(const tensor<Out>& got, const tensor<float>& out, double tolerance,
                  const std::vector<index_t>& padding = {}) {
  const index_t rows = got.shape[2];
  const index_t first = out.shape[2] - rows;
  double worst = 0.0;
  for (index_t b = 0; b < got.shape[0]; ++b) {
    for (index_t h = 0; h < got.shape[1]; ++h) {
      for (index_t row = 0; row < rows; ++row) {
        if (!padding.empty() && first + row < padding[static_cast<std::size_t>(b)]) continue;
        double largest = 0.0;
        double error = 0.0;
        for (index_t c = 0; c < got.shape[3]; ++c) {
          const auto exact = static_cast<double>(out(b, h, first + row, c));
          const auto value = static_cast<double>(static_cast<float>(got(b, h, row, c)));
          largest = std::max(largest, std::abs(exact));
          ASSERT_TRUE(std::isfinite(value));
          error = std::max(error, std::abs(value - exact));
        }
        ASSERT_GT(largest, 0.0);
        worst = std::max(worst, error / largest);
      }
    }
  }
  EXPECT_LE(worst, tolerance);
}

inline constexpr double model_tolerance = 2e-5;

/// The inputs, rounded to another storage type.
template <class Stored>
inputs<Stored> stored_as(const inputs<float>& from) {
  const auto round = [](const tensor<float>& of) {
    tensor<Stored> result(of.shape);
    std::transform(of.values.begin(), of.values.end(), result.values.begin(),
                   [](float x) { return Stored(x); });
    return result;
  };
  return {round(from.q), round(from.k), round(from.v)};
}

/// The distance that the rounding of stored rows may move an output, as a share of the row's
/// largest value.
template <class Stored>
inline constexpr double storage_tolerance = model_tolerance;
template <>
inline constexpr double storage_tolerance<relpos::half> = 0.01;
template <>
inline constexpr double storage_tolerance<relpos::bfloat16> = 0.05;
template <>
inline constexpr double storage_tolerance<relpos::int8> = 0.08;

template <class Stored, class... Policies>
void expect_stored(const recorded_case& of, const relpos::options& opts,
                   const Policies&... policies) {
  const auto got = attend(stored_as<Stored>(of.in), opts, policies...);
  expect_model(got.out, of.out, storage_tolerance<Stored>);
}

/// The whole call in both kernels, of floats and of 16 bits.
template <class... Policies>
void expect_whole(const recorded_case& of, relpos::options opts, const Policies&... policies) {
  for (const relpos::kernel_class kernel :
       {relpos::kernel_class::prefill, relpos::kernel_class::decode}) {
    SCOPED_TRACE(kernel == relpos::kernel_class::prefill ? "prefill" : "decode");
    opts.kernel = kernel;
    expect_model(attend(of.in, opts, policies...).out, of.out, model_tolerance);
    expect_stored<relpos::half>(of, opts, policies...);
    expect_stored<relpos::bfloat16>(of, opts, policies...);
  }
}

/// The last `rows` queries over caches of all keys.
template <class Own, class... Policies>
void expect_cached(const recorded_case& of, Own own, index_t rows, const relpos::options& opts,
                   const Policies&... policies) {
  const index_t length = of.in.k.shape[2];
  append_rows(own, of.in, 0, length / 2, policies...);
  append_rows(own, of.in, length / 2, length, policies...);
  const relpos::view<const float, 4> q = of.in.q.view();
  const auto got = attend_cache(own.cache(), q.slice(2, length - rows, rows), opts, policies...);
  expect_model(got.out, of.out, storage_tolerance<typename Own::stored>);
}

/// A decoder's call: whole, as the last chunk, and as a step of decoding over tensors and caches.
template <class... Policies>
void expect_decoder(const recorded_case& of, const relpos::options& opts,
                    const Policies&... policies) {
  expect_whole(of, opts, policies...);
  const relpos::view<const float, 4> q = of.in.q.view();
  const index_t length = q.shape[2];
  const cache_sizes sizes{.batch = q.shape[0],
                          .key_heads = of.in.k.shape[1],
                          .rows = length,
                          .head_dim = q.shape[3],
                          .value_dim = of.in.v.shape[3]};
  for (const index_t rows : {index_t{1}, index_t{17}}) {
    SCOPED_TRACE(std::to_string(rows) + " queries");
    const auto got =
        attend(q.slice(2, length - rows, rows), of.in.k.view(), of.in.v.view(), opts, policies...);
    expect_model(got.out, of.out, model_tolerance);
    expect_cached(of, own_contiguous<float>(sizes), rows, opts, policies...);
    expect_cached(of, own_paged<float>(sizes, 16), rows, opts, policies...);
    expect_cached(of, own_ring<float>(sizes), rows, opts, policies...);
    expect_cached(of, own_contiguous<relpos::half>(sizes), rows, opts, policies...);
    expect_cached(of, own_paged<relpos::bfloat16>(sizes, 16), rows, opts, policies...);
    expect_cached(of, own_ring<relpos::int8>(sizes), rows, opts, policies...);
  }
}

}  // namespace support
