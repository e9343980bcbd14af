#pragma once
// The scratch of one prefill call: tables, norms and turned keys that prepare fills for all, O(length), and
// for each slot the state of one work item, O(1). Nothing grows with query length x key length.

#include <array>
#include <tuple>

#include "relpos/core/scratch.hpp"
#include "relpos/kernel/bias_table.hpp"
#include "relpos/kernel/key_tiles.hpp"
#include "relpos/kernel/query_group.hpp"
#include "relpos/kernel/rotation.hpp"
#include "relpos/kernel/score_bound.hpp"

namespace relpos::inline RELPOS_ABI {

/// What one work item works in.
template <class Isa>
struct prefill_slot {
  std::array<query_group<Isa>, static_cast<std::size_t>(geometry<Isa>::groups)> groups;
  float* weights;       // [tile_keys][group_rows]
  float* row_buffer;    // one converted key row
  float* stored_row;    // what it was converted from, where it is turned
  float* turns_of_row;  // by which it is turned, where positions are given
  float* key_buffer;    // the converted keys of a tile; before the first, converted queries
  float* value_buffer;  // and its values

  /// `rotates`: there is a rotation; `by_tile`: between origins.
  prefill_slot(scratch_divider& memory, const attention_shape& shape, bool rotates, bool by_tile) {
    for (auto& group : groups) group = query_group<Isa>::take(memory, shape, by_tile);
    weights = memory.take<float>(geometry<Isa>::tile_keys * geometry<Isa>::group_rows);
    row_buffer = memory.take<float>(shape.head_dim);
    stored_row = memory.take<float>(rotates ? shape.head_dim : 0);
    turns_of_row = memory.take<float>(rotates && !by_tile ? 2 * shape.head_dim : 0);
    key_buffer = memory.take<float>(geometry<Isa>::tile_keys * shape.head_dim);
    value_buffer = memory.take<float>(geometry<Isa>::tile_keys * shape.value_dim);
  }
};

template <class Isa, class Policies>
class prefill_scratch;

template <class Isa, class... Policies>
class prefill_scratch<Isa, std::tuple<Policies...>> {
 public:
  prefill_scratch(scratch_divider& memory, const attention_shape& shape,
                  const std::tuple<Policies...>& policies, index slots)
      : shape_(shape) {
    std::size_t at = 0;
    const auto take_table = [&]<class Policy>(const Policy& policy) {
      if constexpr (tabulates_bias<Policy>) {
        capacity_[at] = bias_table_capacity(policy, shape, geometry<Isa>::group_rows);
        values_[at] = memory.take<float>(shape.query_heads * capacity_[at]);
        tables_[at] = memory.take<bias_table>(shape.query_heads);
      }
      ++at;
    };
    std::apply([&](const auto&... each) { (take_table(each), ...); }, policies);
    if constexpr (can_bound_scores<Policies...>) {
      key_norms_ = memory.take<float>(shape.batch * shape.key_heads * tiles_of_head());
    }
    if constexpr (by_tile) {
      with_rotation(policies, [&](const auto& policy) {
        gains_ = memory.take<float>(rotation_gains::capacity(shape) * 2 * policy.rotations().pairs);
      });
    }
    if constexpr (rotates) {
      turned_keys_ =
          memory.take<float>(shape.batch * shape.key_heads * shape.key_length * shape.head_dim);
    }
    scratch_divider counted;
    prefill_slot<Isa>(counted, shape, rotates, by_tile);
    slot_bytes_ = static_cast<index>(counted.bytes_taken());
    slots_ = memory.take<std::byte>(slots * slot_bytes_);
  }

  float* table_values(std::size_t policy, index head) const {
    return values_[policy] + head * capacity_[policy];
  }
  bias_table& table(std::size_t policy, index head) const { return tables_[policy][head]; }
  float* key_norms(index batch, index key_head) const {
    return key_norms_ + (batch * shape_.key_heads + key_head) * tiles_of_head();
  }
  float* gains() const { return gains_; }
  float* turned_keys(index batch, index key_head) const {
    return turned_keys_ +
           (batch * shape_.key_heads + key_head) * shape_.key_length * shape_.head_dim;
  }
  prefill_slot<Isa> slot(index i) const {
    scratch_divider memory(
        scratch(slots_ + i * slot_bytes_, static_cast<std::size_t>(slot_bytes_)));
    return prefill_slot<Isa>(memory, shape_, rotates, by_tile);
  }

 private:
  static constexpr bool rotates = any_rotation<Policies...>;
  static constexpr bool by_tile = turns_between_origins<Policies...>;
  index tiles_of_head() const { return key_tiles<Isa>::capacity(shape_.key_length); }

  attention_shape shape_;
  std::array<float*, sizeof...(Policies)> values_{};  // [heads][capacity] of a tabulated policy
  std::array<bias_table*, sizeof...(Policies)> tables_{};
  std::array<index, sizeof...(Policies)> capacity_{};
  float* key_norms_ = nullptr;    // [batch][key heads][key tiles]
  float* gains_ = nullptr;        // [apart][2][pairs]
  float* turned_keys_ = nullptr;  // [batch][key heads][key_length][head_dim]
  std::byte* slots_ = nullptr;
  index slot_bytes_ = 0;
};

template <class Isa, class Policies>
std::size_t prefill_scratch_bytes(const attention_shape& shape, const Policies& policies,
                                  index slots) {
  scratch_divider counted;
  prefill_scratch<Isa, Policies>(counted, shape, policies, slots);
  return counted.bytes_taken();
}

}  // namespace relpos::inline RELPOS_ABI
