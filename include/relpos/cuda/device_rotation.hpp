#pragma once
// Rotation on a GPU, as on the CPU (kernel/rotation.hpp): keys are turned once by their rest beyond an origin, into
// scratch; queries by their own rest and by the turn between origins, once for each 512 keys. Each is rounded once.
// Turned channels are in half-split order, whatever the layout.

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

/// Turns row `row` of key head `head` of a sequence, by one warp.
template <int HeadDim, class Call>
RELPOS_DEVICE void turn_key(const Call& call, const view<typename Call::stored, 4>& turned,
                            index sequence, index head, index row, int lane) {
  const device_sequence& of = call.sequences[sequence];
  if (row >= of.keys.count) return;
  const rotation_rows& rows = rotation_of(call.head(sequence, 0).bound).rows;
  const auto pairs = static_cast<int>(rows.pairs);
  const auto* const from = call.k.address(of.keys.batch, head, of.keys.first + row, 0);
  auto* const to = turned.address(of.keys.batch, head, of.keys.first + row, 0);
  const float* const by = rows.row_of(rows.keys, row + of.position.key_offset);
  for (int pair = lane; pair < pairs; pair += warp_lanes) {
    const pair_places at = pair_places::of(pair, pairs, rows.layout);
    store_turned(static_cast<float>(from[at.a]), static_cast<float>(from[at.b]), by[pair],
                 by[pairs + pair], to[pair], to[pairs + pair]);
  }
  for (int c = 2 * pairs + lane; c < HeadDim; c += warp_lanes) to[c] = from[c];
}

/// Turns the rows of a block of queries to the origin of a tile of keys. `first` is the position of its first row.
template <int HeadDim, int Rows, int Threads, class SharedRows>
RELPOS_DEVICE void turn_queries(const SharedRows& from, const SharedRows& to,
                                const device_rotation& rotation, index first, index key_origin,
                                int thread) {
  const rotation_rows& rows = rotation.rows;
  const auto pairs = static_cast<int>(rows.pairs);
  for (int i = thread; i < Rows * pairs; i += Threads) {
    const int row = i / pairs;
    const int pair = i % pairs;
    const index q_pos = first + row;
    const float* const rest = rows.row_of(rows.queries, q_pos);
    const float* const gain = rotation.gains.between(rotation_rows::origin(q_pos), key_origin);
    float x, y;
    store_turned(rest[pair], rest[pairs + pair], gain[pair], gain[pairs + pair], x, y);
    const pair_places at = pair_places::of(pair, pairs, rows.layout);
    store_turned(static_cast<float>(*from.at(row, at.a)), static_cast<float>(*from.at(row, at.b)),
                 x, y, *to.at(row, pair), *to.at(row, pairs + pair));
  }
  const int others = HeadDim - 2 * pairs;
  for (int i = thread; i < Rows * others; i += Threads) {
    const int channel = 2 * pairs + i % others;
    *to.at(i / others, channel) = *from.at(i / others, channel);
  }
}

}  // namespace relpos::inline RELPOS_ABI
