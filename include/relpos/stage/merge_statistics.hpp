#pragma once
// The statistics of a row over two disjoint sets of keys, computed from the statistics over each
// set. With w the first set's share of the sum of exponentials:
//
//   max p    = max(w max p_a, (1 - w) max p_b)
//   entropy  = w H_a + (1 - w) H_b - w ln w - (1 - w) ln(1 - w)
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

/// Merges the statistics of a row from `source` into `destination`; neither is empty. `share` is w,
/// with `destination` as the first set. Must run before lse is merged.
inline void merge_row_statistics(const row_statistics& destination, const row_statistics& source,
                                 float share, index_t batch, index_t head, index_t row) {
  const auto element = [&](const std::optional<view<float, 3>>& rows) -> float& {
    return (*rows)(batch, head, row);
  };
  const float rest = 1.0f - share;
  if (destination.max_probability) {
    float& merged = element(destination.max_probability);
    merged = std::fmax(share * merged, rest * element(source.max_probability));
  }
  if (destination.entropy) {
    const auto choice_entropy = [](float p) { return p > 0.0f ? -p * std::log(p) : 0.0f; };
    float& merged = element(destination.entropy);
    merged = share * merged + rest * element(source.entropy) + choice_entropy(share) +
             choice_entropy(rest);
  }
  if (!destination.logit_count) return;
  const float first = element(destination.logit_count);
  const float second = element(source.logit_count);
  const float count = first + second;
  element(destination.logit_count) = count;
  if (!destination.logit_mean || count == 0.0f) return;
  const float part = second / count;
  const float difference = element(source.logit_mean) - element(destination.logit_mean);
  element(destination.logit_mean) += difference * part;
  if (!destination.logit_variance) return;
  float& variance = element(destination.logit_variance);
  variance = (1.0f - part) * variance + part * element(source.logit_variance) +
             difference * difference * part * (1.0f - part);
}

}  // namespace relpos::inline RELPOS_ABI
