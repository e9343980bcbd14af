#pragma once
// The data that a rotating policy provides to the kernels. Pair i of a row's channels, (a, b) read
// as a + i b, is multiplied by a complex number that depends on the row's position. The product of
// a query and a key contains only the quotient of the two numbers:
//
//   q.k = sum over pairs of Re(q conj(k) rotor(pair, k_pos - q_pos))
//
// Positions lie in blocks of 512: position = 512 block + offset. The kernel rotates queries and
// keys by their offsets, from tables of 512 rows that are the same for every block, and rotates
// queries once more by the rotor between the two blocks. So no number grows with a position: if the
// rotor decays, a stored key is scaled by at most its decay over 512 positions, and no key
// overflows at any length.

#include <cstdint>

#include "relpos/core/index.hpp"
#include "relpos/core/math.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup frequencies
/// @{

/// The two channels of a row that are pair i.
///
/// A model is trained with one layout; the other layout returns wrong numbers without an error.
enum class pair_layout {
  interleaved,  ///< 2 i and 2 i + 1: the paper, GPT-J, torchscale, Meta's Llama
  half_split    ///< i and i + pairs: GPT-NeoX, Hugging Face
};

/// @}

/// A pair of channels, or the factor of a pair: the complex number a + i b. `Real` is a number or a
/// vector of numbers.
template <class Real>
struct channel_pair {
  Real a;
  Real b;

  friend RELPOS_INLINE constexpr channel_pair operator*(channel_pair x, channel_pair factor) {
    return {fma(x.a, factor.a, -(x.b * factor.b)), fma(x.a, factor.b, x.b * factor.a)};
  }
};

/// @addtogroup own_policies
/// @{

/// The complex factor of a pair in a score: real + i imaginary.
struct rotor {
  double real = 1.0;       ///< the real part
  double imaginary = 0.0;  ///< the imaginary part
};
/// @deprecated Renamed to rotor.
using turn [[deprecated("relpos: renamed to rotor")]] = rotor;

/// The largest number of axes of a token's position that a rotation reads.
inline constexpr index_t max_axes = 4;

/// The number of positions in a block.
inline constexpr index_t rotation_block = 512;

/// @}

/// The channels of a row that rotate, [first, end()); all others stay.
struct rotated_channels {
  index_t first = 0;
  index_t pairs = 0;
  pair_layout layout = pair_layout::half_split;

  constexpr index_t end() const { return first + 2 * pairs; }
};

/// @addtogroup own_policies
/// @{

/// The tables of a rotating policy, for the positions of a block.
///
/// Row r of a table is for offset r in a block: real parts of all pairs, then imaginary parts.
///
/// @copydoc rotation.hpp
struct rotation_rows {
  index_t pairs = 0;                             ///< of channels
  pair_layout layout = pair_layout::half_split;  ///< the channels of a pair
  const float* queries = nullptr;                ///< [rotation_block][2][pairs]
  const float* keys = nullptr;                   ///< the same size; the product uses the conjugate
  bool decays = false;  ///< the rotors of queries and keys differ in magnitude
  /// The axis of a token's position by which each pair rotates; null: all by the first.
  const std::uint8_t* axis_of_pair = nullptr;
  index_t axes = 1;           ///< the number of axes, up to max_axes
  index_t first_channel = 0;  ///< of the pairs

  /// @privatesection Kernels call these members.
  constexpr rotated_channels channels() const { return {first_channel, pairs, layout}; }
  constexpr index_t axis_of(index_t pair) const {
    return axis_of_pair == nullptr ? 0 : axis_of_pair[pair];
  }
  static constexpr index_t block_of(index_t position) {
    return floor_div(position, rotation_block);
  }
  constexpr const float* row_of(const float* table, index_t position) const {
    return table + (position - block_of(position) * rotation_block) * 2 * pairs;
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
