#pragma once
// The bound by which a block leaves out key tiles without changing any bit: tiles where every
// weight of every row would be exactly zero, as on the CPU (cpu/prefill/score_bound.hpp). A kernel
// before this one measures the norm of the longest key of each tile.

#include <limits>

#include "relpos/contract/bias_bound.hpp"
#include "relpos/core/math.hpp"
#include "relpos/cuda/fragment/convert.hpp"
#include "relpos/cuda/params.hpp"
#include "relpos/cuda/prefill/geometry.hpp"

namespace relpos::inline RELPOS_ABI {

/// The largest key norm of each tile of each sequence and key head. Tile 0 is the tile that holds
/// the first key row of the sequence.
struct key_tile_norms {
  static constexpr index_t capacity(index_t key_length, int tile_keys) {
    return key_length / tile_keys + 2;
  }
  /// Whether the bound is worth a pass over every key: only with many queries.
  static constexpr bool pays(index_t query_length) { return query_length >= 128; }
};

/// Stores the largest Euclidean norm of the keys of one tile; NaN or infinite if the norm of a key
/// is. One warp does it.
template <int HeadDim, class Arch, class Call>
RELPOS_DEVICE void measure_key_tile(Arch& arch, const Call& call, index_t sequence_index,
                                    index_t head, index_t tile) {
  constexpr int keys = prefill_block_geometry<typename Call::stored, HeadDim>::keys;
  const int lane = arch.thread() % warp_lanes;
  const device_sequence& sequence = call.sequences[sequence_index];
  const index_t begin =
      (floor_div(sequence.position.key_offset, keys) + tile) * keys - sequence.position.key_offset;
  float largest = 0.0f;
  for (int key = 0; key < keys; ++key) {
    const index_t row = begin + key;
    if (row < 0 || row >= sequence.keys.count) continue;
    const auto* const channels =
        call.k.address(sequence.keys.batch, head, sequence.keys.first + row, 0);
    float square = 0.0f;
    for (int c = lane; c < HeadDim; c += warp_lanes) {
      const float x = widen(arch, channels[c]);
      square += x * x;
    }
    for (int other = 1; other < warp_lanes; other *= 2) {
      square += arch.shuffle_xor(square, other);
    }
    if (!(square <= largest)) largest = square;  // also if it is NaN, which ends the loop
    if (largest != largest) break;
  }
  if (lane == 0) call.key_norm(sequence_index, head, tile) = arch.sqrt(largest);
}

/// True if every weight of a row in a tile is exactly zero. `product` bounds |q.k| times
/// |factors.query|: the exponent, or the argument of the softcap's tanh. `distances` are k_pos -
/// q_pos from the row to the keys of the tile. False if the bound is not finite.
template <int HeadDim, class Biases, class Masks>
RELPOS_DEVICE bool row_vanishes(const device_head<Biases, Masks>& head, float product,
                                float maximum, const distance_range& distances) {
  // Norms and products are rounded by less than (head_dim + 8) / 2^21 of their size. Squares that
  // underflow in a norm change the bound by less than 0.01.
  constexpr float norm_slack = 1.0f + (HeadDim + 8) * 0x1p-21f;
  constexpr float slack = 1e-6f;
  constexpr float underflow_slack = 0.01f;
  constexpr float least_exponent = -126.0f;
  float score = product * norm_slack;
  if (head.factors.softcap != 0.0f) {
    const float unless_finite = score - score;  // NaN: softcap must not hide it
    score = head.factors.softcap * relpos::min(score, 1.0f) + unless_finite;
  }
  const bias_bound bias = largest_bias(head.biases, tile(), distances, head.factors.bias);
  const float rounding = slack * (score + bias.magnitude + relpos::abs(maximum)) + underflow_slack;
  const float bound = score + bias.largest + rounding - maximum;
  return std::numeric_limits<float>::lowest() <= bound && bound < least_exponent;
}

}  // namespace relpos::inline RELPOS_ABI
