#pragma once
// Attention once more, from the page: plain loops over plain functions of positions, in the
// arithmetic `Real`. It includes no policy and no kernel, so that what it expects of a policy comes
// from elsewhere.

#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "support/closeness.hpp"
#include "support/random_tensors.hpp"

namespace support {

/// Pair i of rotary_dim channels, from first_channel on, rotates by theta(i) radians with every
/// position, and a query grows by zeta(i), a key by its inverse.
struct rotary_meaning {
  index_t rotary_dim = 0;
  bool interleaved = false;
  double factor = 1.0;
  std::function<double(index_t pair)> theta{};
  std::function<double(index_t pair)> zeta = [](index_t) { return 1.0; };
  std::function<index_t(index_t pair)> axis = [](index_t) { return index_t{0}; };
  index_t first_channel = 0;
};

/// The position of a token on one axis.
using token_position = std::function<index_t(index_t batch, index_t row, index_t axis)>;

/// The meaning of a call. Absent functions mean no bias and every key visible.
struct meaning {
  std::function<double(index_t head, index_t distance)> bias{};
  std::function<double(index_t batch, index_t head, index_t query_row, index_t key_row)>
      element_bias{};
  std::function<bool(index_t head, index_t q_pos, index_t k_pos)> visible{};
  std::optional<rotary_meaning> rotation{};
  std::function<double(index_t head, index_t q_pos, index_t visible)> logit_factor{};
  std::function<double(index_t head)> sink{};
  std::function<double(index_t batch, index_t head, index_t query_row)> row_sink{};
  std::optional<double> scale{};  // 1 / sqrt(head_dim)
  double softcap = 0.0;
  double cap_after_bias = 0.0;
  double temperature = 1.0;
  std::optional<index_t> query_offset{};  // queries are the last rows
  index_t key_offset = 0;
  token_position query_position{};  // row + offset; the mask always gets these
  token_position key_position{};
  bool rounds_operands = false;  // of both products, to the type of the inputs
};

/// The statistics of each row of [batch, head, query].
template <class Real>
struct naive_statistics {
  std::vector<Real> max_probability, entropy, logit_count, logit_mean, logit_variance;

  /// From the logits and probabilities of a row's visible keys.
  void append(const std::vector<Real>& logits, const std::vector<Real>& probabilities) {
    Real largest = 0, disorder = 0, count = 0, sum = 0, squares = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const Real p = probabilities[i];
      if (p > largest) largest = p;
      if (p > 0) disorder -= p * std::log(p);
      if (logits[i] == -std::numeric_limits<Real>::infinity()) continue;
      count += 1;
      sum += logits[i];
    }
    const Real mean = count > 0 ? sum / count : 0;
    for (const Real logit : logits) {
      if (logit == -std::numeric_limits<Real>::infinity()) continue;
      squares += (logit - mean) * (logit - mean);
    }
    max_probability.push_back(largest);
    entropy.push_back(disorder);
    logit_count.push_back(count);
    logit_mean.push_back(mean);
    logit_variance.push_back(count > 0 ? squares / count : 0);
  }
};

template <class Real>
struct naive_result {
  std::vector<Real> out;  // [batch, head, query, channel]
  std::vector<Real> lse;  // [batch, head, query]
  naive_statistics<Real> statistics{};
};

/// One row at `position_of` an axis, rotated; `side` is 1 for a query and -1 for a key.
template <class Real, class PositionOf>
void rotate_naively(std::vector<Real>& row, const rotary_meaning& by, const PositionOf& position_of,
                    double side) {
  const index_t pairs = by.rotary_dim / 2;
  for (index_t i = 0; i < pairs; ++i) {
    const index_t place = by.first_channel + (by.interleaved ? 2 * i : i);
    const auto first = static_cast<std::size_t>(place);
    const auto second = static_cast<std::size_t>(place + (by.interleaved ? 1 : pairs));
    const auto steps = static_cast<long double>(position_of(by.axis(i)));
    const long double angle = steps * by.theta(i);
    const long double size = by.factor * std::pow(by.zeta(i), side * static_cast<double>(steps));
    const auto cosine = static_cast<Real>(size * std::cos(angle));
    const auto sine = static_cast<Real>(size * std::sin(angle));
    const Real a = row[first];
    const Real b = row[second];
    row[first] = a * cosine - b * sine;
    row[second] = a * sine + b * cosine;
  }
}

template <class Real, class T>
naive_result<Real> naive_attention(const inputs<T>& in, const meaning& means) {
  const auto [batch, heads, queries, head_dim] = in.q.shape;
  const index_t keys = in.k.shape[2];
  const index_t value_dim = in.v.shape[3];
  const index_t queries_per_key_head = heads == 0 ? 1 : heads / in.k.shape[1];
  const index_t query_offset = means.query_offset.value_or(means.key_offset + keys - queries);
  const Real scale =
      static_cast<Real>(means.scale.value_or(1.0 / std::sqrt(static_cast<double>(head_dim))));
  const auto softcap = static_cast<Real>(means.softcap);
  const auto real = [](T x) { return static_cast<Real>(static_cast<float>(x)); };
  const auto rounded = [&](Real x) {
    return means.rounds_operands ? real(T(static_cast<float>(x))) : x;
  };
  const auto place = [](const token_position& given, index_t offset) {
    return given ? given : [=](index_t, index_t row, index_t) { return row + offset; };
  };
  const token_position query_at = place(means.query_position, query_offset);
  const token_position key_at = place(means.key_position, means.key_offset);

  // A row of q or k, rotated. Positions are from the first query on: so the scales of XPOS stay
  // small.
  const auto rotated = [&](const auto& of, index_t b, index_t h, index_t row,
                           const token_position& at, double side) {
    std::vector<Real> result(static_cast<std::size_t>(of.shape[3]));
    for (index_t c = 0; c < of.shape[3]; ++c) {
      result[static_cast<std::size_t>(c)] = real(of(b, h, row, c));
    }
    if (means.rotation) {
      const auto from_first = [&](index_t axis) { return at(b, row, axis) - query_at(b, 0, axis); };
      rotate_naively(result, *means.rotation, from_first, side);
    }
    for (Real& x : result) x = rounded(x);
    return result;
  };

  naive_result<Real> result;
  std::vector<Real> scores(static_cast<std::size_t>(keys));
  for (index_t b = 0; b < batch; ++b) {
    for (index_t h = 0; h < heads; ++h) {
      const index_t kh = h / queries_per_key_head;
      std::vector<std::vector<Real>> rotated_keys;
      for (index_t key = 0; key < keys; ++key) {
        rotated_keys.push_back(rotated(in.k, b, kh, key, key_at, -1.0));
      }
      std::vector<Real> values;  // [key, channel]
      for (index_t i = 0; i < keys * value_dim; ++i) {
        values.push_back(real(in.v(b, kh, i / value_dim, i % value_dim)));
      }
      for (index_t row = 0; row < queries; ++row) {
        const index_t q_pos = row + query_offset;
        const Real nothing = -std::numeric_limits<Real>::infinity();
        const Real sink = means.sink       ? static_cast<Real>(means.sink(h))
                          : means.row_sink ? static_cast<Real>(means.row_sink(b, h, row))
                                           : nothing;
        Real largest = sink;
        std::vector<char> sees(static_cast<std::size_t>(keys));
        index_t visible = 0;
        for (index_t key = 0; key < keys; ++key) {
          const auto at = static_cast<std::size_t>(key);
          sees[at] = !means.visible || means.visible(h, q_pos, key + means.key_offset) ? 1 : 0;
          visible += sees[at];
        }
        const std::vector<Real> query = rotated(in.q, b, h, row, query_at, 1.0);
        for (index_t key = 0; key < keys; ++key) {
          const auto at = static_cast<std::size_t>(key);
          if (sees[at] == 0) continue;
          // Pointers: tests are compiled with little inlining.
          const Real* const query_row = query.data();
          const Real* const key_row = rotated_keys[at].data();
          Real s = 0;
          for (index_t c = 0; c < head_dim; ++c) s += query_row[c] * key_row[c];
          s *= scale;
          if (softcap > 0) s = softcap * std::tanh(s / softcap);
          if (means.bias)
            s += static_cast<Real>(means.bias(h, key_at(b, key, 0) - query_at(b, row, 0)));
          if (means.element_bias) s += static_cast<Real>(means.element_bias(b, h, row, key));
          if (means.cap_after_bias > 0.0 && s > nothing) {
            const auto cap = static_cast<Real>(means.cap_after_bias);
            s = cap * std::tanh(s / cap);
          }
          if (means.logit_factor) {
            s *= static_cast<Real>(means.logit_factor(h, query_at(b, row, 0), visible));
          }
          scores[at] = s / static_cast<Real>(means.temperature);
          if (scores[at] > largest) largest = scores[at];
        }

        Real sum = largest > nothing ? std::exp(sink - largest) : 0;
        std::vector<Real> out(static_cast<std::size_t>(value_dim));
        std::vector<Real> logits;
        std::vector<Real> probabilities;
        for (index_t key = 0; key < keys && largest > nothing; ++key) {
          const auto at = static_cast<std::size_t>(key);
          if (sees[at] == 0) continue;
          const Real weight = std::exp(scores[at] - largest);
          sum += weight;
          logits.push_back(scores[at]);
          probabilities.push_back(weight);
          const Real factor = rounded(weight);
          const Real* const value = values.data() + key * value_dim;
          Real* const sums = out.data();
          for (index_t c = 0; c < value_dim; ++c) sums[c] += factor * value[c];
        }
        for (const Real value : out) result.out.push_back(sum > 0 ? value / sum : Real(0));
        result.lse.push_back(sum > 0 ? largest + std::log(sum) : largest);
        for (Real& p : probabilities) p /= sum;
        result.statistics.append(logits, probabilities);
      }
    }
  }
  return result;
}

/// The results of a meaning, for any number of calls that have it.
struct meant_results {
  naive_result<double> exact;
  naive_result<float> yardstick;

  template <class T>
  meant_results(const inputs<T>& in, const meaning& means)
      : exact(naive_attention<double>(in, means)), yardstick(naive_attention<float>(in, means)) {}

  template <class Attended>
  void expect(const Attended& got) const {
    expect_close(got.out.values, exact.out, float_tolerance(exact.out, yardstick.out), "out");
    expect_close(got.lse.values, exact.lse, float_tolerance(exact.lse, yardstick.lse, true), "lse");
  }
};

/// `got` (of attend) means that.
template <class Attended, class T>
void expect_means(const Attended& got, const inputs<T>& in, const meaning& means) {
  meant_results(in, means).expect(got);
}

}  // namespace support
