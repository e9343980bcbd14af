#pragma once
// Loads of stored rows as floats, from any channel on. Some conversions are faster for many numbers
// at once.

#include "relpos/core/index.hpp"
#include "relpos/core/storage.hpp"
#include "relpos/simd/avx512_vbmi.hpp"
#include "relpos/simd/block_ops.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

/// The channels of a row from `channel` on, a multiple of the number of lanes.
template <class Isa, class Stored>
RELPOS_INLINE float_pack<Isa> load_channels(const Stored* row, index_t channel) {
  if constexpr (grouped_storage<Stored>) {
    return storage_traits<Stored>::template load<float_pack<Isa>>(row, channel);
  } else {
    return float_pack<Isa>::load(row + channel);
  }
}

/// `Vectors` vectors of channels of a row, from `channel` on: a multiple of their channels.
template <class Isa, int Vectors, class Stored>
RELPOS_INLINE void load_vectors(const Stored* row, index_t channel,
                                float_pack<Isa> (&out)[Vectors]) {
  if constexpr (loads_blocks_of<Isa, Vectors, Stored>) {
    constexpr int block = block_ops<Isa, Stored>::vectors;
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; v += block) {
      block_ops<Isa, Stored>::load(row + (channel + v * lanes<Isa>) / channels_of_element<Stored>,
                                   out + v);
    }
  } else {
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) out[v] = load_channels<Isa>(row, channel + v * lanes<Isa>);
  }
}

}  // namespace relpos::inline RELPOS_ABI
