#pragma once
// Rotation on a GPU, as on the CPU (kernel/rotation.hpp): keys are turned by their rest beyond an origin; queries by their
// own rest and by the turn between origins, once for each 512 keys. Each is rounded once.

#include "relpos/core/view.hpp"
#include "relpos/cuda/forward_call.hpp"

namespace relpos::inline RELPOS_ABI {

/// Channels a and b of a pair.
struct pair_places {
  int a;
  int b;

  static constexpr pair_places of(int pair, int pairs, pair_layout layout) {
    if (layout == pair_layout::interleaved) return {2 * pair, 2 * pair + 1};
    return {pair, pair + pairs};
  }
};

/// a + i b times x + i y.
template <class T>
RELPOS_DEVICE void store_turned(float a, float b, float x, float y, T& to_a, T& to_b) {
  to_a = static_cast<T>(a * x - b * y);
  to_b = static_cast<T>(a * y + b * x);
}

/// Turns a pair of a key by `rest`, a row of the table of keys.
template <class T>
RELPOS_DEVICE void turn_key_pair(const rotation_rows& rows, const float* rest, int pair,
                                 const T* from, T* to) {
  const auto pairs = static_cast<int>(rows.pairs);
  const pair_places at = pair_places::of(pair, pairs, rows.layout);
  store_turned(static_cast<float>(from[at.a]), static_cast<float>(from[at.b]), rest[pair],
               rest[pairs + pair], to[at.a], to[at.b]);
}

/// Turns row `row` of key head `head` of a sequence, by one warp.
template <int HeadDim, class Call>
RELPOS_DEVICE void turn_key(const Call& call, const view<typename Call::stored, 4>& turned,
                            index sequence, index head, index row, int lane) {
  const device_sequence& of = call.sequences[sequence];
  if (row >= of.keys.count || of.is_split) return;
  const rotation_rows& rows = rotation_of(call.head(sequence, 0).bound).rows;
  const auto pairs = static_cast<int>(rows.pairs);
  const auto* const from = call.k.address(of.keys.batch, head, of.keys.first + row, 0);
  auto* const to = turned.address(of.keys.batch, head, of.keys.first + row, 0);
  const float* const rest = rows.row_of(rows.keys, row + of.position.key_offset);
  for (int pair = lane; pair < pairs; pair += warp_lanes) turn_key_pair(rows, rest, pair, from, to);
  for (int c = 2 * pairs + lane; c < HeadDim; c += warp_lanes) to[c] = from[c];
}

/// Turns `Rows` keys in shared memory where they are, by one warp. `first` is the position of the first.
template <int Rows, class SharedRows>
RELPOS_DEVICE void turn_shared_keys(const SharedRows& keys, const rotation_rows& rows, index first,
                                    int lane) {
  const auto pairs = static_cast<int>(rows.pairs);
  for (int row = 0; row < Rows; ++row) {
    auto* const key = keys.at(row, 0);
    const float* const rest = rows.row_of(rows.keys, first + row);
    for (int pair = lane; pair < pairs; pair += warp_lanes) {
      turn_key_pair(rows, rest, pair, key, key);
    }
  }
}

/// Turns rows of queries to the origin of some keys. `position_of` is row -> position.
template <int HeadDim, int Rows, int Threads, class SharedRows, class PositionOf>
RELPOS_DEVICE void turn_queries(const SharedRows& from, const SharedRows& to,
                                const device_rotation& rotation, const PositionOf& position_of,
                                index key_origin, int thread) {
  const rotation_rows& rows = rotation.rows;
  const auto pairs = static_cast<int>(rows.pairs);
  for (int i = thread; i < Rows * pairs; i += Threads) {
    const int row = i / pairs;
    const int pair = i % pairs;
    const index q_pos = position_of(row);
    const float* const rest = rows.row_of(rows.queries, q_pos);
    const float* const gain = rotation.gains.between(rotation_rows::origin(q_pos), key_origin);
    float x, y;
    store_turned(rest[pair], rest[pairs + pair], gain[pair], gain[pairs + pair], x, y);
    const pair_places at = pair_places::of(pair, pairs, rows.layout);
    store_turned(static_cast<float>(*from.at(row, at.a)), static_cast<float>(*from.at(row, at.b)),
                 x, y, *to.at(row, at.a), *to.at(row, at.b));
  }
  const int others = HeadDim - 2 * pairs;
  for (int i = thread; i < Rows * others; i += Threads) {
    const int channel = 2 * pairs + i % others;
    *to.at(i / others, channel) = *from.at(i / others, channel);
  }
}

}  // namespace relpos::inline RELPOS_ABI
