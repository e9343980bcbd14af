#pragma once
// pair_pack: one pair of bfloat16 numbers per lane, with the sum of products that pair_ops.hpp
// defines.

#include <bit>
#include <cstdint>

#include "relpos/simd/bfloat16/avx512_bf16.hpp"
#include "relpos/simd/bfloat16/pair_ops.hpp"

namespace relpos::inline RELPOS_ABI {

/// Whether an instruction set has products of pairs. Plain arrays have them for tests; where they
/// replace vectors, in a .cu file, they would only be slow.
template <class Isa>
concept has_pair_products = RELPOS_HAS_VECTORS && requires { sizeof(pair_ops<Isa>); };

/// One pair per lane.
template <class Isa>
struct pair_pack {
  using words_type = pack<std::uint32_t, Isa>;
  using real = float_pack<Isa>;
  using ops = pair_ops<Isa>;

  words_type words;  // with the first number in the lower half

  pair_pack() = default;
  explicit RELPOS_INLINE pair_pack(words_type of_lanes) : words(of_lanes) {}
  explicit RELPOS_INLINE pair_pack(const bfloat16_pair& pair)
      : words(std::bit_cast<std::uint32_t>(pair)) {}

  static RELPOS_INLINE pair_pack load(const bfloat16_pair* source) {
    pair_pack result;
    __builtin_memcpy(&result.words, source, sizeof result.words);
    return result;
  }
  RELPOS_INLINE void store(bfloat16_pair* out) const {
    __builtin_memcpy(static_cast<void*>(out), &words, sizeof words);
  }
  RELPOS_INLINE void store(bfloat16* out) const {
    __builtin_memcpy(static_cast<void*>(out), &words, sizeof words);
  }

  static RELPOS_INLINE pair_pack rounded(real first, real second) {
    return pair_pack(ops::round(first, second));
  }
  static RELPOS_INLINE pair_pack rounded_neighbours(real x, real y) {
    return pair_pack(ops::round_neighbours(x, y));
  }
  static RELPOS_INLINE pair_pack joined(const bfloat16* first, const bfloat16* second) {
    return pair_pack(ops::join(first, second));
  }
};

template <class Isa>
RELPOS_INLINE float_pack<Isa> fma(pair_pack<Isa> a, pair_pack<Isa> b, float_pack<Isa> sum) {
  return pair_ops<Isa>::dot(sum, a.words, b.words);
}

}  // namespace relpos::inline RELPOS_ABI
