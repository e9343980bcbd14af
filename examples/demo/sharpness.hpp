#pragma once
// The sharpness that attention loses over more positions than it was trained on, and the
// temperatures that restore it.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include "text.hpp"

namespace demo {

struct sharp {
  double entropy;          // mean over heads and rows that see at least half of what any sees
  double max_probability;  // geometric mean over the same
  double resolution;       // of the expected score at each distance, mean over heads
};

inline void require(const status& done) {
  if (!done) throw std::runtime_error(done.message);
}

template <class... Policies>
double mean_over_rows(sharpness what, const projections& in, const Policies&... policies) {
  double mean = 0.0;
  require(measure_sharpness(serial{}, what, {&mean, 1}, view_of(in.q), view_of(in.k), policies...));
  return what == sharpness::entropy ? mean : std::exp(mean);
}

/// The resolution of the mean score of a query and the key at each distance before it, in a text of
/// equal bytes. LeX calls this mean the expectation of a score. The score is computed as the lse of
/// attention over one key.
template <class... Policies>
double mean_resolution(const std::string& text, input kind, const Policies&... policies) {
  constexpr std::size_t samples = 8;
  const auto length = static_cast<index_t>(text.size());
  const std::size_t count = std::min(samples, text.size());
  std::vector<std::vector<double>> means(heads);  // [head][distance]
  for (std::size_t sample = 0; sample < count; ++sample) {
    const projections same = project(std::string(text.size(), text[sample]), kind);
    const auto rows = view_of(same.q);
    const auto query = rows.slice(2, length - 1, 1);
    const view<const float, 4> no_value(nullptr, {1, heads, 1, 0});
    const view<float, 4> no_out(nullptr, {1, heads, 1, 0});
    std::vector<float> scores(heads);
    const view<float, 3> lse(scores.data(), {1, heads, 1});
    std::vector<std::byte> memory(workspace_bytes(serial{}, query, query, no_value, policies...));
    for (index_t distance = 0; distance < length; ++distance) {
      const index_t at = length - 1 - distance;
      require(attention(serial{}, memory, no_out, query, rows.slice(2, at, 1), no_value,
                        policies...,
                        options{.lse = lse, .query_offset = length - 1, .key_offset = at}));
      if (!std::isfinite(scores[0])) break;  // further than the mask lets it see
      for (std::size_t h = 0; h < heads; ++h) {
        if (sample == 0) means[h].push_back(0.0);
        means[h][static_cast<std::size_t>(distance)] += scores[h] / static_cast<double>(count);
      }
    }
  }
  double result = 0.0;
  for (const std::vector<double>& of_head : means) {
    result += attention_resolution(of_head) / heads;
  }
  return result;
}

template <class... Policies>
sharp look_at(const std::string& text, input kind, const Policies&... policies) {
  const projections in = project(text, kind);
  return {mean_over_rows(sharpness::entropy, in, policies...),
          mean_over_rows(sharpness::max_probability, in, policies...),
          mean_resolution(text, kind, policies...)};
}

/// The temperature, one for all heads, at which attention has the sharpness `target`.
template <class... Policies>
float temperature_for(sharpness what, double target, const projections& in,
                      const Policies&... policies) {
  const double mean = what == sharpness::entropy ? target : std::log(target);
  float result = 1.0f;
  require(align_temperatures(serial{}, what, {&mean, 1}, {&result, 1}, view_of(in.q), view_of(in.k),
                             policies...));
  return result;
}

}  // namespace demo
