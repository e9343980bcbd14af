#pragma once
// A square of floats, a row per pack, transposed in registers.

#include "relpos/core/unroll.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

/// As many rows as there are lanes. Gathering the even and the odd lanes of neighbouring rows rotates the bits of
/// an element's address, row and lane, by one; after log2(lanes) times row and lane have changed places.
template <class Isa>
RELPOS_INLINE void transpose(float_pack<Isa> (&rows)[lanes<Isa>]) {
  constexpr int n = lanes<Isa>;
  constexpr int steps = __builtin_ctz(static_cast<unsigned>(n));
  unroll<steps>([&](auto) RELPOS_LAMBDA {
    float_pack<Isa> next[n];
    unroll<n / 2>([&](auto i) RELPOS_LAMBDA {
      next[i] = float_pack<Isa>::evens(rows[2 * i], rows[2 * i + 1]);
      next[i + n / 2] = float_pack<Isa>::odds(rows[2 * i], rows[2 * i + 1]);
    });
    unroll<n>([&](auto i) RELPOS_LAMBDA { rows[i] = next[i]; });
  });
}

}  // namespace relpos::inline RELPOS_ABI
