#pragma once
// What is done to the scores of a warp's rows against one tile of keys between product and softmax: scale, softcap,
// biases, factor of the row, mask. A lane has two rows of them, and of each some columns.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <tuple>
#include <utility>

#include "relpos/core/mask.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/cuda/forward_call.hpp"

namespace relpos::inline RELPOS_ABI {

/// The two query rows of a lane. A row that does not exist sees nothing.
struct lane_rows {
  int row[2];            // of the sequence
  key_range visible[2];  // rows of keys
};

/// Scores of 16 rows and 8 `Tiles` keys: those of a lane.
template <int Tiles>
struct score_fragment {
  float at[Tiles][4];
};

template <class Machine, class Call>
class score_stages;

template <class Machine, class T, class Out, class... Bound>
class score_stages<Machine, forward_call<T, Out, Bound...>> {
 public:
  using head_type = device_head<Bound...>;

  RELPOS_DEVICE score_stages(const head_type& head, const device_sequence& sequence,
                             const lane_rows& rows, int lane)
      : head_(head), sequence_(sequence), rows_(rows), place_{lane} {
    if constexpr (has_row_factor) {
      unroll<2>([&](auto r) RELPOS_LAMBDA {
        const index visible = rows.visible[r].last - rows.visible[r].first;
        row_factor_[r] = logit_factor(head.bound, rows.row[r] + position().query_offset, visible);
      });
    }
  }

  /// Products become scores in units of the exponent, base 2. The tile begins at key row `first_key`, which may lie
  /// outside of the sequence where `is` is partial.
  template <int Tiles>
  RELPOS_DEVICE void apply(Machine& machine, index first_key, tile_class is,
                           score_fragment<Tiles>& scores) const {
    const score_factors& factors = head_.factors;
    for_each(scores, [&](float& s, int, int) RELPOS_LAMBDA { s *= factors.query; });
    if (factors.softcap != 0.0f) {
      for_each(scores,
               [&](float& s, int, int) RELPOS_LAMBDA { s = factors.softcap * machine.tanh(s); });
    }
    unroll<static_cast<int>(sizeof...(Bound))>(
        [&](auto i) RELPOS_LAMBDA { add_bias<i>(first_key, scores); });
    if constexpr (has_row_factor) {
      for_each(scores, [&](float& s, int r, int) RELPOS_LAMBDA {
        // A key that a bias hides stays hidden where the factor is 0 or negative.
        if (s != hidden) s *= row_factor_[r];
      });
    }
    if (is == tile_class::partial) hide(first_key, scores);
  }

 private:
  static constexpr float hidden = -std::numeric_limits<float>::infinity();
  static constexpr bool has_row_factor = (scales_rows<Bound> || ... || false);
  static constexpr bool any_element_mask = (masks_elements<Bound> || ... || false);

  RELPOS_DEVICE const positions& position() const { return sequence_.position; }

  /// Calls use(score, which row of the lane, column of the tile).
  template <int Tiles, class Use>
  RELPOS_DEVICE void for_each(score_fragment<Tiles>& scores, const Use& use) const {
    unroll<Tiles>([&](auto tile) RELPOS_LAMBDA {
      unroll<4>([&](auto element) RELPOS_LAMBDA {
        use(scores.at[tile][element], element / 2, tile * 8 + place_.column(element));
      });
    });
  }

  template <std::size_t I, int Tiles>
  RELPOS_DEVICE void add_bias(index first_key, score_fragment<Tiles>& scores) const {
    using bound_type = std::tuple_element_t<I, std::tuple<Bound...>>;
    const float factor = head_.factors.bias;
    const auto& bound = std::get<I>(head_.bound);
    // Of the first column, k_pos - q_pos.
    const auto distance = [&](int r) {
      return first_key + position().key_offset - (rows_.row[r] + position().query_offset);
    };
    if constexpr (computes_bias<bound_type>) {
      const float first[2] = {static_cast<float>(distance(0)), static_cast<float>(distance(1))};
      for_each(scores, [&](float& s, int r, int column) RELPOS_LAMBDA {
        s += bound.bias(first[r] + static_cast<float>(column)) * factor;
      });
    } else if constexpr (is_device_table<bound_type>) {
      const bias_table& table = bound.table;
      const auto last = static_cast<std::int32_t>(table.last - table.first);
      // The table goes by q_pos - k_pos. What lies beyond its ends is far enough beyond for any column.
      constexpr index beyond = Tiles * 8;
      std::int32_t entry[2];
      float gate[2];
      unroll<2>([&](auto r) RELPOS_LAMBDA {
        entry[r] = static_cast<std::int32_t>(
            std::clamp<index>(-distance(r) - table.first, -1, last + beyond));
        gate[r] = factor;
        if constexpr (gates_rows<bound_type>) {
          if (exists(r)) gate[r] *= bound.row_gate(rows_.row[r]);
        }
      });
      for_each(scores, [&](float& s, int r, int column) RELPOS_LAMBDA {
        s += table.data[std::clamp<std::int32_t>(entry[r] - column, 0, last)] * gate[r];
      });
    } else if constexpr (stores_bias<bound_type>) {
      for_each(scores, [&](float& s, int r, int column) RELPOS_LAMBDA {
        const index key = first_key + column;
        if (exists(r) && 0 <= key && key < sequence_.keys.count) {
          s += scaled_element(bound.bias_element(rows_.row[r], key), factor);
        }
      });
    }
  }

  template <int Tiles>
  RELPOS_DEVICE void hide(index first_key, score_fragment<Tiles>& scores) const {
    for_each(scores, [&](float& s, int r, int column) RELPOS_LAMBDA {
      const index key = first_key + column;
      bool seen = rows_.visible[r].contains(key);
      if constexpr (any_element_mask) {
        if (seen) {
          const index q_pos = rows_.row[r] + position().query_offset;
          const index k_pos = key + position().key_offset;
          const auto ask = [&](const auto& mask) {
            if constexpr (masks_elements<std::decay_t<decltype(mask)>>) {
              seen = seen && mask.keep(q_pos, k_pos);
            }
          };
          std::apply([&](const auto&... each) { (ask(each), ...); }, head_.bound);
        }
      }
      if (!seen) s = hidden;
    });
  }

  RELPOS_DEVICE bool exists(int r) const { return rows_.row[r] < sequence_.queries.count; }

  const head_type& head_;
  const device_sequence& sequence_;
  const lane_rows& rows_;
  accumulator_place place_;
  float row_factor_[2] = {1.0f, 1.0f};
};

}  // namespace relpos::inline RELPOS_ABI
