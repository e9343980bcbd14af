#pragma once
// Relative biases of the literature that need no policies of their own, because each is a function
// of (head, distance) for relpos::relative_bias: tabulated once per call, at full speed in the
// loop. The caller keeps the parameters alive. distance = k_pos - q_pos.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include <relpos/views.hpp>

namespace examples {

using namespace relpos;

/// KERPLE, logarithmic: -r1 ln(1 + r2 |distance|), r1, r2 > 0 per head (Chi et al., arXiv
/// 2205.09921, eq. 4).
inline auto kerple_log(std::span<const float> r1, std::span<const float> r2) {
  return relative_bias{[=](index_t head, index_t distance) {
    const auto h = static_cast<std::size_t>(head);
    const double away = std::abs(static_cast<double>(distance));
    return -static_cast<double>(r1[h]) * std::log1p(static_cast<double>(r2[h]) * away);
  }};
}

/// KERPLE, power: -r1 |distance|^r2, r1 > 0 and 0 < r2 <= 2 per head (same paper, eq. 3).
inline auto kerple_power(std::span<const float> r1, std::span<const float> r2) {
  return relative_bias{[=](index_t head, index_t distance) {
    const auto h = static_cast<std::size_t>(head);
    const double away = std::abs(static_cast<double>(distance));
    return -static_cast<double>(r1[h]) * std::pow(away, static_cast<double>(r2[h]));
  }};
}

/// Sandwich: inner products of sinusoidal embeddings of `dim` channels, 0 at distance 0, divided by
/// a ratio per head, 8 (head + 1) / heads (Chi, Fan, Rudnicky, Ramadge, arXiv 2212.10356, section
/// 5).
inline auto sandwich(index_t heads, index_t dim = 128) {
  return relative_bias{[=](index_t head, index_t distance) {
    double product = 0.0;
    for (index_t j = 1; j <= dim / 2; ++j) {
      const double exponent = 2.0 * static_cast<double>(j) / static_cast<double>(dim);
      product += std::cos(static_cast<double>(distance) * std::pow(10000.0, -exponent)) - 1.0;
    }
    return product * static_cast<double>(heads) / (8.0 * static_cast<double>(head + 1));
  }};
}

/// FIRE (Li et al., arXiv 2310.04418, eq. 6) where no query is beyond `length`: a network of one
/// hidden layer of ReLU over ln(c |distance| + 1) / ln(c length + 1). `in` is [hidden][weight,
/// bias], `out` is [heads][hidden].
inline auto fire(std::span<const float> in, std::span<const float> out, double c, index_t length) {
  return relative_bias{[=](index_t head, index_t distance) {
    const double away = std::abs(static_cast<double>(distance));
    const double x = std::log1p(c * away) / std::log1p(c * static_cast<double>(length));
    const std::size_t hidden = in.size() / 2;
    double bias = 0.0;
    for (std::size_t i = 0; i < hidden; ++i) {
      const double unit = static_cast<double>(in[2 * i]) * x + static_cast<double>(in[2 * i + 1]);
      bias += static_cast<double>(out[static_cast<std::size_t>(head) * hidden + i]) *
              std::max(unit, 0.0);
    }
    return bias;
  }};
}

/// MPNet (Song et al., arXiv 2004.09297): the buckets of T5, [32, heads]. Scores are divided by
/// sqrt(head_dim), which they are not with t5_bias.
inline auto mpnet(std::span<const float> table) {
  const t5_buckets buckets{32, 128, bidirectional};
  return relative_bias{[=](index_t head, index_t distance) {
    const index_t heads = static_cast<index_t>(table.size()) / buckets.num_buckets;
    return table[static_cast<std::size_t>(buckets.bucket(distance) * heads + head)];
  }};
}

/// WavLM (Chen et al., arXiv 2110.13900): 320 buckets of T5 up to 800 positions, times a gate of
/// each query row, [batch, heads, query], that the model computes from the query.
inline auto wavlm(view<const float, 3> gates, const borrowed_data& table) {
  return gated_bias{gates,
                    t5_bias{table, bidirectional, {.num_buckets = 320, .max_distance = 800}}};
}

}  // namespace examples
