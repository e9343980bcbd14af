#pragma once
// The sums of weight times value of a warp's sixteen rows, all channels, in registers.

#include <cstdint>
#include <type_traits>

#include "relpos/core/tile.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/cuda/machine.hpp"
#include "relpos/cuda/score_fragment.hpp"

namespace relpos::inline RELPOS_ABI {

template <multiplied T, int HeadDim>
struct output_fragment {
  static constexpr int channel_tiles = HeadDim / 8;  // of an mma

  float at[channel_tiles][4] = {};

  /// Multiplies what was summed before by `rescale` and adds a tile. `shared` has room for weights.
  template <class Machine, class ValueRows, class WeightRows, int Tiles>
  RELPOS_DEVICE void add(Machine& machine, const ValueRows& rows, tile_class is,
                         const score_fragment<Tiles>& weights, const float (&rescale)[2],
                         const WeightRows& shared, int lane) {
    unroll<channel_tiles>([&](auto tile) RELPOS_LAMBDA {
      unroll<4>([&](auto element) RELPOS_LAMBDA { at[tile][element] *= rescale[element / 2]; });
    });
    // Zero times what is not finite is not zero: what a row does not see must not reach it.
    if (is == tile_class::partial && !all_finite(machine, rows, Tiles * 8, lane)) {
      add_seen(machine, rows, weights, shared, lane);
      return;
    }
    unroll<Tiles / 2>([&](auto step) RELPOS_LAMBDA {
      const fragment<T> weight = weights_of(machine, weights, step);
      unroll<channel_tiles / 2>([&](auto two) RELPOS_LAMBDA {
        const fragment<T> value = machine.load_transposed(
            static_cast<const T*>(rows.template matrix_row<true>(step * 16, two * 16, lane)));
        machine.multiply_add(at[2 * two], weight, value.part[0], value.part[1]);
        machine.multiply_add(at[2 * two + 1], weight, value.part[2], value.part[3]);
      });
    });
  }

 private:
  /// An accumulator of 16 x 16 is, rounded, the left factor of the next product.
  template <class Machine, int Tiles>
  static RELPOS_DEVICE fragment<T> weights_of(Machine& machine,
                                              const score_fragment<Tiles>& weights, int step) {
    fragment<T> result;
    unroll<4>([&](auto part) RELPOS_LAMBDA {
      const float(&of)[4] = weights.at[2 * step + part / 2];
      machine.round(of[part % 2 * 2], of[part % 2 * 2 + 1], result.part[part]);
    });
    return result;
  }

  /// Whether all values of the tile are. Each lane looks at some of them, eight at a time: those that are not have all bits
  /// of the exponent set.
  template <class Machine, class ValueRows>
  static RELPOS_DEVICE bool all_finite(Machine& machine, const ValueRows& rows, int keys,
                                       int lane) {
    struct alignas(16) piece {
      std::uint32_t pair[4];
    };
    constexpr std::uint32_t low = std::is_same_v<T, half> ? 0x7c00u : 0x7f80u;
    constexpr std::uint32_t high = low << 16;
    constexpr int pieces = HeadDim / 8;
    bool finite = true;
    for (int i = lane; i < keys * pieces; i += warp_lanes) {
      piece of;
      const void* const from = rows.at(i / pieces, i % pieces * 8);
      __builtin_memcpy(&of, __builtin_assume_aligned(from, 16), sizeof of);
      unroll<4>([&](auto p) RELPOS_LAMBDA {
        finite = finite && (of.pair[p] & low) != low && (of.pair[p] & high) != high;
      });
    }
    return !machine.any(!finite);
  }

  /// Number by number, but for weights of zero. Rare, and slow.
  template <class Machine, class ValueRows, class WeightRows, int Tiles>
  RELPOS_DEVICE void add_seen(Machine& machine, const ValueRows& rows,
                              const score_fragment<Tiles>& weights, const WeightRows& shared,
                              int lane) {
    const accumulator_place place{lane};
    unroll<Tiles>([&](auto tile) RELPOS_LAMBDA {
      unroll<4>([&](auto element) RELPOS_LAMBDA {
        *shared.at(place.row(element), tile * 8 + place.column(element)) =
            static_cast<T>(weights.at[tile][element]);
      });
    });
    machine.sync_warp();
    for (int key = 0; key < Tiles * 8; ++key) {
      unroll<2>([&](auto r) RELPOS_LAMBDA {
        const float weight = static_cast<float>(*shared.at(place.row(2 * r), key));
        if (weight == 0.0f) return;
        unroll<channel_tiles>([&](auto tile) RELPOS_LAMBDA {
          unroll<2>([&](auto i) RELPOS_LAMBDA {
            at[tile][2 * r + i] +=
                weight * static_cast<float>(*rows.at(key, tile * 8 + place.column(i)));
          });
        });
      });
    }
    machine.sync_warp();
  }
};

}  // namespace relpos::inline RELPOS_ABI
