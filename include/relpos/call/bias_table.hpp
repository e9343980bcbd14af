#pragma once
// The bias of one head over distance, as the score kernel reads it: entry i holds the bias of
// distance -(first + i), so that consecutive queries of one key are consecutive floats.
//
// Only distances that some query sees are asked of the policy, and where it says that its bias is
// constant on either side of a range, only that range: memory is O(length), or O(1) where it
// saturates. A group's width of edge values on both ends lets every vector load end inside.

#include <algorithm>

#include "relpos/call/row_positions.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/position.hpp"

namespace relpos::inline RELPOS_ABI {

struct bias_table {
  const float* data = nullptr;
  index_t first = 0;  // of q_pos - k_pos, padding included
  index_t last = 0;

  /// The biases of queries q_pos, q_pos + 1, ... for one key; anything beyond the ends is constant.
  RELPOS_INLINE const float* at(index_t q_minus_k, index_t width) const {
    return data + (std::clamp(q_minus_k, first, last + 1 - width) - first);
  }
  RELPOS_INLINE constexpr float of(index_t q_minus_k) const {
    return data[std::clamp(q_minus_k, first, last) - first];
  }
};

/// Entries that a head's table can take where `distances` are seen.
template <class Policy>
constexpr index_t bias_table_capacity(const Policy& policy, index_t distances, index_t width) {
  return std::min(varying_distances(policy).size(), distances) + 2 + 2 * width;
}

/// Tabulates one head over the `visible` distances into `data`.
template <class Policy>
bias_table fill_bias_table(const Policy& policy, index_t head, distance_range visible,
                           index_t width, float* data) {
  if (visible.empty()) {  // no row sees a key: nothing reads what lanes may load
    std::fill(data, data + 2 * width + 1, 0.0f);
    return {data, -width, width};
  }
  const distance_range varying = varying_distances(policy);
  // One entry past the varying range stands for all that is beyond.
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

}  // namespace relpos::inline RELPOS_ABI
