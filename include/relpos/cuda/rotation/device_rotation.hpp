#pragma once
// Rotation on a GPU, as on the CPU (rows/rotation.hpp): keys are rotated by their offset in the
// block, queries by their own offset and by the rotor between blocks, once for each 512 keys. Each
// is rounded once.

#include "relpos/contract/rotation.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/core/view.hpp"
#include "relpos/cuda/fragment/convert.hpp"
#include "relpos/cuda/fragment/shared_rows.hpp"
#include "relpos/cuda/params.hpp"

namespace relpos::inline RELPOS_ABI {

/// Channels a and b of a pair.
struct pair_places {
  int a;
  int b;

  static constexpr pair_places of(int pair, const rotation_rows& rows) {
    const auto first = static_cast<int>(rows.first_channel);
    if (rows.layout == pair_layout::interleaved) return {first + 2 * pair, first + 2 * pair + 1};
    return {first + pair, first + pair + static_cast<int>(rows.pairs)};
  }
};

/// The rotor of a pair, from a row [2][pairs] of a table.
constexpr channel_pair<float> rotor_at(const float* row, int pair, int pairs) {
  return {row[pair], row[pairs + pair]};
}

/// Rotates a pair of a row; `destination` may be `source`.
template <class Arch, class T>
RELPOS_DEVICE void rotate_pair(Arch& arch, const rotation_rows& rows, int pair,
                               const channel_pair<float>& factor, const T* source, T* destination) {
  const pair_places place = pair_places::of(pair, rows);
  const channel_pair<float> rotated =
      channel_pair<float>{widen(arch, source[place.a]), widen(arch, source[place.b])} * factor;
  destination[place.a] = narrow<T>(arch, rotated.a);
  destination[place.b] = narrow<T>(arch, rotated.b);
}

/// Copies the channels of a row that do not rotate. One warp does it; `lane` is its thread's number.
template <int HeadDim, class T>
RELPOS_DEVICE void copy_other_channels(const rotation_rows& rows, int lane, const T* source,
                                       T* destination) {
  const auto first = static_cast<int>(rows.channels().first);
  const auto end = static_cast<int>(rows.channels().end());
  for (int c = lane; c < first; c += warp_lanes) destination[c] = source[c];
  for (int c = end + lane; c < HeadDim; c += warp_lanes) destination[c] = source[c];
}

/// Rotates row `row` of key head `head` of a sequence, unless it is decoded. One warp does it.
template <int HeadDim, class Arch, class Call>
RELPOS_DEVICE void rotate_key(Arch& arch, const Call& call,
                              const view<typename Call::stored, 4>& rotated, index_t sequence_index,
                              index_t head, index_t row) {
  const device_sequence& sequence = call.sequences[sequence_index];
  if (row >= sequence.keys.count || sequence.is_decoded) return;
  const rotation_rows& rows = call.rotation.rows;
  const auto pairs = static_cast<int>(rows.pairs);
  const int lane = arch.thread() % warp_lanes;
  const auto* const source =
      call.k.address(sequence.keys.batch, head, sequence.keys.first + row, 0);
  auto* const destination =
      rotated.address(sequence.keys.batch, head, sequence.keys.first + row, 0);
  const float* const offset_row = rows.row_of(rows.keys, row + sequence.position.key_offset);
  for (int pair = lane; pair < pairs; pair += warp_lanes) {
    rotate_pair(arch, rows, pair, rotor_at(offset_row, pair, pairs), source, destination);
  }
  copy_other_channels<HeadDim>(rows, lane, source, destination);
}

/// Rotates keys in shared memory in place. One warp does it. `first` is the position of the first
/// key.
template <class Arch, class T, int Rows, int Channels>
RELPOS_DEVICE void rotate_shared_keys(Arch& arch, const shared_rows<T, Rows, Channels>& keys,
                                      const rotation_rows& rows, index_t first) {
  // The rotors of this number of rows are loaded before the first is used.
  constexpr int group_rows = 8;
  static_assert(Rows % group_rows == 0);
  const auto pairs = static_cast<int>(rows.pairs);
  const int lane = arch.thread() % warp_lanes;
  for (int pair = lane; pair < pairs; pair += warp_lanes) {
    for (int row = 0; row < Rows; row += group_rows) {
      channel_pair<float> factors[group_rows];
      unroll<group_rows>([&](auto i) RELPOS_LAMBDA {
        factors[i] = rotor_at(rows.row_of(rows.keys, first + row + i), pair, pairs);
      });
      unroll<group_rows>([&](auto i) RELPOS_LAMBDA {
        T* const key = keys.at(row + i, 0);
        rotate_pair(arch, rows, pair, factors[i], key, key);
      });
    }
  }
}

/// Rotates query rows to the block `key_block` of some keys, one warp for each row. row_at(row)
/// returns the address of a row, null for zeros; position_of(row) returns its position.
template <int HeadDim, int Warps, class Arch, class T, int Rows, class RowAt, class PositionOf>
RELPOS_DEVICE void rotate_queries(Arch& arch, const shared_rows<T, Rows, HeadDim>& destination,
                                  const device_rotation& rotation, const RowAt& row_at,
                                  const PositionOf& position_of, index_t key_block) {
  const rotation_rows& rows = rotation.rows;
  const auto pairs = static_cast<int>(rows.pairs);
  const int lane = arch.thread() % warp_lanes;
  for (int row = arch.thread() / warp_lanes; row < Rows; row += Warps) {
    const T* const source = row_at(row);
    T* const rotated = destination.at(row, 0);
    if (source == nullptr) {
      for (int c = lane; c < HeadDim; c += warp_lanes) rotated[c] = T{};
      continue;
    }
    const index_t q_pos = position_of(row);
    const float* const offset_row = rows.row_of(rows.queries, q_pos);
    const float* const block_row =
        rotation.rotors.between(rotation_rows::block_of(q_pos), key_block);
    for (int pair = lane; pair < pairs; pair += warp_lanes) {
      const channel_pair<float> factor =
          rotor_at(offset_row, pair, pairs) * rotor_at(block_row, pair, pairs);
      rotate_pair(arch, rows, pair, factor, source, rotated);
    }
    copy_other_channels<HeadDim>(rows, lane, source, rotated);
  }
}

}  // namespace relpos::inline RELPOS_ABI
