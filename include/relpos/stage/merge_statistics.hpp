#pragma once
// The statistics of a row over two disjoint sets of keys, computed from the statistics over each
// set. With w_a and w_b the sums of exponentials of the sets over the sum of both, and m_a and m_b
// the probability of all keys of a set, which is less than 1 beside a sink:
//
//   max p    = max(w_a max p_a, w_b max p_b)
//   entropy  = w_a (H_a - m_a ln w_a) + w_b (H_b - m_b ln w_b)
//   mean     = m_a + (m_b - m_a) n_b / n
//   variance = (n_a v_a + n_b v_b) / n + (m_b - m_a)^2 n_a n_b / n^2
//
// (Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
// Variances", 1979.)

#include <cmath>
#include <cstddef>
#include <optional>

#include "relpos/call/row_statistics.hpp"

namespace relpos::inline RELPOS_ABI {

/// Copies the statistics of a row from `source` to `destination`, which has no keys yet: its
/// contents have no meaning.
inline void copy_row_statistics(const row_statistics& destination, const row_statistics& source,
                                index_t batch, index_t head, index_t row) {
  const auto destinations = destination.all();
  const auto sources = source.all();
  for (std::size_t i = 0; i < destinations.size(); ++i) {
    if (!destinations[i].rows) continue;
    destinations[i].rows_or_none()(batch, head, row) = sources[i].rows_or_none()(batch, head, row);
  }
}

/// The share that a set of keys has of the sum of exponentials of both sets (w), and its keys of
/// its own (m).
struct set_share {
  float share;
  float mass;

  float entropy(float of_set) const {
    return share > 0.0f ? share * (of_set - mass * std::log(share)) : 0.0f;
  }
};

/// Merges the statistics of a row from `source` into `destination`; neither is empty. `first` is
/// the share of `destination`. Must run before lse is merged.
inline void merge_row_statistics(const row_statistics& destination, const row_statistics& source,
                                 const set_share& first, const set_share& second, index_t batch,
                                 index_t head, index_t row) {
  const auto element = [&](const std::optional<view<float, 3>>& rows) -> float& {
    return (*rows)(batch, head, row);
  };
  if (destination.max_probability) {
    float& merged = element(destination.max_probability);
    merged = std::fmax(first.share * merged, second.share * element(source.max_probability));
  }
  if (destination.entropy) {
    float& merged = element(destination.entropy);
    merged = first.entropy(merged) + second.entropy(element(source.entropy));
  }
  if (!destination.logit_count) return;
  const float added = element(source.logit_count);
  const float count = element(destination.logit_count) + added;
  element(destination.logit_count) = count;
  if (!destination.logit_mean || count == 0.0f) return;
  const float part = added / count;
  const float difference = element(source.logit_mean) - element(destination.logit_mean);
  element(destination.logit_mean) += difference * part;
  if (!destination.logit_variance) return;
  float& variance = element(destination.logit_variance);
  variance = (1.0f - part) * variance + part * element(source.logit_variance) +
             difference * difference * part * (1.0f - part);
}

}  // namespace relpos::inline RELPOS_ABI
