#pragma once
// The online softmax (Milakov and Gimelshein, arXiv 1805.02867). The state of a row over the keys
// so far is m, the largest exponent, base 2, and S, the sum of weights 2^(s - m). Further keys
// raise m, and the earlier sums are rescaled:
//
//   start   m = lowest float, S = 0
//   add     S = S 2^(m - m') + sum of 2^(s - m'),   m' = max(m, s)
//   merge   S = S_a 2^(m_a - m) + S_b 2^(m_b - m),  m = max(m_a, m_b)
//   finish  out = O 2^(m - top) / total,   lse = ln 2 (top + log2 total),
//           total = S 2^(m - top) + 2^(sink - top),   top = max(m, sink)
//
// The kernels add keys in their own loops, which differ in the registers that hold m and S and in
// the order of the sum. Callers choose `exp2`: relpos::exp2 for vectors, std::exp2 for one row, the
// instruction on a GPU, which returns 0 instead of subnormals. Prefill finishes rows by finish_row; decode finishes them
// while it merges chunks (cpu/decode/merge.hpp, cuda/decode/merge.hpp).

#include <cmath>
#include <limits>

#include "relpos/call/scale.hpp"
#include "relpos/core/math.hpp"
#include "relpos/core/workspace.hpp"

namespace relpos::inline RELPOS_ABI {

/// The maximum of a row that has seen no key. It is below any score, and finite, so that
/// subtracting it from itself is not NaN.
inline constexpr float no_maximum = std::numeric_limits<float>::lowest();

/// The factor of a state's sums in a merge; 0 for a state without keys, whatever its maximum.
template <class Exp2>
constexpr float state_weight(const Exp2& exp2, float maximum, float sum, float top) {
  return sum == 0.0f ? 0.0f : exp2(maximum - top);
}

/// The natural logarithm of the sum of exponentials, 2^top total; -inf if `total` is 0. Call it only
/// for rows whose lse is requested: it computes a logarithm.
RELPOS_HOST_DEVICE inline float lse_of(float top, float total) {
  if (total == 0.0f) return -std::numeric_limits<float>::infinity();
  return (top + std::log2(total)) * ln2;
}

/// The factor of a row's outputs, and the two terms of its lse, lse_of(top, total). A row that sees
/// no key has the factor 0; without a sink its lse is -inf. `Real` is a float, for one row, or a
/// vector, for several rows.
template <class Real>
struct finished_row {
  Real factor;
  Real top;
  Real total;
};

/// The factor and lse terms of a row with this state. `sink` is an exponent, base 2; -inf without a
/// sink.
template <class Exp2, class Real>
RELPOS_INLINE constexpr finished_row<Real> finish_row(const Exp2& exp2, Real maximum, Real sum,
                                                      Real sink) {
  const Real zero(0.0f);
  // 2^-256 is 0 in float. 2^-inf, without a sink, would raise the flag of an invalid operation.
  const Real vanishing(-256.0f);
  const Real top = max(maximum, sink);
  const Real kept = exp2(max(min(maximum - sink, zero), vanishing));
  const Real sink_weight = exp2(max(sink - top, vanishing));
  const Real total = sum * kept + sink_weight;
  return {select(total == zero, zero, kept / total), top, total};
}

// The softmax state of each query row over one chunk of keys. Decode writes the states, and the
// merge combines them.

/// The state of one row: the sum of weight * value and the sum of weights, both relative to
/// `maximum`.
struct chunk_state {
  float* outputs;  // [d_v]
  float* maximum;  // of the exponents, base 2
  float* sum;
};

class chunk_states {
 public:
  chunk_states() = default;
  chunk_states(arena& memory, index_t states, index_t value_dim)
      : data_(memory.take<float>(states * (value_dim + 2))), width_(value_dim + 2) {}

  constexpr chunk_state at(index_t i) const {
    float* const state = data_ + i * width_;
    return {state + 2, state, state + 1};
  }

 private:
  float* data_ = nullptr;  // [state][maximum, sum, outputs]
  index_t width_ = 0;
};

}  // namespace relpos::inline RELPOS_ABI
