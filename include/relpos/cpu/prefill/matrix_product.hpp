#pragma once
// The two products of prefill by a matrix unit, over panels of 32 keys (key_tile.hpp). K and V are
// its first operand, queries and weights, as they are packed for vectors, its second.

#include <algorithm>
#include <cmath>

#include "relpos/cpu/prefill/micro_kernel.hpp"
#include "relpos/cpu/prefill/operand.hpp"

namespace relpos::inline RELPOS_ABI {

/// out[key][query] = sum over channels of keys[key][channel] * queries[channel][query], for the
/// keys of a panel and all vectors of queries but the first `Skipped`. Rows have `pairs` pairs.
template <class Isa, int Skipped, int Vectors>
RELPOS_INLINE void multiply_panel(matrix_unit<Isa>& unit, const bfloat16_pair* keys,
                                  const bfloat16_pair* queries, index_t pairs, float* out) {
  using unit_type = matrix_unit<Isa>;
  constexpr index_t width = Vectors * lanes<Isa>;
  for (index_t row = 0; row < summed_numbers<Isa>; row += unit_type::rows) {
    unit.template clear<Skipped, Vectors>();
    for (index_t c = 0; c < pairs; c += unit_type::depth) {
      unit.template multiply<Skipped, Vectors>(keys + row * pairs + c, pairs, queries + c * width,
                                               width);
    }
    unit.template store<Skipped, Vectors>(out + row * width, width);
  }
}

/// A square of a panel of values, [channel][pair of keys].
template <class Isa>
struct value_square {
  static constexpr index_t channels = matrix_unit<Isa>::rows;
  static constexpr index_t depth = matrix_unit<Isa>::depth;
  static constexpr index_t size = channels * depth;
  static_assert(channels == lanes<Isa> && depth == lanes<Isa>,
                "values are transposed as squares of a vector's lanes");

  bfloat16_pair pairs[size];

  /// Copies a square; infinities and NaN become zero.
  void copy_finite(const bfloat16_pair* source) {
    const auto finite = [](bfloat16 x) { return is_finite(x) ? x : bfloat16(); };
    std::transform(source, source + size, pairs, [&](const bfloat16_pair& pair) {
      return bfloat16_pair{finite(pair.first), finite(pair.second)};
    });
  }

  /// Adds the products that copy_finite left out to sums[channel][query] of one vector of queries,
  /// in rows of `width`, unless their weight is exactly zero.
  static void add_others(const bfloat16_pair* source, const bfloat16_pair* weights, index_t width,
                         float* sums) {
    for (index_t i = 0; i < size; ++i) {
      const bfloat16_pair& value = source[i];
      if (is_finite(value.first) && is_finite(value.second)) continue;
      const bfloat16_pair* const weight = weights + i % depth * width;
      float* const sum = sums + i / depth * width;
      for (index_t lane = 0; lane < lanes<Isa>; ++lane) {
        sum[lane] = add_other(value.first, weight[lane].first, sum[lane]);
        sum[lane] = add_other(value.second, weight[lane].second, sum[lane]);
      }
    }
  }

 private:
  static bool is_finite(bfloat16 x) { return std::isfinite(static_cast<float>(x)); }
  static float add_other(bfloat16 value, bfloat16 weight, float sum) {
    if (is_finite(value) || static_cast<float>(weight) == 0.0f) return sum;
    return sum + static_cast<float>(value) * static_cast<float>(weight);
  }
};

/// accumulate_values (micro_kernel.hpp) over the panels of the live keys. `guarded`: some values
/// are not finite, and do not meet weights of exactly zero.
template <class Isa, int Vectors>
RELPOS_NOINLINE void accumulate_panels(matrix_unit<Isa>& unit, const bfloat16_pair* const* panels,
                                       const bfloat16_pair* weights,
                                       const needed_keys<Vectors>& operands, index_t channels,
                                       const float_pack<Isa> (&rescale)[Vectors], bool is_first,
                                       bool guarded, float* outputs) {
  using real = float_pack<Isa>;
  using square = value_square<Isa>;
  constexpr index_t width = Vectors * lanes<Isa>;
  constexpr index_t depth = square::depth;
  alignas(64) float sums[square::channels * width];
  for (index_t c = 0; c < channels; c += square::channels) {
    unit.template clear<0, Vectors>();
    operands.template for_each<depth>([&](index_t k, auto skipped) RELPOS_LAMBDA {
      const bfloat16_pair* values = panels[k / depth] + c * depth;
      square finite;
      if (guarded) {
        finite.copy_finite(values);
        values = finite.pairs;
      }
      unit.template multiply<skipped, Vectors>(values, depth, weights + k * width, width);
    });
    unit.template store<0, Vectors>(sums, width);
    if (guarded) {
      for (int v = 0; v < Vectors; ++v) {
        for (index_t k = 0; k < operands.count[v]; k += depth) {
          square::add_others(panels[k / depth] + c * depth, weights + k * width + v * lanes<Isa>,
                             width, sums + v * lanes<Isa>);
        }
      }
    }
    const index_t rows = std::min<index_t>(square::channels, channels - c);
    for (index_t r = 0; r < rows; ++r) {
      float* const output = outputs + (c + r) * width;
      RELPOS_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        const real sum = real::load(sums + r * width + v * lanes<Isa>);
        const real earlier = is_first ? real(0.0f) : real::load(output + v * lanes<Isa>);
        fma(rescale[v], earlier, sum).store(output + v * lanes<Isa>);
      }
    }
  }
}

}  // namespace relpos::inline RELPOS_ABI
