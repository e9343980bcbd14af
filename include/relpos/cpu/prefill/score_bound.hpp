#pragma once
// The bound by which a query group skips key tiles without a change in any bit of the result. It
// skips a tile if every weight would be exactly zero, because |q| |k| + bias is further below the
// running maximum than the cut of exp2. A weight of exactly zero adds zero to the sum and to the
// output, and cannot raise the maximum. That is why exp2 drops to zero at its cut, without
// subnormal results.
//
// With a tolerance, a group also skips tiles whose weights are negligible beside the sum so far,
// which only grows.
//
// The bound needs the largest key norm of each tile: prepare computes it in one pass over K per
// call.

#include <cmath>
#include <limits>

#include "relpos/call/kv_source.hpp"
#include "relpos/contract/bias_bound.hpp"
#include "relpos/cpu/prefill/query_group.hpp"
#include "relpos/simd/exp2.hpp"

namespace relpos::inline RELPOS_ABI {

/// The largest Euclidean norm of rows [first, last); NaN or infinite if one of them is.
template <row_source Rows>
float largest_norm(const Rows& rows, index_t first, index_t last, index_t channels,
                   float* row_buffer) {
  float largest = 0.0f;
  for (index_t row = first; row < last; ++row) {
    const float* const values = read_row(rows, row, row_buffer);
    // Eight sums: one would wait for each addition, and compilers may not reorder them.
    constexpr index_t parts = 8;
    float square[parts] = {};
    index_t c = 0;
    for (; c + parts <= channels; c += parts) {
      for (index_t i = 0; i < parts; ++i) square[i] += values[c + i] * values[c + i];
    }
    for (; c < channels; ++c) square[0] += values[c] * values[c];
    float total = 0.0f;
    for (const float part : square) total += part;
    if (!(total <= largest)) largest = total;
    if (std::isnan(largest)) break;
  }
  return std::sqrt(largest);
}

/// True if every weight of the group's queries in this tile is at most `negligible` times its row's
/// sum so far; with `negligible` 0, exactly zero. False whenever the bound is not finite.
template <class Isa>
bool tile_vanishes(const query_group<Isa>& group, index_t head_dim, float largest_key_norm,
                   bias_bound tile_bias, float softcap, float negligible) {
  using real = float_pack<Isa>;
  // Slack for rounding. The norms and the scores they bound: below (head_dim + 8) / 2^22 times
  // |q| |k|. The sums that follow: below a millionth of their terms. Squares that underflow in a
  // norm: below 0.01 in the product with any norm whose own square is finite.
  const float norm_slack = 1.0f + static_cast<float>(head_dim + 8) * 0x1p-22f;
  constexpr float slack = 1e-6f;
  constexpr float underflow_slack = 0.01f;
  const real key_norm(largest_key_norm * norm_slack);
  const real bias(tile_bias.largest);
  const real magnitude(tile_bias.magnitude);
  for (index_t lane = 0; lane < group.width; lane += lanes<Isa>) {
    real score = real::load(group.norm + lane) * key_norm;
    if (softcap != 0.0f) {
      const real unless_finite = score - score;  // NaN: softcap must not hide it
      score = real(softcap) * min(score, real(1.0f)) + unless_finite;
    }
    const real maximum = real::load(group.maximum + lane);
    const real rounding = real(slack) * (score + magnitude + abs(maximum)) + real(underflow_slack);
    const real bound = score + bias + rounding - maximum;
    // Written so that NaN returns false. The power is exactly 0 below the cut of exp2.
    const real largest_weight = exp2<Isa>(min(bound, real(0.0f)));
    const auto vanishes = (largest_weight <= real(negligible) * real::load(group.sum + lane)) &
                          (real(std::numeric_limits<float>::lowest()) <= bound);
    if (any(vanishes == int_pack<Isa>(0))) return false;
  }
  return true;
}

}  // namespace relpos::inline RELPOS_ABI
