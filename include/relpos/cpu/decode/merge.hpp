#pragma once
// The merge of the states that decode stores for the chunks of a row's keys, in the order of the
// chunks (stage/softmax.hpp).

#include <cmath>

#include "relpos/call/scale.hpp"
#include "relpos/core/math.hpp"
#include "relpos/core/view.hpp"
#include "relpos/cpu/work_plan.hpp"
#include "relpos/stage/softmax.hpp"

namespace relpos::inline RELPOS_ABI {

/// The largest exponent of a row's keys; the lowest float if no chunk has a key.
inline float largest_exponent(const attention_shape& shape, const decoded_sequence& sequence,
                              const chunk_states& states, index_t head, index_t row) {
  float largest = no_maximum;
  for (index_t chunk = 0; chunk < sequence.geometry.chunks; ++chunk) {
    const chunk_state state = states.at(sequence.state_of(shape, head, row, chunk));
    if (*state.sum != 0.0f) largest = max(*state.maximum, largest);
  }
  return largest;
}

/// Writes one row of out and of lse, which may be null. `shape`, out and lse belong to one sequence;
/// `sink` is an exponent, base 2.
template <class Out>
void merge_decoded(const attention_shape& shape, const decoded_sequence& sequence,
                   const chunk_states& states, index_t head, index_t row, float sink,
                   const view<Out, 4>& out, const view<float, 3>& lse) {
  const index_t chunks = sequence.geometry.chunks;
  const index_t channels = shape.value_dim;
  const auto state_of = [&](index_t chunk) {
    return states.at(sequence.state_of(shape, head, row, chunk));
  };
  const float top = max(largest_exponent(shape, sequence, states, head, row), sink);
  float total = std::exp2(sink - top);
  float* sum = nullptr;  // of outputs, in the memory of the first chunk with keys
  for (index_t chunk = 0; chunk < chunks; ++chunk) {
    const chunk_state state = state_of(chunk);
    if (*state.sum == 0.0f) continue;
    const float weight = std::exp2(*state.maximum - top);
    total += *state.sum * weight;
    if (sum == nullptr) {
      sum = state.outputs;
      for (index_t c = 0; c < channels; ++c) sum[c] *= weight;
    } else {
      for (index_t c = 0; c < channels; ++c) sum[c] += weight * state.outputs[c];
    }
  }
  for (index_t c = 0; c < channels; ++c) {
    out(0, head, row, c) = static_cast<Out>(sum == nullptr ? 0.0f : sum[c] / total);
  }
  if (lse.data != nullptr) lse(0, head, row) = lse_of(top, total);
}

}  // namespace relpos::inline RELPOS_ABI
