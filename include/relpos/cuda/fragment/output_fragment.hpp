#pragma once
// The outputs of a warp's rows: sums of weight times value for all channels, in registers. They are
// stored in pairs where the layout of memory allows it.

#include <bit>
#include <cstdint>
#include <type_traits>

#include "relpos/core/index.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/cuda/fragment/convert.hpp"
#include "relpos/cuda/fragment/tensor_product.hpp"

namespace relpos::inline RELPOS_ABI {

/// Two outputs as they are stored.
struct RELPOS_MAY_ALIAS two_floats {
  alignas(8) float first;
  float second;
};
struct RELPOS_MAY_ALIAS two_halves {
  std::uint32_t bits;
};

/// Stores the outputs of two neighbouring channels, by one store if `in_one_piece`.
template <class Arch, class Out>
RELPOS_DEVICE void store_two(Arch& arch, Out* out, index_t stride, bool in_one_piece, float first,
                             float second) {
  if (!in_one_piece) {
    out[0] = narrow<Out>(arch, first);
    out[stride] = narrow<Out>(arch, second);
  } else if constexpr (std::is_same_v<Out, float>) {
    *reinterpret_cast<two_floats*>(out) = {first, second};
  } else {
    packed<Out> pair;
    arch.round(first, second, pair);
    *reinterpret_cast<two_halves*>(out) = {pair.bits};
  }
}

template <multiplied T, int HeadDim>
struct output_fragment {
  float tiles[HeadDim / 8][4] = {};  // an mma accumulator for each 8 channels
};

/// Adds tiles to the outputs of `RowTiles` times sixteen rows.
template <multiplied T, int HeadDim, int RowTiles>
struct weighted_values {
  static constexpr int channel_tiles = HeadDim / 8;
  using outputs_type = output_fragment<T, HeadDim>[RowTiles];

  /// Multiplies the outputs so far by `rescale` and adds a tile. `shared` has room for the weights
  /// of sixteen rows.
  template <class Arch, class ValueRows, class WeightRows, int Tiles>
  static RELPOS_DEVICE void add(Arch& arch, outputs_type& outputs, const ValueRows& rows,
                                tile_class is, const score_fragment<Tiles> (&weights)[RowTiles],
                                const float (&rescale)[RowTiles][2], const WeightRows& shared,
                                int lane) {
    unroll<RowTiles>([&](auto m) RELPOS_LAMBDA {
      unroll<channel_tiles>([&](auto tile) RELPOS_LAMBDA {
        unroll<4>([&](auto element) RELPOS_LAMBDA {
          outputs[m].tiles[tile][element] *= rescale[m][element / 2];
        });
      });
    });
    // Zero times infinity or NaN is not zero: a value that a row does not see must not reach it.
    if (is == tile_class::partial && !all_finite(arch, rows, Tiles * 8, lane)) {
      unroll<RowTiles>([&](auto m) RELPOS_LAMBDA {
        add_seen(arch, outputs[m], rows, weights[m], shared, lane);
      });
      return;
    }
    constexpr int step = step_length<T>;
    unroll<Tiles * 8 / step>([&](auto i) RELPOS_LAMBDA {
      left_factor<T> weight[RowTiles];
      unroll<RowTiles>([&](auto m) RELPOS_LAMBDA { weight[m] = weights_of(arch, weights[m], i); });
      unroll<channel_tiles / 2>([&](auto two) RELPOS_LAMBDA {
        const fragment<T> value = load_values(arch, rows, i * step, two * 16, lane);
        unroll<RowTiles>([&](auto m) RELPOS_LAMBDA {
          auto& tiles = outputs[m].tiles;
          multiply_add(arch, tiles[2 * two], weight[m], value.part[0], value.part[1]);
          multiply_add(arch, tiles[2 * two + 1], weight[m], value.part[2], value.part[3]);
        });
      });
    });
  }

 private:
  /// Turns accumulators into the left factor of the second product. For 16-bit values weights are
  /// rounded. For float32 keys change their order: columns 2 i and 2 i + 1 of the accumulator
  /// become columns i and i + 4 of the factor.
  template <class Arch, int Tiles>
  static RELPOS_DEVICE left_factor<T> weights_of(Arch& arch, const score_fragment<Tiles>& weights,
                                                 int step) {
    fragment<T> result;
    unroll<4>([&](auto part) RELPOS_LAMBDA {
      if constexpr (std::is_same_v<T, float>) {
        const float weight = weights.tiles[step][part % 2 * 2 + part / 2];
        result.part[part].bits = std::bit_cast<std::uint32_t>(weight);
      } else {
        const float(&numbers)[4] = weights.tiles[2 * step + part / 2];
        arch.round(numbers[part % 2 * 2], numbers[part % 2 * 2 + 1], result.part[part]);
      }
    });
    return as_left_factor(arch, result);
  }

  /// The right factors of one step for 16 channels, with keys in the same order as the weights.
  template <class Arch, class ValueRows>
  static RELPOS_DEVICE fragment<T> load_values(Arch& arch, const ValueRows& rows, int key,
                                               int channel, int lane) {
    if constexpr (std::is_same_v<T, float>) {
      fragment<T> result;
      unroll<4>([&](auto part) RELPOS_LAMBDA {
        const float value =
            *rows.at(key + lane % 4 * 2 + part % 2, channel + part / 2 * 8 + lane / 4);
        result.part[part].bits = std::bit_cast<std::uint32_t>(value);
      });
      return result;
    } else {
      return arch.load_transposed(
          static_cast<const T*>(rows.template matrix_row<true>(key, channel, lane)));
    }
  }

  /// Whether all values of the tile are finite, also after a float32 is split. Each lane looks at
  /// some of them, 16 bytes at a time. A 16-bit number that is not finite has all bits of its
  /// exponent set.
  template <class Arch, class ValueRows>
  static RELPOS_DEVICE bool all_finite(Arch& arch, const ValueRows& rows, int keys, int lane) {
    struct alignas(16) piece {
      std::uint32_t bits[4];
    };
    constexpr std::uint32_t high = std::is_same_v<T, half> ? 0x7c000000u : 0x7f800000u;
    constexpr std::uint32_t low = high >> 16;
    const auto is_finite = [](std::uint32_t bits) RELPOS_LAMBDA {
      if constexpr (std::is_same_v<T, float>) {
        return (bits & 0x7fffffffu) < std::bit_cast<std::uint32_t>(split_limit);
      } else {
        return (bits & low) != low && (bits & high) != high;
      }
    };
    constexpr int chunk = ValueRows::chunk;
    constexpr int pieces = HeadDim / chunk;
    bool finite = true;
    for (int i = lane; i < keys * pieces; i += warp_lanes) {
      piece words;
      const void* const source = rows.at(i / pieces, i % pieces * chunk);
      __builtin_memcpy(&words, __builtin_assume_aligned(source, 16), sizeof words);
      unroll<4>([&](auto p) RELPOS_LAMBDA { finite = finite && is_finite(words.bits[p]); });
    }
    return !arch.any(!finite);
  }

  /// Adds the tile number by number, without weights of zero. Rare, and slow.
  template <class Arch, class ValueRows, class WeightRows, int Tiles>
  static RELPOS_DEVICE void add_seen(Arch& arch, output_fragment<T, HeadDim>& outputs,
                                     const ValueRows& rows, const score_fragment<Tiles>& weights,
                                     const WeightRows& shared, int lane) {
    const accumulator_place place{lane};
    unroll<Tiles>([&](auto tile) RELPOS_LAMBDA {
      unroll<4>([&](auto element) RELPOS_LAMBDA {
        *shared.at(place.row(element), tile * 8 + place.column(element)) =
            narrow<T>(arch, weights.tiles[tile][element]);
      });
    });
    arch.sync_warp();
    for (int key = 0; key < Tiles * 8; ++key) {
      unroll<2>([&](auto r) RELPOS_LAMBDA {
        const float weight = widen(arch, *shared.at(place.row(2 * r), key));
        if (weight == 0.0f) return;
        unroll<channel_tiles>([&](auto tile) RELPOS_LAMBDA {
          unroll<2>([&](auto i) RELPOS_LAMBDA {
            outputs.tiles[tile][2 * r + i] +=
                weight * widen(arch, *rows.at(key, tile * 8 + place.column(i)));
          });
        });
      });
    }
    arch.sync_warp();
  }
};

}  // namespace relpos::inline RELPOS_ABI
