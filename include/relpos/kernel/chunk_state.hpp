#pragma once
// Softmax over one chunk of keys, of each query row: what decode leaves to be merged.

#include "relpos/core/scratch.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/kernel/decode_geometry.hpp"

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
  /// `rows` of queries in each sequence.
  chunk_states(scratch_divider& memory, const attention_shape& shape, index rows)
      : heads_(shape.query_heads),
        rows_(rows),
        chunks_(decode_geometry::chunk_capacity(shape.key_length)),
        width_(shape.value_dim + 2) {
    data_ = memory.take<float>(shape.batch * heads_ * rows_ * chunks_ * width_);
  }

  chunk_state at(index sequence, index head, index row, index chunk) const {
    float* const state =
        data_ + (((sequence * heads_ + head) * rows_ + row) * chunks_ + chunk) * width_;
    return {state + 2, state, state + 1};
  }

 private:
  float* data_ = nullptr;  // [sequence][head][row][chunk][maximum, sum, outputs]
  index heads_ = 0;
  index rows_ = 0;
  index chunks_ = 0;
  index width_ = 0;
};

}  // namespace relpos::inline RELPOS_ABI
