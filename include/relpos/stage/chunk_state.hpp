#pragma once
// Softmax over one chunk of keys, of each query row: what decode leaves to be merged.

#include "relpos/core/scratch.hpp"

namespace relpos::inline RELPOS_ABI {

/// Of one row: sum of weight * value, and, relative to the same maximum, the sum of weights.
struct chunk_state {
  float* outputs;  // [d_v]
  float* maximum;  // of the exponents, base 2
  float* sum;
};

class chunk_states {
 public:
  chunk_states() = default;
  chunk_states(scratch_divider& memory, index_t states, index_t value_dim)
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
