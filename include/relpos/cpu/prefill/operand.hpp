#pragma once
// The operands of the two products of prefill: floats, or pairs of bfloat16 numbers. The score
// product pairs neighbouring channels, the value product pairs the keys at positions 2 i and
// 2 i + 1.

#include <concepts>
#include <type_traits>

#include "relpos/call/kv_source.hpp"
#include "relpos/call/options.hpp"
#include "relpos/simd/bfloat16_pair.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Operand>
inline constexpr bool is_pair = std::same_as<Operand, bfloat16_pair>;

/// The number of channels or keys in one operand.
template <class Operand>
inline constexpr int numbers_of = is_pair<Operand> ? 2 : 1;

/// Whether calls over a source can multiply pairs: only these compile the kernel for pairs.
template <class Isa, class Source>
inline constexpr bool compiles_pairs = has_pair_products<Isa> && holds_bfloat16<Source>;

/// Whether prefill multiplies pairs in a call.
template <class Isa, class Problem>
bool call_multiplies_pairs(const Problem& problem) {
  return compiles_pairs<Isa, typename Problem::source_type> &&
         problem.opts.arithmetic == arithmetic_type::bfloat16;
}

/// The largest factor by which rounding may increase |q| |k|: 1 + 2^-8 for each of two numbers,
/// with room to spare.
template <class Operand>
inline constexpr float rounding_slack = is_pair<Operand> ? 1.01f : 1.0f;

/// One operand per lane.
template <class Isa, class Operand>
using operand_pack = std::conditional_t<is_pair<Operand>, pair_pack<Isa>, float_pack<Isa>>;

/// fma(value, weight, sum) without the products whose weight is exactly zero: their value may be
/// infinite or not a number.
template <class Isa>
RELPOS_INLINE float_pack<Isa> fma_where_weighted(float_pack<Isa> value, float_pack<Isa> weight,
                                                 float_pack<Isa> sum) {
  return select(weight == float_pack<Isa>(0.0f), sum, fma(value, weight, sum));
}
template <class Isa>
RELPOS_INLINE float_pack<Isa> fma_where_weighted(pair_pack<Isa> value, pair_pack<Isa> weight,
                                                 float_pack<Isa> sum) {
  using words = typename pair_pack<Isa>::words_type;
  const auto half = [&](std::uint32_t bits) RELPOS_LAMBDA {
    const auto is_zero = (weight.words & words(bits)) == words(0u);
    return select(is_zero, words(0u), value.words & words(bits));
  };
  return fma(pair_pack<Isa>(half(0x0000ffffu) + half(0xffff0000u)), weight, sum);
}

/// 0 for finite numbers, else NaN.
RELPOS_INLINE float zero_if_finite(float x) { return x * 0.0f; }
RELPOS_INLINE float zero_if_finite(const bfloat16_pair& x) {
  return static_cast<float>(x.first) * 0.0f + static_cast<float>(x.second) * 0.0f;
}

}  // namespace relpos::inline RELPOS_ABI
