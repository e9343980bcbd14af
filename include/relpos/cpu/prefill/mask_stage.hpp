#pragma once
// The mask stage of one query group. Once per group, range masks are intersected into one range of
// key rows per query. The extremes of these ranges classify every tile and strip with four
// comparisons, and partial ones are masked with two comparisons per vector. Element masks are
// called tile by tile (classify) and element by element (keep). Only element masks are part of the
// stage's type: all calls whose masks are ranges share one type.

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "relpos/call/visible_rows.hpp"
#include "relpos/contract/mask.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/simd/pack.hpp"
#include "relpos/stage/score.hpp"

namespace relpos::inline RELPOS_ABI {

/// `ElementMasks` is a tuple of the element masks of the head policies, and of the selection.
template <class Isa, class ElementMasks>
class mask_stage {
 public:
  static constexpr index_t width = geometry<Isa>::group_rows;
  using integer = int_pack<Isa>;

  template <class... HeadPolicies>
  mask_stage(const std::tuple<HeadPolicies...>& head_policies, const ElementMasks& elements,
             const group_rows& rows, index_t key_length)
      : elements_(elements), rows_(rows) {
    extremes_ = visible_rows::of_none(key_length);
    if (rows.count == 0) return;
    std::fill(first_, first_ + width, 0);
    std::fill(last_, last_ + width, 0);
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

  /// The number of the group's first vectors of queries, at most Vectors - 1, that see no key from
  /// row `first` on. Under a causal mask there are such vectors near the diagonal. The number rises
  /// with `first`.
  template <int Vectors>
  RELPOS_INLINE int blind_vectors(index_t first) const {
    int blind = 0;
    while (blind < Vectors - 1 && vector_last_[blind] <= first) ++blind;
    return blind;
  }

  /// The class of key rows [first, last) for all queries of the group.
  tile_class classify(index_t first, index_t last) const {
    tile_class result = extremes_.classify(first, last);
    if constexpr (std::tuple_size_v<ElementMasks> > 0) {
      const tile block{rows_.q_pos, rows_.q_pos + rows_.count, first + rows_.key_offset,
                       last + rows_.key_offset};
      result = both_of(result, classify_all(elements_, block));
    }
    return result;
  }

  /// The queries that see one key: -1 (sees it) or 0 in each lane.
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
  index_t vector_last_[geometry<Isa>::vectors] = {};  // the largest of each vector
};

}  // namespace relpos::inline RELPOS_ABI
