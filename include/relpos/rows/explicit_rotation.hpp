#pragma once
// Rotation to explicit positions, one per token. Two neighbouring keys may be any distance apart on
// each axis, so there is no common block to rotate a tile's queries to. Each row is rotated to its
// full position, by the product of two rotors: the rotor of its offset and the rotor of its block.
// Only rotors that do not decay allow this.

#include <array>
#include <limits>
#include <type_traits>

#include "relpos/call/kv_source.hpp"
#include "relpos/contract/rotation.hpp"
#include "relpos/rows/rotation.hpp"

namespace relpos::inline RELPOS_ABI {

/// The rows of another source, rotated. `PositionOf` is (row, axis) -> position; `memory` holds
/// 4 * pairs floats.
template <class Isa, row_source Source, class Rotation, class PositionOf>
class explicit_rotation {
 public:
  explicit_rotation(const Source& source, const Rotation& policy, const PositionOf& position_of,
                    index_t channels, float* stored_row, float* memory)
      : source_(source),
        policy_(policy),
        rotations_(policy.rotations()),
        position_of_(position_of),
        channels_(channels),
        stored_row_(stored_row),
        block_rotors_(memory),
        row_rotors_(memory + 2 * rotations_.pairs) {
    blocks_.fill(std::numeric_limits<index_t>::min());
  }

  static const float* in_place(index_t) { return nullptr; }
  void load(index_t row, float* out) const {
    for (index_t axis = 0; axis < rotations_.axes; ++axis) find_rotors(row, axis);
    rotate_row<Isa>(read_row(source_, row, stored_row_), row_rotors_, rotations_.channels(),
                    channels_, out);
  }

 private:
  /// Finds the rotors of one row, for the pairs of one axis.
  void find_rotors(index_t row, index_t axis) const {
    const index_t position = position_of_(row, axis);
    const index_t block = rotation_rows::block_of(position);
    index_t& known = blocks_[static_cast<std::size_t>(axis)];
    if (block != known) {  // rarely: sines in float64
      find_block_rotors(block, axis);
      known = block;
    }
    const float* const offset = rotations_.row_of(rotations_.queries, position);
    const index_t pairs = rotations_.pairs;
    index_t i = 0;
    if (rotations_.axes == 1) {
      for (; i + lanes<Isa> <= pairs; i += lanes<Isa>) multiply<float_pack<Isa>>(offset, i);
    }
    for (; i < pairs; ++i) {
      if (rotations_.axis_of(i) == axis) multiply<float>(offset, i);
    }
  }

  void find_block_rotors(index_t block, index_t axis) const {
    for (index_t i = 0; i < rotations_.pairs; ++i) {
      if (rotations_.axis_of(i) != axis) continue;
      const rotor rotation = policy_.relative_rotor(i, -block * rotation_block);
      block_rotors_[i] = static_cast<float>(rotation.real);
      block_rotors_[rotations_.pairs + i] = static_cast<float>(rotation.imaginary);
    }
  }

  /// Multiplies the rotors of the offset by the rotors of the block, into row_rotors_. `Real` is a
  /// float, for one pair, or a pack of floats, for a vector of pairs.
  template <class Real>
  RELPOS_INLINE void multiply(const float* offset, index_t pair) const {
    const index_t imaginary = pair + rotations_.pairs;
    const auto load = [](const float* source) RELPOS_LAMBDA {
      if constexpr (std::is_same_v<Real, float>) {
        return *source;
      } else {
        return Real::load(source);
      }
    };
    const auto store = [](Real x, float* out) RELPOS_LAMBDA {
      if constexpr (std::is_same_v<Real, float>) {
        *out = x;
      } else {
        x.store(out);
      }
    };
    const auto product =
        channel_pair<Real>{load(offset + pair), load(offset + imaginary)} *
        channel_pair<Real>{load(block_rotors_ + pair), load(block_rotors_ + imaginary)};
    store(product.a, row_rotors_ + pair);
    store(product.b, row_rotors_ + imaginary);
  }

  const Source& source_;
  const Rotation& policy_;
  rotation_rows rotations_;
  PositionOf position_of_;
  index_t channels_;
  float* stored_row_;
  float* block_rotors_;  // [2][pairs], for `blocks_`
  float* row_rotors_;    // [2][pairs]
  mutable std::array<index_t, static_cast<std::size_t>(max_axes)> blocks_{};
};

}  // namespace relpos::inline RELPOS_ABI
