#pragma once
// The mask stage of one query group. Range masks are intersected into one range of key rows per query,
// once per group; from the extremes of those ranges every tile and strip is classified with four
// comparisons, and the partial ones are masked with two comparisons per vector. Masks that are no range
// are asked tile by tile (classify) and element by element (keep).

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "relpos/core/mask.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/kernel/geometry.hpp"
#include "relpos/kernel/group_rows.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

/// The visible key rows of a group's queries, clipped to the keys that exist.
struct visible_rows {
  // Extremes over the queries that see anything: rows [some_first, some_last) are seen by some query,
  // rows [all_first, all_last) by every query of the group.
  index some_first = 0;
  index some_last = 0;
  index all_first = 0;
  index all_last = 0;

  constexpr tile_class classify(index first, index last) const {
    if (last <= some_first || some_last <= first) return tile_class::skip;
    return all_first <= first && last <= all_last ? tile_class::full : tile_class::partial;
  }
};

/// The keys that range masks leave visible to one query, as rows of the call.
template <class... Policies>
RELPOS_INLINE key_range visible_key_rows(const std::tuple<Policies...>& bound, index q_pos,
                                         index key_offset, index key_length) {
  key_range range{key_offset, key_offset + key_length};
  const auto narrow = [&](const auto& mask) {
    if constexpr (masks_range<std::decay_t<decltype(mask)>>) {
      range = intersect(range, mask.visible_keys(q_pos));
    }
  };
  std::apply([&](const auto&... each) { (narrow(each), ...); }, bound);
  const index first = std::min(range.first - key_offset, key_length);
  return {first, std::max(first, range.last - key_offset)};
}

/// Distances k_pos - q_pos between the rows of a call and the keys that range masks leave visible.
template <class... Policies>
distance_range visible_distances(const std::tuple<Policies...>& bound, const attention_shape& shape,
                                 const positions& position) {
  distance_range range;
  for (index row = 0; row < shape.query_length; ++row) {
    const index q_pos = row + position.query_offset;
    const key_range keys = visible_key_rows(bound, q_pos, position.key_offset, shape.key_length);
    if (keys.last == keys.first) continue;
    const index to_distance = position.key_offset - q_pos;
    range = hull(range, {keys.first + to_distance, keys.last - 1 + to_distance});
  }
  return range;
}

template <class Isa, class... Bound>
class mask_stage {
 public:
  static constexpr bool any_mask = ((masks_range<Bound> || masks_elements<Bound>) || ... || false);
  static constexpr bool any_element_mask = (masks_elements<Bound> || ... || false);
  static constexpr index width = geometry<Isa>::group_rows;
  using integer = int_pack<Isa>;

  mask_stage(const std::tuple<Bound...>& bound, const group_rows& rows, index key_length)
      : bound_(bound), rows_(rows) {
    std::fill(first_, first_ + width, 0);
    std::fill(last_, last_ + width, 0);
    extremes_ = {key_length, 0, 0, key_length};
    for (index lane = 0; lane < rows.count; ++lane) {
      const key_range keys =
          visible_key_rows(bound, rows.q_pos + lane, rows.key_offset, key_length);
      first_[lane] = static_cast<std::int32_t>(keys.first);
      last_[lane] = static_cast<std::int32_t>(keys.last);
      index& vector_last = vector_last_[lane / lanes<Isa>];
      vector_last = std::max(vector_last, keys.last);
      extremes_.all_first = std::max(extremes_.all_first, keys.first);
      extremes_.all_last = std::min(extremes_.all_last, keys.last);
      if (keys.last > keys.first) {
        extremes_.some_first = std::min(extremes_.some_first, keys.first);
        extremes_.some_last = std::max(extremes_.some_last, keys.last);
      }
    }
  }

  const visible_rows& extremes() const { return extremes_; }

  /// How many of the group's first vectors of queries see no key from row `first` on: what is masked causally,
  /// near the diagonal. Rises with `first`.
  template <int Vectors>
  RELPOS_INLINE int blind_vectors(index first) const {
    int blind = 0;
    while (blind < Vectors - 1 && vector_last_[blind] <= first) ++blind;
    return blind;
  }

  /// Keys that range masks leave visible to one query.
  key_range visible_rows_of(index lane) const { return {first_[lane], last_[lane]}; }

  /// What the masks say about key rows [first, last) and all of the group's queries.
  tile_class classify(index first, index last) const {
    tile_class result = extremes_.classify(first, last);
    if constexpr (any_element_mask) {
      const tile block{rows_.q_pos, rows_.q_pos + rows_.count, first + rows_.key_offset,
                       last + rows_.key_offset};
      const auto ask = [&](const auto& mask) {
        result = both_of(result, classify_elements(mask, block));
      };
      std::apply([&](const auto&... each) { (ask(each), ...); }, bound_);
    }
    return result;
  }

  /// Which queries see one key: -1 or 0 in each lane.
  template <int Vectors>
  struct seeing_lanes {
    integer lane[Vectors];
  };
  template <int Vectors>
  RELPOS_INLINE seeing_lanes<Vectors> visible(index key_row) const {
    seeing_lanes<Vectors> result;
    const integer key(static_cast<std::int32_t>(key_row));
    unroll<Vectors>([&](auto v) RELPOS_LAMBDA {
      const integer first = integer::load(first_ + v * lanes<Isa>);
      const integer last = integer::load(last_ + v * lanes<Isa>);
      result.lane[v] = (first <= key) & (key < last);
    });
    if constexpr (any_element_mask) {
      std::int32_t kept[width] = {};
      for (index lane = 0; lane < rows_.count; ++lane) {
        kept[lane] = keeps(rows_.q_pos + lane, key_row + rows_.key_offset) ? -1 : 0;
      }
      unroll<Vectors>([&](auto v) RELPOS_LAMBDA {
        result.lane[v] = result.lane[v] & integer::load(kept + v * lanes<Isa>);
      });
    }
    return result;
  }

 private:
  bool keeps(index q_pos, index k_pos) const {
    const auto ask = [&](const auto& mask) {
      if constexpr (masks_elements<std::decay_t<decltype(mask)>>) return mask.keep(q_pos, k_pos);
      return true;
    };
    return std::apply([&](const auto&... each) { return (ask(each) && ... && true); }, bound_);
  }

  std::tuple<Bound...> bound_;
  group_rows rows_;
  visible_rows extremes_;
  std::int32_t first_[width];
  std::int32_t last_[width];
  index vector_last_[geometry<Isa>::vectors] = {};  // of a vector's queries, the largest
};

}  // namespace relpos::inline RELPOS_ABI
