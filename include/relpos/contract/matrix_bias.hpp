#pragma once
// bias = matrix[query row, key row] of one head: what a policy over a matrix binds to. All that do share their kernels.

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

struct matrix_bias {
  const float* data;
  index_t query_stride;  // in elements
  index_t key_stride;

  constexpr float bias_element(index_t query_row, index_t key_row) const {
    return data[query_row * query_stride + key_row * key_stride];
  }
};

}  // namespace relpos::inline RELPOS_ABI
