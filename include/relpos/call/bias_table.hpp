#pragma once
// The bias of one head over distance, as the score kernel reads it: entry i holds the bias of
// distance -(first + i), so that consecutive queries of one key are consecutive floats.
//
// The policy is evaluated only at distances that some query sees, and, if its bias is constant on
// either side of a range (`varies`), only in that range and at one distance beyond each end. Memory
// is O(length), or O(1) if the bias saturates. Both ends are padded with edge values, one group
// wide, so that every vector load ends inside the table.

#include <algorithm>
#include <tuple>

#include "relpos/call/row_positions.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/position.hpp"

namespace relpos::inline RELPOS_ABI {

struct bias_table {
  const float* data = nullptr;
  index_t first = 0;  // of q_pos - k_pos, padding included
  index_t last = 0;
  index_t terms = 1;  // tables of the same distances, one after another

  constexpr index_t size() const { return last - first + 1; }
  constexpr bias_table of_term(index_t term) const {
    return {data + term * size(), first, last, 1};
  }

  /// The biases of queries q_pos, q_pos + 1, ... for one key: `width` floats. Beyond both ends
  /// of the table the bias is constant.
  RELPOS_INLINE const float* at(index_t q_minus_k, index_t width) const {
    return data + (std::clamp(q_minus_k, first, last + 1 - width) - first);
  }
  RELPOS_INLINE constexpr float of(index_t q_minus_k) const {
    return data[std::clamp(q_minus_k, first, last) - first];
  }
};

/// The largest number of entries of a head's tables if `distances` distances are seen.
template <class Policy>
constexpr index_t bias_table_capacity(const Policy& policy, index_t distances, index_t width) {
  const index_t entries = std::min(varying_distances(policy).size(), distances) + 2 + 2 * width;
  return table_terms(policy) * entries;
}

/// One term of a mixed bias, as a tabulated bias.
template <class Policy>
struct bias_term {
  const Policy& policy;
  index_t term;

  double tabulated_bias(index_t head, index_t distance) const {
    return static_cast<double>(policy.tabulated_term(head, term, distance));
  }
  constexpr distance_range varies() const { return varying_distances(policy); }
};

/// The number of terms of all mixed biases among the first `count` policies.
template <class... Policies>
constexpr index_t mixed_terms(const std::tuple<Policies...>& policies,
                              std::size_t count = sizeof...(Policies)) {
  index_t terms = 0;
  std::size_t i = 0;
  [[maybe_unused]] const auto add = [&]<class Policy>(const Policy& policy) {
    if constexpr (mixes_bias<Policy>) terms += i < count ? policy.terms() : 0;
    ++i;
  };
  std::apply([&](const auto&... policy) { (add(policy), ...); }, policies);
  return terms;
}

/// Tabulates one table of one head over the `visible` distances into `data`.
template <class Policy>
bias_table fill_term_table(const Policy& policy, index_t head, distance_range visible,
                           index_t width, float* data) {
  if (visible.empty()) {  // no row sees a key: lanes may load these, nothing uses them
    std::fill(data, data + 2 * width + 1, 0.0f);
    return {data, -width, width};
  }
  const distance_range varying = varying_distances(policy);
  // One entry past each end of the varying range stands for all distances beyond it.
  const index_t first = std::clamp(varying.first - 1, visible.first, visible.last);
  const index_t last = std::clamp(varying.last + 1, visible.first, visible.last);

  const bias_table table{data, -last - width, -first + width};
  const auto value = [&](index_t distance) {
    return static_cast<float>(policy.tabulated_bias(head, distance));
  };
  index_t i = 0;
  for (const float edge = value(last); i < width; ++i) data[i] = edge;
  for (index_t distance = last; distance >= first; --distance) data[i++] = value(distance);
  for (const float edge = data[i - 1]; i <= table.last - table.first; ++i) data[i] = edge;
  return table;
}

/// Tabulates one head over the `visible` distances into `data`.
template <class Policy>
bias_table fill_bias_table(const Policy& policy, index_t head, distance_range visible,
                           index_t width, float* data) {
  if constexpr (mixes_bias<Policy>) {
    bias_table table;
    for (index_t term = 0; term < policy.terms(); ++term) {
      table = fill_term_table(bias_term<Policy>{policy, term}, head, visible, width,
                              data + term * table.size());
    }
    table.data = data;
    table.terms = policy.terms();
    return table;
  } else {
    return fill_term_table(policy, head, visible, width, data);
  }
}

}  // namespace relpos::inline RELPOS_ABI
