#pragma once
// Distances k_pos - q_pos from the queries of one group, one per lane, to a key. A bias stage
// computes from them or looks them up in a table.

#include "relpos/call/bias_table.hpp"
#include "relpos/call/row_positions.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa, class RowPositions>
class group_distances;

/// Implicit positions: neighbouring lanes are one apart.
template <class Isa>
class group_distances<Isa, implicit_positions> {
 public:
  using real = float_pack<Isa>;
  static constexpr bool are_implicit = true;

  RELPOS_INLINE group_distances(const implicit_positions& position, const group_rows& rows)
      : key_zero_distance_(position.key(0) - position.query(rows.first_row)) {}

  struct to_key {
    float first;  // from the group's first query

    RELPOS_INLINE real lane(int v) const {
      return real(first) - (real::iota() + real(float(v * lanes<Isa>)));
    }
  };
  RELPOS_INLINE to_key key(index_t row) const {
    return {static_cast<float>(row + key_zero_distance_)};
  }

  /// The distance of the group's first query to a key.
  RELPOS_INLINE index_t to_key_row(index_t row) const { return row + key_zero_distance_; }
  /// The table's values for one key, one per lane.
  RELPOS_INLINE const float* lane_values(const bias_table& table, index_t key_row) const {
    return table.at(-(key_row + key_zero_distance_), geometry<Isa>::group_rows);
  }

 private:
  index_t key_zero_distance_;
};

/// Explicit positions: any distance may be in any lane. The results of `key` and `lane_values` are
/// valid until the next call of either.
template <class Isa, class Policy>
class group_distances<Isa, explicit_positions<Policy>> {
 public:
  using real = float_pack<Isa>;
  static constexpr bool are_implicit = false;
  static constexpr index_t width = geometry<Isa>::group_rows;

  group_distances(const explicit_positions<Policy>& position, const group_rows& rows)
      : position_(position) {
    for (index_t lane = 0; lane < rows.count; ++lane) {
      queries_[lane] = position.query(rows.first_row + lane);
      are_consecutive_ = are_consecutive_ && queries_[lane] == queries_[0] + lane;
    }
  }

  struct to_key {
    const float* distances;

    RELPOS_INLINE real lane(int v) const { return real::load(distances + v * lanes<Isa>); }
  };
  to_key key(index_t row) const {
    // Each lane is converted to float separately: a distant neighbour must not cost a near lane its
    // accuracy.
    const index_t key = position_.key(row);
    for (index_t lane = 0; lane < width; ++lane) {
      gathered_[lane] = static_cast<float>(key - queries_[lane]);
    }
    return {gathered_};
  }

  const float* lane_values(const bias_table& table, index_t key_row) const {
    const index_t key = position_.key(key_row);
    if (are_consecutive_) return table.at(queries_[0] - key, width);
    for (index_t lane = 0; lane < width; ++lane) gathered_[lane] = table.of(queries_[lane] - key);
    return gathered_;
  }

 private:
  explicit_positions<Policy> position_;
  bool are_consecutive_ = true;  // true within a run of tokens
  index_t queries_[width] = {};
  mutable float gathered_[width];
};

}  // namespace relpos::inline RELPOS_ABI
