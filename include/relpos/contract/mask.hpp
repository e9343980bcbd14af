#pragma once
// What a bound mask of either kind, a range of keys per query or a question per element, says of
// one score and of a whole tile; and what two such answers make together.

#include <tuple>
#include <utility>

#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// Whether the query sees the key; true for a policy that is no mask.
template <class HeadPolicy>
constexpr bool sees(const HeadPolicy& mask, index_t q_pos, index_t k_pos) {
  bool result = true;
  if constexpr (masks_range<HeadPolicy>) result = mask.visible_keys(q_pos).contains(k_pos);
  if constexpr (masks_elements<HeadPolicy>) result = result && mask.keep(q_pos, k_pos);
  return result;
}

/// The first key that a mask may show the query; none before everything.
template <class HeadPolicy>
constexpr index_t first_seen(const HeadPolicy& mask, index_t q_pos) {
  if constexpr (slides_window<HeadPolicy>) {
    return mask.window_start(q_pos);
  } else if constexpr (masks_range<HeadPolicy>) {
    return mask.visible_keys(q_pos).first;
  } else {
    return key_range::everything().first;
  }
}

/// A tile of two masks that must both let a query see a key.
constexpr tile_class both_of(tile_class a, tile_class b) {
  if (a == tile_class::skip || b == tile_class::skip) return tile_class::skip;
  const bool full = a == tile_class::full && b == tile_class::full;
  return full ? tile_class::full : tile_class::partial;
}

/// A tile of two masks of which one is enough.
constexpr tile_class either_of(tile_class a, tile_class b) {
  if (a == tile_class::full || b == tile_class::full) return tile_class::full;
  const bool skip = a == tile_class::skip && b == tile_class::skip;
  return skip ? tile_class::skip : tile_class::partial;
}

/// What `keep` says of a tile: partial, unless the mask knows better.
template <class HeadPolicy>
constexpr tile_class classify_elements(const HeadPolicy& mask, const tile& of) {
  if constexpr (!masks_elements<HeadPolicy>) {
    return tile_class::full;
  } else if constexpr (requires { mask.classify(of); }) {
    return mask.classify(of);
  } else {
    return tile_class::partial;
  }
}

/// What `visible_keys` says of a tile.
template <class HeadPolicy>
constexpr tile_class classify_ranges(const HeadPolicy& mask, const tile& of) {
  if constexpr (!masks_range<HeadPolicy>) {
    return tile_class::full;
  } else {
    bool some = false;
    bool all = true;
    for (index_t q_pos = of.first_query; q_pos < of.last_query; ++q_pos) {
      const key_range keys = intersect(mask.visible_keys(q_pos), {of.first_key, of.last_key});
      some = some || keys.first < keys.last;
      all = all && keys == key_range{of.first_key, of.last_key};
    }
    return !some ? tile_class::skip : all ? tile_class::full : tile_class::partial;
  }
}

// The masks of a call that are no range of keys per query, and so are asked tile by tile and
// element by element. Kernels know a call's masks as ranges in numbers and as these.

/// Those of the bound policies that ask for elements, as a tuple.
template <class... HeadPolicies>
constexpr auto element_masks(const std::tuple<HeadPolicies...>& head_policies) {
  constexpr auto only_masks = []<class Each>(const Each& each) {
    if constexpr (masks_elements<Each>) {
      return std::tuple<Each>(each);
    } else {
      return std::tuple<>();
    }
  };
  return std::apply([&](const auto&... each) { return std::tuple_cat(only_masks(each)...); },
                    head_policies);
}

template <class BoundTuple>
using element_masks_of = decltype(element_masks(std::declval<const BoundTuple&>()));

/// What all of them say of a tile.
template <class... Masks>
constexpr tile_class classify_all(const std::tuple<Masks...>& masks, const tile& of) {
  tile_class result = tile_class::full;
  std::apply(
      [&](const auto&... each) { ((result = both_of(result, classify_elements(each, of))), ...); },
      masks);
  return result;
}

/// Whether all of them let the query see the key.
template <class... Masks>
constexpr bool all_keep(const std::tuple<Masks...>& masks, index_t q_pos, index_t k_pos) {
  return std::apply([&](const auto&... each) { return (each.keep(q_pos, k_pos) && ... && true); },
                    masks);
}

}  // namespace relpos::inline RELPOS_ABI
