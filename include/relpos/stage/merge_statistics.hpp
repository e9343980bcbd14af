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

/// Copies the statistics of a row from `from` to `into`, which has no keys yet: its contents have
/// no meaning.
inline void copy_row_statistics(const row_statistics& into, const row_statistics& from,
                                index_t batch, index_t head, index_t row) {
  const auto to = into.all();
  const auto of = from.all();
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (to[i].rows) to[i].rows_or_none()(batch, head, row) = of[i].rows_or_none()(batch, head, row);
  }
}

/// Merges the statistics of a row from `from` into `into`; neither is empty. `share` is w, with
/// `into` as the first set. Must run before lse is merged.
inline void merge_row_statistics(const row_statistics& into, const row_statistics& from,
                                 float share, index_t batch, index_t head, index_t row) {
  const auto at = [&](const std::optional<view<float, 3>>& rows) -> float& {
    return (*rows)(batch, head, row);
  };
  const float rest = 1.0f - share;
  if (into.max_probability) {
    float& merged = at(into.max_probability);
    merged = std::fmax(share * merged, rest * at(from.max_probability));
  }
  if (into.entropy) {
    const auto of_choice = [](float p) { return p > 0.0f ? -p * std::log(p) : 0.0f; };
    float& merged = at(into.entropy);
    merged = share * merged + rest * at(from.entropy) + of_choice(share) + of_choice(rest);
  }
  if (!into.logit_count) return;
  const float first = at(into.logit_count);
  const float second = at(from.logit_count);
  const float both = first + second;
  at(into.logit_count) = both;
  if (!into.logit_mean || both == 0.0f) return;
  const float part = second / both;
  const float apart = at(from.logit_mean) - at(into.logit_mean);
  at(into.logit_mean) += apart * part;
  if (!into.logit_variance) return;
  float& variance = at(into.logit_variance);
  variance = (1.0f - part) * variance + part * at(from.logit_variance) +
             apart * apart * part * (1.0f - part);
}

}  // namespace relpos::inline RELPOS_ABI
