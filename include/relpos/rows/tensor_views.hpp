#pragma once
// Keys and values in the caller's tensors: the members that every kind of kernel needs.

#include <tuple>

#include "relpos/call/options.hpp"
#include "relpos/call/sequences.hpp"
#include "relpos/check/overlap.hpp"
#include "relpos/check/shapes.hpp"
#include "relpos/core/index_list.hpp"
#include "relpos/core/storage.hpp"

namespace relpos::inline RELPOS_ABI {

/// k [batch, key head, key, d] and v [batch, key head, key, d_v]. If `starts` is not empty, the
/// sequences lie one after another in one batch entry.
template <class Key, class Value>
struct tensor_views {
  static_assert(storage<Key> && storage<Value>,
                "relpos: q, k, v and out hold float, relpos::bfloat16 or relpos::half; out is not "
                "const");
  static constexpr bool holds_rotated_keys = false;
  static constexpr bool evicts = false;

  view<const Key, 4> k;
  view<const Value, 4> v;
  index_list starts{};

  index_t batch() const { return sequence_count(k.shape[0], starts); }
  index_t key_heads() const { return k.shape[1]; }
  index_t head_dim() const { return k.shape[3]; }
  index_t value_dim() const { return v.shape[3]; }
  index_t length(index_t sequence) const { return rows_of(sequence, k.shape[2], starts).count; }
  index_t longest() const { return longest_sequence(k.shape[2], starts); }
  bool lengths_are_equal() const { return starts.empty(); }

  static std::tuple<> masks(const options&) { return {}; }
  static key_range evicted(index_t) { return {}; }

  template <class Use>
  void memory_parts(const Use& use) const {
    use(labelled_memory("k", k));
    use(labelled_memory("v", v));
    if (!starts.empty()) use(labelled_memory("options.key_starts", starts.bytes()));
  }

  template <class Query>
  status check(const view<Query, 4>& q, const options& opts) const {
    return check_inputs(q, k, v, opts.query_starts, starts);
  }
};

}  // namespace relpos::inline RELPOS_ABI
