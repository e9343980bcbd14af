#pragma once
// The transposition of a square of floats in registers, one row per pack.

#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

/// Transposes `rows`, one row per lane. Each step gathers the even and the odd lanes of
/// neighbouring rows, which rotates the bits of an element's address, row and lane, by one. After
/// log2(lanes) steps row and lane have changed places.
template <class Isa>
RELPOS_INLINE void transpose(float_pack<Isa> (&rows)[lanes<Isa>]) {
  constexpr int n = lanes<Isa>;
  constexpr int steps = __builtin_ctz(static_cast<unsigned>(n));
  RELPOS_UNROLL
  for (int step = 0; step < steps; ++step) {
    float_pack<Isa> next[n];
    RELPOS_UNROLL
    for (int i = 0; i < n / 2; ++i) {
      next[i] = float_pack<Isa>::evens(rows[2 * i], rows[2 * i + 1]);
      next[i + n / 2] = float_pack<Isa>::odds(rows[2 * i], rows[2 * i + 1]);
    }
    RELPOS_UNROLL
    for (int i = 0; i < n; ++i) rows[i] = next[i];
  }
}

}  // namespace relpos::inline RELPOS_ABI
