#pragma once
// The mask stage of one query group. Range masks are intersected into one range of key rows per
// query, once per group; from the extremes of those ranges every tile and strip is classified with
// four comparisons, and the partial ones are masked with two comparisons per vector. Masks that are
// no range are asked tile by tile (classify) and element by element (keep). Only these are part of
// its type: all calls whose masks are ranges share one.

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "relpos/call/visible_rows.hpp"
#include "relpos/contract/mask.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/simd/pack.hpp"
#include "relpos/stage/score.hpp"

namespace relpos::inline RELPOS_ABI {

/// `ElementMasks` is what element_masks gives of the bound policies.
template <class Isa, class ElementMasks>
class mask_stage {
 public:
  static constexpr index_t width = geometry<Isa>::group_rows;
  using integer = int_pack<Isa>;

  template <class... HeadPolicies>
  mask_stage(const std::tuple<HeadPolicies...>& head_policies, const group_rows& rows,
             index_t key_length)
      : elements_(element_masks(head_policies)), rows_(rows) {
    std::fill(first_, first_ + width, 0);
    std::fill(last_, last_ + width, 0);
    extremes_ = visible_rows::of_none(key_length);
    for (index_t lane = 0; lane < rows.count; ++lane) {
      const key_range keys =
          visible_key_rows(head_policies, rows.q_pos + lane, rows.key_offset, key_length);
      first_[lane] = static_cast<std::int32_t>(keys.first);
      last_[lane] = static_cast<std::int32_t>(keys.last);
      index_t& vector_last = vector_last_[lane / lanes<Isa>];
      vector_last = std::max(vector_last, keys.last);
      extremes_.add(keys);
    }
  }

  const visible_rows& extremes() const { return extremes_; }

  /// How many of the group's first vectors of queries see no key from row `first` on: what is
  /// masked causally, near the diagonal. Rises with `first`.
  template <int Vectors>
  RELPOS_INLINE int blind_vectors(index_t first) const {
    int blind = 0;
    while (blind < Vectors - 1 && vector_last_[blind] <= first) ++blind;
    return blind;
  }

  /// What the masks say about key rows [first, last) and all of the group's queries.
  tile_class classify(index_t first, index_t last) const {
    tile_class result = extremes_.classify(first, last);
    if constexpr (std::tuple_size_v<ElementMasks> > 0) {
      const tile block{rows_.q_pos, rows_.q_pos + rows_.count, first + rows_.key_offset,
                       last + rows_.key_offset};
      result = both_of(result, classify_all(elements_, block));
    }
    return result;
  }

  /// Which queries see one key: -1 or 0 in each lane.
  template <int Vectors>
  struct seeing_lanes {
    integer lane[Vectors];
  };
  template <int Vectors>
  RELPOS_INLINE seeing_lanes<Vectors> visible(index_t key_row) const {
    seeing_lanes<Vectors> result;
    const integer key(static_cast<std::int32_t>(key_row));
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      const integer first = integer::load(first_ + v * lanes<Isa>);
      const integer last = integer::load(last_ + v * lanes<Isa>);
      result.lane[v] = range_shows(key, first, last);
    }
    if constexpr (std::tuple_size_v<ElementMasks> > 0) {
      std::int32_t kept[width] = {};
      for (index_t lane = 0; lane < rows_.count; ++lane) {
        const index_t k_pos = key_row + rows_.key_offset;
        kept[lane] = all_keep(elements_, rows_.q_pos + lane, k_pos) ? -1 : 0;
      }
      RELPOS_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        result.lane[v] = result.lane[v] & integer::load(kept + v * lanes<Isa>);
      }
    }
    return result;
  }

 private:
  ElementMasks elements_;
  group_rows rows_;
  visible_rows extremes_;
  std::int32_t first_[width];
  std::int32_t last_[width];
  index_t vector_last_[geometry<Isa>::vectors] = {};  // of a vector's queries, the largest
};

}  // namespace relpos::inline RELPOS_ABI
