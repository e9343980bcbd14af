#pragma once
// 16-byte vectors without intrinsics, for every processor that GCC and clang compile for: SSE2 on
// x86-64.

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
  static RELPOS_INLINE floats load(const bfloat16* source) {
    return reinterpret_cast<floats>(widen(source) << 16);
  }
  /// Four numbers, converted like half::operator float.
  static RELPOS_INLINE floats load(const half* source) {
    const ints bits = widen(source);
    const ints magnitude = bits & 0x7fff;
    const ints subnormal =
        reinterpret_cast<ints>(__builtin_convertvector(magnitude, floats) * 0x1p-24f);
    const ints special = (magnitude >= 0x7c00) & 0x38000000;
    const ints quiet = (magnitude > 0x7c00) & 0x00400000;
    const ints normal = (((magnitude << 13) + 0x38000000) + special) | quiet;
    const ints sign = (bits & 0x8000) << 16;
    return reinterpret_cast<floats>((magnitude < 0x0400 ? subnormal : normal) | sign);
  }
  static RELPOS_INLINE floats load(const int8* source) {
    return floats{static_cast<float>(source[0]), static_cast<float>(source[1]),
                  static_cast<float>(source[2]), static_cast<float>(source[3])};
  }

 private:
  template <class S>
  static RELPOS_INLINE ints widen(const S* source) {
    vector_of<std::uint16_t, 8>::type bits;
    __builtin_memcpy(&bits, source, sizeof bits);
    return __builtin_convertvector(bits, ints);
  }
};

}  // namespace relpos::inline RELPOS_ABI

#endif
