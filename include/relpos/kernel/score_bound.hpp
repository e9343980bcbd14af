#pragma once
// Which key tiles a query group may leave out with no change in any bit of the result: those where every
// weight would be exactly zero, because |q| |k| + bias stays further below the running maximum than exp2
// reaches. A weight that is exactly zero adds zero to the sum and to the output, and cannot raise the
// maximum; that is why the cut of exp2 is a cliff and not a slope into subnormals.
//
// The bound needs the largest key norm of each tile: one pass over K per call, made by prepare.

#include <cmath>
#include <limits>
#include <tuple>

#include "relpos/core/policy.hpp"
#include "relpos/core/row_source.hpp"
#include "relpos/kernel/query_group.hpp"
#include "relpos/simd/exp2.hpp"

namespace relpos::inline RELPOS_ABI {

/// Whether the biases of a call can be bounded: at least one says so, and the others do not raise scores
/// by an unknown amount.
template <class... Policies>
inline constexpr bool can_bound_scores =
    ((bounds_bias<bound_policy<Policies>> || ... || false)) &&
    ((bounds_bias<bound_policy<Policies>> || !is_bias<Policies>) && ... && true);

/// The largest bias over the distances [first, last], in units of the exponent.
template <class... Policies>
float largest_bias(const std::tuple<Policies...>& bound, index first, index last, float factor) {
  float largest = 0.0f;
  const auto add = [&](const auto& policy) {
    if constexpr (bounds_bias<std::decay_t<decltype(policy)>>) {
      largest += policy.upper_bound(first, last) * factor;
    }
  };
  std::apply([&](const auto&... each) { (add(each), ...); }, bound);
  return largest;
}

/// The largest Euclidean norm of rows [first, last); NaN or infinite if one of them is.
template <row_source Rows>
float largest_norm(const Rows& rows, index first, index last, index channels, float* row_buffer) {
  float largest = 0.0f;
  for (index row = first; row < last; ++row) {
    const float* at = rows.in_place(row);
    if (at == nullptr) {
      rows.load(row, row_buffer);
      at = row_buffer;
    }
    // Eight sums: one would wait for each addition, and compilers may not reorder them.
    constexpr index parts = 8;
    float square[parts] = {};
    index c = 0;
    for (; c + parts <= channels; c += parts) {
      for (index i = 0; i < parts; ++i) square[i] += at[c + i] * at[c + i];
    }
    for (; c < channels; ++c) square[0] += at[c] * at[c];
    float total = 0.0f;
    for (const float part : square) total += part;
    if (!(total <= largest)) largest = total;
    if (std::isnan(largest)) break;
  }
  return std::sqrt(largest);
}

/// True if no weight of the group's queries in this tile can differ from zero. False whenever the bound is
/// not finite.
template <class Isa>
bool tile_vanishes(const query_group<Isa>& group, float largest_key_norm, float largest_tile_bias,
                   float softcap) {
  using real = float_pack<Isa>;
  // Rounding, of the norms and of the scores they bound: below (head_dim + 8) / 2^24 of |q| |k|, and of
  // the sums that follow below a millionth of their terms. Squares that underflow in a norm: below 0.01
  // in the product with any norm whose own square is finite.
  constexpr float norm_slack = 1.001f;
  constexpr float slack = 1e-6f;
  constexpr float underflow_slack = 0.01f;
  const real key_norm(largest_key_norm * norm_slack);
  const real bias(largest_tile_bias);
  for (index lane = 0; lane < group.width; lane += lanes<Isa>) {
    real score = real::load(group.norm + lane) * key_norm;
    if (softcap != 0.0f) score = real(softcap) * min(score, real(1.0f));
    const real maximum = real::load(group.maximum + lane);
    const real rounding = real(slack) * (score + abs(bias) + abs(maximum)) + real(underflow_slack);
    const real bound = score + bias + rounding - maximum;
    // Written so that a NaN is "may not vanish".
    const auto vanishes =
        (bound < real(exp2_cut)) & (real(std::numeric_limits<float>::lowest()) <= bound);
    if (any(vanishes == int_pack<Isa>(0))) return false;
  }
  return true;
}

}  // namespace relpos::inline RELPOS_ABI
