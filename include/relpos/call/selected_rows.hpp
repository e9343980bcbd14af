#pragma once
// Selected keys (contract/selection.hpp) as the kernels read them: decode goes through the rows of
// a query's list, prefill takes the lists of its queries as a mask.

#include <tuple>
#include <type_traits>
#include <utility>

#include "relpos/call/row_positions.hpp"
#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// The key rows of a query's list. Place i of the list is the i-th selected key.
struct selected_rows {
  key_selection keys;
  index_t key_offset = 0;

  constexpr index_t row(index_t place) const { return keys.position(place) - key_offset; }
  /// The places of the selected keys among `rows`.
  constexpr key_range places(const key_range& rows) const {
    return {keys.count_before(rows.first + key_offset), keys.count_before(rows.last + key_offset)};
  }
  /// The hull of the rows at `places`, which are not empty.
  constexpr key_range hull(const key_range& places) const {
    return {row(places.first), row(places.last - 1) + 1};
  }
};

/// Positions of rows, where keys are counted by their places in a list.
template <class RowPositions>
struct selected_positions {
  static constexpr bool are_implicit = false;
  RowPositions rows;
  selected_rows selected;

  constexpr index_t query(index_t row) const { return rows.query(row); }
  constexpr index_t key(index_t place) const { return rows.key(key_row(place)); }
  constexpr index_t key_row(index_t place) const { return selected.row(place); }
};

/// The lists of one key head as a mask. It remembers for each of several queries where the last
/// search ended: kernels ask for one key after another.
template <class Policy>
class selection_mask {
 public:
  selection_mask(const Policy& policy, index_t batch, index_t key_head, index_t query_offset)
      : policy_(policy), batch_(batch), key_head_(key_head), query_offset_(query_offset) {}

  bool keep(index_t q_pos, index_t k_pos) const {
    return selection(q_pos).contains(k_pos, found(q_pos));
  }
  tile_class classify(const tile& region) const {
    bool keeps_some = false;
    bool keeps_all = true;
    for (index_t q_pos = region.first_query; q_pos < region.last_query; ++q_pos) {
      const key_selection keys = selection(q_pos);
      const index_t first = keys.count_before(region.first_key, found(q_pos));
      const index_t count = keys.count_before(region.last_key, found(q_pos)) - first;
      keeps_some = keeps_some || count > 0;
      keeps_all = keeps_all && count == region.last_key - region.first_key;
    }
    return !keeps_some ? tile_class::skip : keeps_all ? tile_class::full : tile_class::partial;
  }

 private:
  static constexpr index_t remembered = 64;

  key_selection selection(index_t q_pos) const {
    return policy_.selection(batch_, key_head_, q_pos - query_offset_);
  }
  index_t& found(index_t q_pos) const { return found_[(q_pos - query_offset_) % remembered]; }

  Policy policy_;
  index_t batch_;
  index_t key_head_;
  index_t query_offset_;
  mutable index_t found_[remembered] = {};
};

/// The selection of a call as a tuple of one mask; an empty tuple if no policy selects keys.
template <class... Policies>
auto selection_masks(const std::tuple<Policies...>& policies, index_t batch, index_t key_head,
                     index_t query_offset) {
  const auto mask_of = [&]<class Policy>(const Policy& policy) {
    if constexpr (selects_keys<Policy>) {
      return std::tuple<selection_mask<Policy>>(
          selection_mask<Policy>(policy, batch, key_head, query_offset));
    } else {
      return std::tuple<>();
    }
  };
  return std::apply([&](const auto&... policy) { return std::tuple_cat(mask_of(policy)...); },
                    policies);
}

template <class Policies>
using selection_masks_of =
    decltype(selection_masks(std::declval<const Policies&>(), index_t{}, index_t{}, index_t{}));

/// Calls `use` with the policy that selects keys, if there is one.
template <class... Policies, class Use>
constexpr void with_selection(const std::tuple<Policies...>& policies, const Use& use) {
  const auto ask = [&](const auto& policy) {
    if constexpr (selects_keys<std::decay_t<decltype(policy)>>) use(policy);
  };
  std::apply([&](const auto&... policy) { (ask(policy), ...); }, policies);
}

}  // namespace relpos::inline RELPOS_ABI
