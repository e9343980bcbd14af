#pragma once
// The key rows that range masks show to the queries of a call: to one query, to several that are
// computed together, and to all queries of a sequence.

#include <algorithm>
#include <tuple>
#include <type_traits>

#include "relpos/contract/policy.hpp"
#include "relpos/core/shape.hpp"

namespace relpos::inline RELPOS_ABI {

/// The key rows that one query sees, clipped to the keys that exist.
template <class... Policies>
constexpr key_range visible_key_rows(const std::tuple<Policies...>& head_policies, index_t q_pos,
                                     index_t key_offset, index_t key_length) {
  key_range range{key_offset, key_offset + key_length};
  const auto narrow = [&](const auto& mask) {
    if constexpr (masks_range<std::decay_t<decltype(mask)>>) {
      range = intersect(range, mask.visible_keys(q_pos));
    }
  };
  std::apply([&](const auto&... policy) { (narrow(policy), ...); }, head_policies);
  const index_t first = std::min(range.first - key_offset, key_length);
  return {first, std::max(first, range.last - key_offset)};
}

/// The hull of the distances k_pos - q_pos between the query rows of a call and the key rows in
/// `rows` that range masks show them.
template <class... Policies>
distance_range visible_distances(const std::tuple<Policies...>& head_policies,
                                 const attention_shape& shape, const positions& position,
                                 const key_range& rows) {
  distance_range range;
  for (index_t row = 0; row < shape.query_length; ++row) {
    const index_t q_pos = row + position.query_offset;
    const key_range keys = intersect(
        visible_key_rows(head_policies, q_pos, position.key_offset, shape.key_length), rows);
    if (keys.last <= keys.first) continue;
    const index_t shift = position.key_offset - q_pos;
    range = hull(range, {keys.first + shift, keys.last - 1 + shift});
  }
  return range;
}

/// Extremes over several queries. [some_first, some_last) is the hull of the rows that some query
/// sees; every query sees all rows [all_first, all_last).
struct visible_rows {
  index_t some_first = 0;
  index_t some_last = 0;
  index_t all_first = 0;
  index_t all_last = 0;

  static constexpr visible_rows of_none(index_t key_length) {
    return {key_length, 0, 0, key_length};
  }

  constexpr void add(const key_range& keys) {
    all_first = std::max(all_first, keys.first);
    all_last = std::min(all_last, keys.last);
    if (keys.last > keys.first) {
      some_first = std::min(some_first, keys.first);
      some_last = std::max(some_last, keys.last);
    }
  }

  /// Adds the rows of other queries.
  constexpr void add(const visible_rows& others) {
    some_first = std::min(some_first, others.some_first);
    some_last = std::max(some_last, others.some_last);
    all_first = std::max(all_first, others.all_first);
    all_last = std::min(all_last, others.all_last);
  }

  /// The class of key rows [first, last) for these queries.
  constexpr tile_class classify(index_t first, index_t last) const {
    const bool sees_none = some_last <= some_first;
    if (sees_none || last <= some_first || some_last <= first) return tile_class::skip;
    return all_first <= first && last <= all_last ? tile_class::full : tile_class::partial;
  }
};

/// The hull of the rows of a sequence that range masks show to any of its queries.
template <class... Policies>
key_range seen_rows(const std::tuple<Policies...>& policies, index_t sequence,
                    const attention_shape& shape, const positions& position) {
  constexpr bool differs_by_head =
      ((masks_range<head_policy_of<Policies>> && binds<Policies>) || ... || false);
  key_range seen{shape.key_length, 0};
  for (index_t head = 0; head < (differs_by_head ? shape.query_heads : 1); ++head) {
    const auto head_policies = bind_all(policies, sequence, head);
    for (index_t row = 0; row < shape.query_length; ++row) {
      const key_range keys = visible_key_rows(head_policies, row + position.query_offset,
                                              position.key_offset, shape.key_length);
      if (keys.first == keys.last) continue;
      seen = {std::min(seen.first, keys.first), std::max(seen.last, keys.last)};
    }
  }
  return seen;
}

}  // namespace relpos::inline RELPOS_ABI
