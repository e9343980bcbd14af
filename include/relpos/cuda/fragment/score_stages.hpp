#pragma once
// The stages between product and softmax, for the scores of sixteen rows of a warp against one tile
// of keys: scale, softcap, biases, row factor, mask. A lane has some columns of two of the rows.

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <utility>

#include "relpos/call/row_positions.hpp"
#include "relpos/contract/mask.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/cuda/fragment/tensor_product.hpp"
#include "relpos/cuda/lowered_policies.hpp"
#include "relpos/cuda/params.hpp"
#include "relpos/stage/score.hpp"

namespace relpos::inline RELPOS_ABI {

/// The two query rows of a lane, counted in the sequence.
struct lane_rows {
  int row[2];
};

/// The factors by which logit scaling multiplies the logits of these rows.
struct row_factors {
  float value[2] = {1.0f, 1.0f};
};

/// The heads of a lane's two rows: one head for both, or one each.
template <class Head>
struct one_head {
  const Head& head;
  RELPOS_DEVICE const Head& of(int) const { return head; }
};
template <class Head>
struct two_heads {
  const Head* head[2];
  RELPOS_DEVICE const Head& of(int r) const { return *head[r]; }
};

template <class Arch, class Call, template <class> class Heads>
class score_stages {
 public:
  using lowered = typename Call::lowered;
  using heads_type = Heads<typename Call::head_type>;

  /// `visible` holds the visible keys of the sixteen rows, none for a row that does not exist.
  RELPOS_DEVICE score_stages(const heads_type& heads, const Call& call,
                             const device_sequence& sequence, const lane_rows& rows,
                             const key_span (&visible)[16], int lane)
      : heads_(heads),
        sequence_(sequence),
        positions_(call.positions_of(sequence)),
        rows_(rows),
        visible_(visible),
        place_{lane} {}

  /// The row factors, which are the same for all tiles.
  RELPOS_DEVICE row_factors factors() const {
    row_factors result;
    if constexpr (lowered::has_row_factors) {
      unroll<2>([&](auto r) RELPOS_LAMBDA {
        if (!exists(r)) return;
        result.value[r] = std::get<device_row_factors>(heads_.of(r).biases).factors[rows_.row[r]];
      });
    }
    return result;
  }

  /// Turns products into scores, which are exponents of base 2. The tile begins at key row
  /// `first_key`, which may lie outside of the sequence if `is` is partial.
  template <int Tiles>
  RELPOS_DEVICE void apply(Arch& arch, index_t first_key, tile_class is, const row_factors& factors,
                           score_fragment<Tiles>& scores) const {
    for_each(scores, [&](float& s, int r, int) RELPOS_LAMBDA { s *= heads_.of(r).factors.query; });
    // Either all heads have a softcap or none has.
    if (heads_.of(0).factors.softcap != 0.0f) {
      for_each(scores, [&](float& s, int r, int)
                           RELPOS_LAMBDA { s = heads_.of(r).factors.softcap * arch.tanh(s); });
    }
    unroll<static_cast<int>(std::tuple_size_v<typename lowered::biases>)>(
        [&](auto i) RELPOS_LAMBDA { add_bias<i>(first_key, scores); });
    if constexpr (lowered::has_row_factors) {
      for_each(scores, [&](float& s, int r, int)
                           RELPOS_LAMBDA { s = times_row_factor(s, factors.value[r]); });
    }
    if (is == tile_class::partial) hide(first_key, scores);
  }

 private:
  using row_positions_type =
      decltype(std::declval<const Call&>().positions_of(std::declval<const device_sequence&>()));

  RELPOS_DEVICE const positions& position() const { return sequence_.position; }

  RELPOS_DEVICE key_span visible(int r) const { return visible_[place_.row(2 * r)]; }

  /// Calls use(score, row of the lane: 0 or 1, column of the tile).
  template <int Tiles, class Use>
  RELPOS_DEVICE void for_each(score_fragment<Tiles>& scores, const Use& use) const {
    unroll<Tiles>([&](auto tile) RELPOS_LAMBDA {
      unroll<4>([&](auto element) RELPOS_LAMBDA {
        use(scores.tiles[tile][element], element / 2, tile * 8 + place_.column(element));
      });
    });
  }

  /// k_pos - q_pos from row `r` to the tile's first column, for implicit positions.
  RELPOS_DEVICE index_t first_distance(int r, index_t first_key) const {
    return first_key + position().key_offset - (rows_.row[r] + position().query_offset);
  }
  /// Calls use(score, row of the lane, k_pos - q_pos), for explicit positions. A key that does not
  /// exist has the distance of the nearest one that does.
  template <int Tiles, class Use>
  RELPOS_DEVICE void for_each_distance(index_t first_key, score_fragment<Tiles>& scores,
                                       const Use& use) const {
    if (sequence_.keys.count == 0) return;
    index_t q_pos[2] = {};
    unroll<2>([&](auto r) RELPOS_LAMBDA {
      if (exists(r)) q_pos[r] = positions_.query(rows_.row[r]);
    });
    unroll<Tiles>([&](auto tile) RELPOS_LAMBDA {
      unroll<2>([&](auto i) RELPOS_LAMBDA {
        const index_t key = first_key + tile * 8 + place_.column(i);
        const index_t k_pos = positions_.key(std::clamp<index_t>(key, 0, sequence_.keys.count - 1));
        unroll<2>([&](auto r) RELPOS_LAMBDA {
          use(scores.tiles[tile][2 * r + i], static_cast<int>(r), k_pos - q_pos[r]);
        });
      });
    });
  }

  template <std::size_t I, int Tiles>
  RELPOS_DEVICE void add_bias(index_t first_key, score_fragment<Tiles>& scores) const {
    using bias_type = std::tuple_element_t<I, typename lowered::biases>;
    const auto bias_at = [&](int r) RELPOS_LAMBDA -> const bias_type& {
      return std::get<I>(heads_.of(r).biases);
    };
    const auto factor_of = [&](int r) RELPOS_LAMBDA { return heads_.of(r).factors.bias; };
    if constexpr (computes_bias<bias_type>) {
      if constexpr (row_positions_type::are_implicit) {
        const float first[2] = {static_cast<float>(first_distance(0, first_key)),
                                static_cast<float>(first_distance(1, first_key))};
        for_each(scores, [&](float& s, int r, int column) RELPOS_LAMBDA {
          s = add_computed_bias(s, bias_at(r), first[r] + static_cast<float>(column), factor_of(r));
        });
      } else {
        for_each_distance(first_key, scores, [&](float& s, int r, index_t distance) RELPOS_LAMBDA {
          s = add_computed_bias(s, bias_at(r), static_cast<float>(distance), factor_of(r));
        });
      }
    } else if constexpr (is_device_table<bias_type>) {
      float gate[2];
      unroll<2>([&](auto r) RELPOS_LAMBDA {
        gate[r] = exists(r) ? table_gate(bias_at(r), rows_.row[r], factor_of(r)) : 0.0f;
      });
      // Tables are indexed by q_pos - k_pos, and are constant beyond their ends.
      if constexpr (row_positions_type::are_implicit) {
        // An entry beyond an end is clamped to one that is beyond it for every column.
        constexpr index_t beyond = Tiles * 8;
        std::int32_t entry[2], last[2];
        unroll<2>([&](auto r) RELPOS_LAMBDA {
          const bias_table& table = bias_at(r).table;
          last[r] = static_cast<std::int32_t>(table.last - table.first);
          entry[r] = static_cast<std::int32_t>(std::clamp<index_t>(
              -first_distance(r, first_key) - table.first, -1, last[r] + beyond));
        });
        for_each(scores, [&](float& s, int r, int column) RELPOS_LAMBDA {
          const auto slot = std::clamp<std::int32_t>(entry[r] - column, 0, last[r]);
          s = add_tabulated_bias(s, bias_at(r).table.data[slot], gate[r]);
        });
      } else {
        for_each_distance(first_key, scores, [&](float& s, int r, index_t distance) RELPOS_LAMBDA {
          s = add_tabulated_bias(s, bias_at(r).table.of(-distance), gate[r]);
        });
      }
    } else if constexpr (stores_bias<bias_type>) {
      for_each(scores, [&](float& s, int r, int column) RELPOS_LAMBDA {
        const index_t key = first_key + column;
        if (exists(r) && 0 <= key && key < sequence_.keys.count) {
          s += scaled_element(bias_at(r).bias_element(rows_.row[r], key), factor_of(r));
        }
      });
    }
  }

  template <int Tiles>
  RELPOS_DEVICE void hide(index_t first_key, score_fragment<Tiles>& scores) const {
    // The columns that range masks show.
    std::int32_t first[2], last[2];
    unroll<2>([&](auto r) RELPOS_LAMBDA {
      const auto column_of = [&](index_t key) RELPOS_LAMBDA {
        return static_cast<std::int32_t>(std::clamp<index_t>(key - first_key, 0, Tiles * 8));
      };
      const key_span seen = visible(r);
      first[r] = column_of(seen.first);
      last[r] = column_of(seen.last);
    });
    for_each(scores, [&](float& s, int r, int column) RELPOS_LAMBDA {
      bool seen = range_shows<std::int32_t>(column, first[r], last[r]);
      if constexpr (std::tuple_size_v<typename lowered::masks> > 0) {
        seen = seen && all_keep(heads_.of(r).masks, rows_.row[r] + position().query_offset,
                                first_key + column + position().key_offset);
      }
      s = hidden_unless(seen, s);
    });
  }

  RELPOS_DEVICE bool exists(int r) const { return rows_.row[r] < sequence_.queries.count; }

  heads_type heads_;
  const device_sequence& sequence_;
  row_positions_type positions_;
  const lane_rows& rows_;
  const key_span (&visible_)[16];
  accumulator_place place_;
};

}  // namespace relpos::inline RELPOS_ABI
