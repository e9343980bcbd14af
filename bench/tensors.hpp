#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <random>
#include <vector>

#include "relpos/views.hpp"

namespace relpos::bench {

/// q, k, v and out [batch, heads, length, head_dim] of unit-normal values.
struct tensors {
  tensors(index_t heads, index_t length, index_t head_dim, index_t batch = 1) {
    std::mt19937 generator(7);
    std::normal_distribution<float> normal;
    const auto count = static_cast<std::size_t>(batch * heads * length * head_dim);
    for (std::vector<float>* each : {&q_data, &k_data, &v_data, &out_data}) {
      each->resize(count);
      for (float& x : *each) x = normal(generator);
    }
    const std::array<index_t, 4> shape{batch, heads, length, head_dim};
    q = {q_data.data(), shape};
    k = {k_data.data(), shape};
    v = {v_data.data(), shape};
    out = {out_data.data(), shape};
    const auto rows = [&](std::vector<float>& of) {
      of.resize(static_cast<std::size_t>(batch * heads * length));
      return view<float, 3>(of.data(), {batch, heads, length});
    };
    statistics = {rows(row_data[0]), rows(row_data[1]), rows(row_data[2]), rows(row_data[3]),
                  rows(row_data[4])};
  }

  /// Fills `out` with NaN, so that an element that a call does not write cannot pass for its
  /// result.
  void forget_outputs() {
    std::fill(out_data.begin(), out_data.end(), std::numeric_limits<float>::quiet_NaN());
  }

  std::vector<float> q_data, k_data, v_data, out_data;
  view<const float, 4> q, k, v;
  view<float, 4> out;
  std::array<std::vector<float>, 5> row_data;
  row_statistics statistics;
};

}  // namespace relpos::bench
