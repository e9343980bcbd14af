#pragma once
// Four bits per number, in groups of neighbouring channels with a scale and a zero point each:
//
//   x_c = zero + scale code_c,   code_c from 0 to 15
//
// Keys and values are both in groups of the channels of one token. KIVI (Liu et al., arXiv
// 2402.02750) has groups of tokens for keys, one for each channel, because a few channels of keys
// are large in all tokens. Such a group is complete only after 32 or more tokens, which contradicts
// appending and truncating row by row. A group of few channels confines a large channel to its
// neighbours.
//
// int4_group<32> has the layout of ggml's block_q4_1.

#include <cstdint>

#include "relpos/core/index.hpp"
#include "relpos/core/storage.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup storage
/// @{

/// Storage of a cache only: 32 or 64 channels of four bits, with a scale and a zero point.
///
/// Byte i holds channel i in its lower half and channel i + Channels / 2 in its upper half.
///
/// @copydoc int4.hpp
/// @snippet reference.cpp int4
template <int Channels>
struct RELPOS_MAY_ALIAS int4_group {
  static_assert(Channels == 32 || Channels == 64, "relpos: a group has 32 or 64 channels");

  half scale;                             ///< of a code
  half zero;                              ///< the number of code 0
  std::uint8_t codes[Channels / 2] = {};  ///< two to a byte

  /// The code of a channel, from 0 to 15.
  constexpr std::uint32_t code(index_t channel) const {
    constexpr index_t middle = Channels / 2;
    const std::uint32_t byte = codes[channel % middle];
    return channel < middle ? byte & 15u : byte >> 4;
  }
  /// Sets the code of a channel, from 0 to 15.
  constexpr void set_code(index_t channel, std::uint32_t code) {
    constexpr index_t middle = Channels / 2;
    std::uint8_t& byte = codes[channel % middle];
    byte = static_cast<std::uint8_t>(channel < middle ? (byte & 0xf0u) | code
                                                      : (byte & 0x0fu) | code << 4);
  }
  /// The number of a channel. The product is exact, so the value is rounded once, whether or not it
  /// is fused with the sum.
  constexpr float value(index_t channel) const {
    return static_cast<float>(code(channel)) * static_cast<float>(scale) + static_cast<float>(zero);
  }
};

/// @}

/// @cond
template <int Channels>
struct storage_traits<int4_group<Channels>> {
  static constexpr bool is_tensor = false;
  static constexpr bool is_scaled = false;
  static constexpr bool is_always_finite = false;
  static constexpr index_t channels = Channels;

  /// Channels from `first` on, as many as a Pack of floats has; all in one half of a group.
  template <class Pack>
  static RELPOS_INLINE Pack load(const int4_group<Channels>* row, index_t first) {
    using words = typename Pack::template same_lanes<std::uint32_t>;
    constexpr index_t middle = Channels / 2;
    static_assert(middle % Pack::size == 0);
    const int4_group<Channels>& group = row[first / Channels];
    const index_t channel = first % Channels;
    const int shift = channel < middle ? 0 : 4;
    const words bytes = words::of_bytes(group.codes + channel % middle);
    const words codes = shift_right(bytes, shift) & words(15u);
    // code + 2^23, as the bits of a float
    const Pack numbers = (codes + words(0x4b000000u)).template bits_as<float>() - Pack(0x1p23f);
    // Rounded down, a difference of zero has a sign.
    return fma(abs(numbers), Pack::broadcast(group.scale), Pack::broadcast(group.zero));
  }
};

/// @endcond

}  // namespace relpos::inline RELPOS_ABI
