#pragma once
// Attention once more, from the page: plain loops over plain functions of positions, in the arithmetic
// `Real`. It includes no policy and no kernel, so that what it expects of a policy comes from elsewhere.

#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "support/closeness.hpp"
#include "support/random_tensors.hpp"

namespace support {

/// What a call means. Absent functions mean no bias and every key visible.
struct meaning {
  std::function<double(index head, index distance)> bias{};
  std::function<double(index batch, index head, index query_row, index key_row)> element_bias{};
  std::function<bool(index head, index q_pos, index k_pos)> visible{};
  std::optional<double> scale{};  // 1 / sqrt(head_dim)
  double softcap = 0.0;
  double temperature = 1.0;
  std::optional<index> query_offset{};  // queries are the last rows
  index key_offset = 0;
};

template <class Real>
struct naive_result {
  std::vector<Real> out;  // [batch, head, query, channel]
  std::vector<Real> lse;  // [batch, head, query]
};

template <class Real, class T>
naive_result<Real> naive_attention(const inputs<T>& in, const meaning& means) {
  const auto [batch, heads, queries, head_dim] = in.q.shape;
  const index keys = in.k.shape[2];
  const index value_dim = in.v.shape[3];
  const index queries_per_key_head = heads == 0 ? 1 : heads / in.k.shape[1];
  const index query_offset = means.query_offset.value_or(means.key_offset + keys - queries);
  const Real scale =
      static_cast<Real>(means.scale.value_or(1.0 / std::sqrt(static_cast<double>(head_dim))));
  const auto softcap = static_cast<Real>(means.softcap);
  const auto real = [](T x) { return static_cast<Real>(static_cast<float>(x)); };

  naive_result<Real> result;
  std::vector<Real> scores(static_cast<std::size_t>(keys));
  for (index b = 0; b < batch; ++b) {
    for (index h = 0; h < heads; ++h) {
      const index kh = h / queries_per_key_head;
      for (index row = 0; row < queries; ++row) {
        const index q_pos = row + query_offset;
        Real largest = -std::numeric_limits<Real>::infinity();
        std::vector<bool> sees(static_cast<std::size_t>(keys));
        for (index key = 0; key < keys; ++key) {
          const index k_pos = key + means.key_offset;
          const auto at = static_cast<std::size_t>(key);
          sees[at] = !means.visible || means.visible(h, q_pos, k_pos);
          if (!sees[at]) continue;
          Real s = 0;
          for (index c = 0; c < head_dim; ++c)
            s += real(in.q(b, h, row, c)) * real(in.k(b, kh, key, c));
          s *= scale;
          if (softcap > 0) s = softcap * std::tanh(s / softcap);
          if (means.bias) s += static_cast<Real>(means.bias(h, k_pos - q_pos));
          if (means.element_bias) s += static_cast<Real>(means.element_bias(b, h, row, key));
          scores[at] = s / static_cast<Real>(means.temperature);
          if (scores[at] > largest) largest = scores[at];
        }

        Real sum = 0;
        std::vector<Real> out(static_cast<std::size_t>(value_dim));
        for (index key = 0; key < keys && largest > -std::numeric_limits<Real>::infinity(); ++key) {
          const auto at = static_cast<std::size_t>(key);
          if (!sees[at]) continue;
          const Real weight = std::exp(scores[at] - largest);
          sum += weight;
          for (index c = 0; c < value_dim; ++c) {
            out[static_cast<std::size_t>(c)] += weight * real(in.v(b, kh, key, c));
          }
        }
        for (const Real value : out) result.out.push_back(sum > 0 ? value / sum : Real(0));
        result.lse.push_back(sum > 0 ? largest + std::log(sum) : largest);
      }
    }
  }
  return result;
}

/// `got` (of attend) means that.
template <class Attended, class T>
void expect_means(const Attended& got, const inputs<T>& in, const meaning& means) {
  const naive_result<double> exact = naive_attention<double>(in, means);
  const naive_result<float> yardstick = naive_attention<float>(in, means);
  expect_close(got.out.values, exact.out, float_tolerance(exact.out, yardstick.out), "out");
  expect_close(got.lse.values, exact.lse, float_tolerance(exact.lse, yardstick.lse, true), "lse");
}

}  // namespace support
