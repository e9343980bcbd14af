#pragma once
// The positions of the rows of a call, as encodings read them: implicit (row + offset) or explicit
// (a number per token from a policy). Masks always use row + offset.

#include <algorithm>
#include <tuple>
#include <utility>

#include "relpos/contract/policy.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"

namespace relpos::inline RELPOS_ABI {

/// Positions row + offset, on every axis.
struct implicit_positions {
  static constexpr bool are_implicit = true;
  positions offset;

  constexpr index_t query(index_t row, index_t = 0) const { return row + offset.query_offset; }
  constexpr index_t key(index_t row, index_t = 0) const { return row + offset.key_offset; }
  static constexpr index_t key_row(index_t row) { return row; }
};

/// The positions of one batch entry, from a policy with query_position and key_position.
template <class Policy>
struct explicit_positions {
  static constexpr bool are_implicit = false;
  Policy policy;
  index_t batch;
  index_t axis = 0;  // where none is named

  constexpr index_t query(index_t row) const { return query(row, axis); }
  constexpr index_t query(index_t row, index_t of_axis) const {
    return policy.query_position(batch, row, of_axis);
  }
  constexpr index_t key(index_t row) const { return key(row, axis); }
  constexpr index_t key(index_t row, index_t of_axis) const {
    return policy.key_position(batch, row, of_axis);
  }
  static constexpr index_t key_row(index_t row) { return row; }
};

/// The number of distances for which a call with explicit positions has room in a table: as many as
/// its rows could have by themselves, and never fewer than the coordinates of a page need.
constexpr index_t explicit_distances(const attention_shape& shape) {
  constexpr index_t least = 4096;
  return std::max(shape.query_length + shape.key_length - 1, least);
}

template <class... Policies>
inline constexpr bool any_explicit_positions = (places_tokens<Policies> || ... || false);

/// The positions of one batch entry of a call: explicit if a policy has them, else implicit.
template <class... Policies>
constexpr auto row_positions(const std::tuple<Policies...>& policies, const positions& offset,
                             index_t batch) {
  if constexpr (any_explicit_positions<Policies...>) {
    const auto find = [&]<class First, class... Rest>(const auto& self, const First& first,
                                                      const Rest&... rest) {
      if constexpr (places_tokens<First>) {
        return explicit_positions<First>{first, batch};
      } else {
        return self(self, rest...);
      }
    };
    return std::apply([&](const auto&... policy) { return find(find, policy...); }, policies);
  } else {
    return implicit_positions{offset};
  }
}

/// The positions that a bias reads: on its axis, if it has one.
template <class Policy, class RowPositions>
constexpr RowPositions positions_for([[maybe_unused]] const Policy& policy, RowPositions rows) {
  if constexpr (reads_axis<Policy>) {
    if constexpr (requires { rows.axis; }) {
      rows.axis = policy.axis();
    } else if constexpr (requires { rows.rows; }) {  // of selected keys
      rows.rows = positions_for(policy, rows.rows);
    }
  }
  return rows;
}

/// The result type of row_positions for the policies of a call.
template <class Policies>
using row_positions_of =
    decltype(row_positions(std::declval<const Policies&>(), positions{}, index_t{}));

/// The hull of the distances k_pos - q_pos between query rows [first_query, last_query) and key
/// rows [first_key, last_key).
template <class RowPositions>
constexpr distance_range distances_between(const RowPositions& rows, index_t first_query,
                                           index_t last_query, index_t first_key,
                                           index_t last_key) {
  if (last_query <= first_query || last_key <= first_key) return {};
  if constexpr (RowPositions::are_implicit) {
    return {rows.key(first_key) - rows.query(last_query - 1),
            rows.key(last_key - 1) - rows.query(first_query)};
  } else {
    index_t least_query = rows.query(first_query);
    index_t largest_query = least_query;
    for (index_t row = first_query + 1; row < last_query; ++row) {
      least_query = std::min(least_query, rows.query(row));
      largest_query = std::max(largest_query, rows.query(row));
    }
    index_t least_key = rows.key(first_key);
    index_t largest_key = least_key;
    for (index_t row = first_key + 1; row < last_key; ++row) {
      least_key = std::min(least_key, rows.key(row));
      largest_key = std::max(largest_key, rows.key(row));
    }
    return {least_key - largest_query, largest_key - least_query};
  }
}

/// The hull of the distances between any query and any key of a call, as `bias` reads them.
template <class Bias, class... Policies>
constexpr distance_range all_distances(const Bias& bias, const std::tuple<Policies...>& policies,
                                       const attention_shape& shape, const positions& offset) {
  distance_range result;
  for (index_t batch = 0; batch < shape.batch; ++batch) {
    const auto rows = positions_for(bias, row_positions(policies, offset, batch));
    result = hull(result, distances_between(rows, 0, shape.query_length, 0, shape.key_length));
  }
  return result;
}

}  // namespace relpos::inline RELPOS_ABI
