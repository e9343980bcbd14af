#pragma once
// The evaluation of bound masks for one score and for a whole tile, and the combination of two
// results. A mask is a range of keys per query, a predicate per element, or both.

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

/// The first key that a mask may show the query; `everything().first` if the mask sets no limit.
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

/// The class of a tile under two masks that must both show a key.
constexpr tile_class both_of(tile_class a, tile_class b) {
  if (a == tile_class::skip || b == tile_class::skip) return tile_class::skip;
  const bool full = a == tile_class::full && b == tile_class::full;
  return full ? tile_class::full : tile_class::partial;
}

/// The class of a tile under two masks, one of which must show a key.
constexpr tile_class either_of(tile_class a, tile_class b) {
  if (a == tile_class::full || b == tile_class::full) return tile_class::full;
  const bool skip = a == tile_class::skip && b == tile_class::skip;
  return skip ? tile_class::skip : tile_class::partial;
}

/// The class of a tile by `keep`: the result of `classify` if the mask has it, else partial.
template <class HeadPolicy>
constexpr tile_class classify_elements(const HeadPolicy& mask, const tile& region) {
  if constexpr (!masks_elements<HeadPolicy>) {
    return tile_class::full;
  } else if constexpr (requires { mask.classify(region); }) {
    return mask.classify(region);
  } else {
    return tile_class::partial;
  }
}

/// The class of a tile by `visible_keys`.
template <class HeadPolicy>
constexpr tile_class classify_ranges(const HeadPolicy& mask, const tile& region) {
  if constexpr (!masks_range<HeadPolicy>) {
    return tile_class::full;
  } else {
    bool sees_some = false;
    bool sees_all = true;
    for (index_t q_pos = region.first_query; q_pos < region.last_query; ++q_pos) {
      const key_range keys =
          intersect(mask.visible_keys(q_pos), {region.first_key, region.last_key});
      sees_some = sees_some || keys.first < keys.last;
      sees_all = sees_all && keys == key_range{region.first_key, region.last_key};
    }
    return !sees_some ? tile_class::skip : sees_all ? tile_class::full : tile_class::partial;
  }
}

// Element masks: the masks of a call that are not a range of keys per query. They are evaluated
// tile by tile and element by element. Kernels receive all other masks as numeric ranges.

/// The bound policies that are element masks, as a tuple.
template <class... HeadPolicies>
constexpr auto element_masks(const std::tuple<HeadPolicies...>& head_policies) {
  constexpr auto only_masks = []<class Each>(const Each& policy) {
    if constexpr (masks_elements<Each>) {
      return std::tuple<Each>(policy);
    } else {
      return std::tuple<>();
    }
  };
  return std::apply([&](const auto&... policy) { return std::tuple_cat(only_masks(policy)...); },
                    head_policies);
}

template <class BoundTuple>
using element_masks_of = decltype(element_masks(std::declval<const BoundTuple&>()));

/// The class of a tile under all element masks.
template <class... Masks>
constexpr tile_class classify_all(const std::tuple<Masks...>& masks, const tile& region) {
  tile_class result = tile_class::full;
  std::apply(
      [&](const auto&... mask) {
        ((result = both_of(result, classify_elements(mask, region))), ...);
      },
      masks);
  return result;
}

/// Whether all element masks show the key to the query.
template <class... Masks>
constexpr bool all_keep(const std::tuple<Masks...>& masks, index_t q_pos, index_t k_pos) {
  return std::apply([&](const auto&... mask) { return (mask.keep(q_pos, k_pos) && ... && true); },
                    masks);
}

}  // namespace relpos::inline RELPOS_ABI
