#pragma once
// The operands of the two products of prefill: floats, or pairs of bfloat16 numbers. The score
// product pairs neighbouring channels, the value product pairs the keys at positions 2 i and
// 2 i + 1. A matrix unit, where there is one, multiplies 16 pairs of channels or keys at once.

#include <concepts>
#include <type_traits>

#include "relpos/call/kv_source.hpp"
#include "relpos/call/options.hpp"
#include "relpos/simd/bfloat16/amx.hpp"
#include "relpos/simd/bfloat16/matrix_unit.hpp"
#include "relpos/simd/bfloat16/pair_pack.hpp"
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

/// Whether a matrix unit multiplies the operands.
template <class Isa, class Operand>
inline constexpr bool in_matrices = is_pair<Operand> && has_matrix_unit<Isa>;

/// The unit that a work item holds while it multiplies.
struct no_unit {};
template <class Isa, class Operand>
struct product_unit {
  using type = no_unit;
};
template <class Isa, class Operand>
  requires in_matrices<Isa, Operand>
struct product_unit<Isa, Operand> {
  using type = matrix_unit<Isa>;
};

/// Refuses a call whose prefill needs a matrix unit that the system withholds.
template <class Isa, class Problem>
status check_matrix_unit([[maybe_unused]] const Problem& problem) {
  if constexpr (has_matrix_unit<Isa>) {
    if (!call_multiplies_pairs<Isa>(problem)) return {};
    for (index_t sequence = 0; sequence < problem.shape.batch; ++sequence) {
      if (!is_decoded(problem.opts, problem.shape_of(sequence))) {
        return matrix_unit<Isa>::permission();
      }
    }
  }
  return {};
}

/// The numbers that a product of a matrix unit sums: operands are padded with zeros to a multiple.
template <class Isa>
inline constexpr index_t summed_numbers = 2;
template <class Isa>
  requires has_matrix_unit<Isa>
inline constexpr index_t summed_numbers<Isa> = 2 * matrix_unit<Isa>::depth;

/// The pairs in a padded row of keys or queries.
template <class Isa>
constexpr index_t padded_pairs(index_t channels) {
  return ceil_div(channels, summed_numbers<Isa>) * summed_numbers<Isa> / 2;
}
/// The channels in a padded tile of values.
template <class Isa>
constexpr index_t padded_values(index_t channels) {
  if constexpr (has_matrix_unit<Isa>) {
    return ceil_div(channels, index_t{matrix_unit<Isa>::rows}) * matrix_unit<Isa>::rows;
  } else {
    return channels;
  }
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
