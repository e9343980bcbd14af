#pragma once
// 16-byte vectors without an intrinsic: what every processor that GCC and clang compile for can do.

#include "relpos/simd/vector_pack.hpp"

#if RELPOS_HAS_VECTORS

namespace relpos::inline RELPOS_ABI {

template <>
struct vector_ops<vector128> {
  using floats = vector_type<float, vector128>;
  using ints = vector_type<std::int32_t, vector128>;
  using words = vector_type<std::uint32_t, vector128>;

  static RELPOS_INLINE floats broadcast(float x) { return floats{x, x, x, x}; }
  static RELPOS_INLINE ints broadcast(std::int32_t x) { return ints{x, x, x, x}; }
  static RELPOS_INLINE words broadcast(std::uint32_t x) { return words{x, x, x, x}; }
  static RELPOS_INLINE floats fma(floats a, floats b, floats c) { return a * b + c; }
  static RELPOS_INLINE floats max(floats a, floats b) { return a > b ? a : b; }
  static RELPOS_INLINE floats min(floats a, floats b) { return a < b ? a : b; }
  static RELPOS_INLINE bool any(ints condition) {
    return (condition[0] | condition[1] | condition[2] | condition[3]) != 0;
  }
  template <cache_storage S>
  static RELPOS_INLINE floats load(const S* from) {
    return floats{static_cast<float>(from[0]), static_cast<float>(from[1]),
                  static_cast<float>(from[2]), static_cast<float>(from[3])};
  }
};

}  // namespace relpos::inline RELPOS_ABI

#endif
