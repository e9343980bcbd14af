#pragma once
// Keys and values in the caller's tensors, as a kv source.

#include "relpos/call/kv_source.hpp"
#include "relpos/rows/strided_rows.hpp"
#include "relpos/rows/tensor_views.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Key, class Value>
struct tensor_kv : tensor_views<Key, Value> {
  /// The number of rows of all sequences, and of the sequences before one of them.
  index_t all_rows() const { return this->k.shape[0] * this->k.shape[2]; }
  index_t rows_before(index_t sequence) const {
    return this->starts.empty() ? sequence * this->k.shape[2] : this->starts[sequence];
  }

  /// The keys and the values of one sequence, [1, key head, key, channel].
  view<const Key, 4> keys_of(index_t sequence) const {
    return sequence_rows(this->k, sequence, this->starts);
  }
  view<const Value, 4> values_of(index_t sequence) const {
    return sequence_rows(this->v, sequence, this->starts);
  }

  template <class Isa>
  auto keys(index_t sequence, index_t head) const {
    return strided_rows<Isa, Key>(keys_of(sequence), 0, head);
  }
  template <class Isa>
  auto values(index_t sequence, index_t head) const {
    return strided_rows<Isa, Value>(values_of(sequence), 0, head);
  }
};

}  // namespace relpos::inline RELPOS_ABI
