#pragma once
// Loads of several vectors of stored numbers. Some conversions are faster for many numbers at once.

#include "relpos/core/storage.hpp"
#include "relpos/simd/avx512_vbmi.hpp"
#include "relpos/simd/block_ops.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa, int Vectors, class Stored>
RELPOS_INLINE void load_vectors(const Stored* source, float_pack<Isa> (&out)[Vectors]) {
  if constexpr (loads_blocks_of<Isa, Vectors, Stored>) {
    constexpr int block = block_ops<Isa, Stored>::vectors;
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; v += block) {
      block_ops<Isa, Stored>::load(source + v * lanes<Isa>, out + v);
    }
  } else {
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) out[v] = float_pack<Isa>::load(source + v * lanes<Isa>);
  }
}

}  // namespace relpos::inline RELPOS_ABI
