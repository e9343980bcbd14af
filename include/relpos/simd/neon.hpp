#pragma once
// NEON of 64-bit Arm: what instructions do better than the vector extensions in vector128.hpp.
// Every such processor has a fused multiply-add. Maximum and minimum stay with the extensions: fmax
// gives NaN where either is one, fmaxnm the number, and max the second.

#include "relpos/simd/block_ops.hpp"
#include "relpos/simd/vector128.hpp"

#if RELPOS_HAS_NEON

#include <arm_neon.h>

namespace relpos::inline RELPOS_ABI {

template <>
struct vector_ops<neon> : vector_ops<vector128> {
  static RELPOS_INLINE floats fma(floats a, floats b, floats c) { return vfmaq_f32(c, a, b); }
  static RELPOS_INLINE floats broadcast(const half& x) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(x.bits)));
  }
  using vector_ops<vector128>::broadcast;
  static RELPOS_INLINE floats floor(floats x) { return vrndmq_f32(x); }
  static RELPOS_INLINE floats add_neighbours(floats a, floats b) { return vpaddq_f32(a, b); }
  static RELPOS_INLINE bool any(ints condition) {
    return vmaxvq_u32(reinterpret_cast<uint32x4_t>(condition)) != 0;
  }
  // GCC 12 copies a vector to memory through two general registers.
  static RELPOS_INLINE void store(floats x, float* out) { vst1q_f32(out, x); }
  static RELPOS_INLINE floats load(const bfloat16* source) {
    return reinterpret_cast<floats>(vshll_n_u16(vld1_u16(bits_of(source)), 16));
  }
  static RELPOS_INLINE floats load(const half* source) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(bits_of(source))));
  }
  static RELPOS_INLINE floats load(const int8* source) {
    std::uint32_t four;
    __builtin_memcpy(&four, source, sizeof four);
    const int16x8_t wide = vmovl_s8(vcreate_s8(four));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
  }
  static RELPOS_INLINE words load(const std::uint8_t* source) {
    std::uint32_t four;
    __builtin_memcpy(&four, source, sizeof four);
    return reinterpret_cast<words>(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four)))));
  }

 private:
  template <class Stored>
  static RELPOS_INLINE const std::uint16_t* bits_of(const Stored* source) {
    return reinterpret_cast<const std::uint16_t*>(source);
  }
};

/// 16 numbers are one load.
template <>
struct block_ops<neon, int8> {
  static constexpr int vectors = 4;

  static RELPOS_INLINE void load(const int8* source, pack<float, neon>* out) {
    const int8x16_t bytes = vld1q_s8(reinterpret_cast<const std::int8_t*>(source));
    const int16x8_t halves[2] = {vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)};
    RELPOS_UNROLL
    for (int i = 0; i < 2; ++i) {
      out[2 * i] = pack<float, neon>(vcvtq_f32_s32(vmovl_s16(vget_low_s16(halves[i]))));
      out[2 * i + 1] = pack<float, neon>(vcvtq_f32_s32(vmovl_high_s16(halves[i])));
    }
  }
};

}  // namespace relpos::inline RELPOS_ABI

#endif
