#pragma once
// Rotation to explicit positions, one per token (rows/explicit_rotation.hpp). Before anything else,
// rows of queries and keys are rotated all the way to their positions, by the rotor of their offset
// times the rotor of their block. The host lists the blocks that occur and computes their rotors,
// because their sines take float64.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "relpos/call/block_rotors.hpp"
#include "relpos/core/workspace.hpp"
#include "relpos/cuda/params.hpp"
#include "relpos/cuda/rotation/device_rotation.hpp"

namespace relpos::inline RELPOS_ABI {

/// The position of a token on one axis: an index into the blocks that occur, and the offset in that
/// block.
struct token_rotor {
  std::int32_t block;
  std::int32_t offset;
};
/// The rotation to explicit positions as the device reads it.
struct token_rotation {
  rotation_rows rows;          // the table of queries rotates keys as well
  const float* blocks;         // [block][2][pairs]
  const token_rotor* queries;  // [axis][sequence][row]
  const token_rotor* keys;
  index_t sequences;
};

/// Prepares the rotation of one call. `Problem` rotates and has explicit positions.
template <class Problem>
class explicit_rotation_staging {
 public:
  /// Takes host memory for the data that the device reads.
  explicit_rotation_staging(arena& memory, const Problem& problem) : problem_(problem) {
    with_rotation(problem.policies, [&](const auto& policy) { rows_ = policy.rotations(); });
    const attention_shape& shape = problem.shape;
    index_of_keys_ = rows_.axes * shape.batch * shape.query_length;
    count_ = index_of_keys_ + rows_.axes * shape.batch * shape.key_length;
    index_t first = std::numeric_limits<index_t>::max();
    index_t last = std::numeric_limits<index_t>::min();
    for_each([&](index_t, index_t position) {
      first = std::min(first, rotation_rows::block_of(position));
      last = std::max(last, rotation_rows::block_of(position));
    });
    const index_t blocks = count_ == 0 ? 0 : std::min(last - first + 1, count_);
    offset_rotors_ = memory.take<float>(rotation_block * 2 * rows_.pairs);
    rotors_ = memory.take<float>(blocks * 2 * rows_.pairs);
    tokens_ = memory.take<token_rotor>(count_);
    axes_ = memory.take<std::uint8_t>(rows_.axis_of_pair == nullptr ? 0 : rows_.pairs);
  }

  /// Takes host memory for the data that only the host reads.
  void take_host_workspace(arena& memory) { blocks_ = memory.take<index_t>(count_); }

  token_rotation fill(std::ptrdiff_t to_device) const {
    const index_t row = 2 * rows_.pairs;
    std::copy(rows_.queries, rows_.queries + rotation_block * row, offset_rotors_);
    // Neighbouring positions mostly share a block: each run of them notes its block once.
    index_t* last = blocks_;
    for_each([&](index_t, index_t position) {
      const index_t block = rotation_rows::block_of(position);
      if (last == blocks_ || last[-1] != block) *last++ = block;
    });
    std::sort(blocks_, last);
    last = std::unique(blocks_, last);
    with_rotation(problem_.policies, [&](const auto& policy) {
      for (const index_t* block = blocks_; block != last; ++block) {
        float* const destination = rotors_ + (block - blocks_) * row;
        for (index_t pair = 0; pair < rows_.pairs; ++pair) {
          const rotor factor = policy.relative_rotor(pair, -*block * rotation_block);
          destination[pair] = static_cast<float>(factor.real);
          destination[rows_.pairs + pair] = static_cast<float>(factor.imaginary);
        }
      }
    });
    const index_t* cursor = blocks_;
    for_each([&](index_t i, index_t position) {
      const index_t block = rotation_rows::block_of(position);
      if (*cursor != block) cursor = std::lower_bound(blocks_, last, block);
      tokens_[i] = {static_cast<std::int32_t>(cursor - blocks_),
                    static_cast<std::int32_t>(position - block * rotation_block)};
    });
    token_rotation result{rows_, rebase(rotors_, to_device), rebase(tokens_, to_device),
                          rebase(tokens_ + index_of_keys_, to_device), problem_.shape.batch};
    result.rows.queries = rebase(offset_rotors_, to_device);
    result.rows.keys = nullptr;
    if (rows_.axis_of_pair != nullptr) {
      std::copy(rows_.axis_of_pair, rows_.axis_of_pair + rows_.pairs, axes_);
      result.rows.axis_of_pair = rebase(axes_, to_device);
    }
    return result;
  }

 private:
  /// Calls use(i, position) for each axis of each token: queries, then keys, [axis][sequence][row].
  template <class Use>
  void for_each(const Use& use) const {
    const attention_shape& shape = problem_.shape;
    index_t i = 0;
    const auto ask = [&](index_t length, const auto& position_of) {
      for (index_t axis = 0; axis < rows_.axes; ++axis) {
        for (index_t sequence = 0; sequence < shape.batch; ++sequence) {
          const auto places = row_positions(problem_.policies, positions{}, sequence);
          for (index_t row = 0; row < length; ++row) use(i++, position_of(places, row, axis));
        }
      }
    };
    ask(shape.query_length,
        [](const auto& places, index_t row, index_t axis) { return places.query(row, axis); });
    ask(shape.key_length,
        [](const auto& places, index_t row, index_t axis) { return places.key(row, axis); });
  }

  const Problem& problem_;
  rotation_rows rows_{};
  index_t index_of_keys_ = 0;
  index_t count_ = 0;
  float* offset_rotors_ = nullptr;  // [rotation_block][2][pairs]
  float* rotors_ = nullptr;         // [block][2][pairs]
  token_rotor* tokens_ = nullptr;
  std::uint8_t* axes_ = nullptr;  // of pairs
  index_t* blocks_ = nullptr;
};

/// Rotates row `row` of a head of a sequence. One warp does it.
template <int HeadDim, class Arch, class T>
RELPOS_DEVICE void rotate_token(Arch& arch, const token_rotation& rotation,
                                const token_rotor* tokens, index_t length, index_t sequence,
                                index_t row, const T* source, T* destination) {
  const rotation_rows& rows = rotation.rows;
  const auto pairs = static_cast<int>(rows.pairs);
  const int lane = arch.thread() % warp_lanes;
  for (int pair = lane; pair < pairs; pair += warp_lanes) {
    const token_rotor& token =
        tokens[(rows.axis_of(pair) * rotation.sequences + sequence) * length + row];
    const channel_pair<float> factor =
        rotor_at(rows.queries + token.offset * 2 * pairs, pair, pairs) *
        rotor_at(rotation.blocks + token.block * 2 * pairs, pair, pairs);
    rotate_pair(arch, rows, pair, factor, source, destination);
  }
  copy_other_channels<HeadDim>(rows, lane, source, destination);
}

}  // namespace relpos::inline RELPOS_ABI
