#pragma once
// The masks of a call that are no range of keys per query, and so are asked tile by tile and element by element. Kernels
// know a call's masks as ranges in numbers and as these.

#include <tuple>
#include <utility>

#include "relpos/contract/mask.hpp"

namespace relpos::inline RELPOS_ABI {

/// Those of the bound policies that ask for elements, as a tuple.
template <class... Bound>
constexpr auto element_masks(const std::tuple<Bound...>& bound) {
  constexpr auto only_masks = []<class Each>(const Each& each) {
    if constexpr (masks_elements<Each>) {
      return std::tuple<Each>(each);
    } else {
      return std::tuple<>();
    }
  };
  return std::apply([&](const auto&... each) { return std::tuple_cat(only_masks(each)...); },
                    bound);
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
