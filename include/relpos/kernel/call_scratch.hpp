#pragma once
// The scratch of one call: the plan, tables, norms and turned keys that prepare fills for all, O(length); states of the
// chunks of keys that decode merges; and for each slot the state of one work item, O(1). But for those states, one per
// query row and 1024 keys, nothing grows with query length x key length.

#include <algorithm>
#include <array>
#include <tuple>

#include "relpos/core/scratch.hpp"
#include "relpos/kernel/bias_table.hpp"
#include "relpos/kernel/chunk_state.hpp"
#include "relpos/kernel/decode_slot.hpp"
#include "relpos/kernel/key_tiles.hpp"
#include "relpos/kernel/prefill_slot.hpp"
#include "relpos/kernel/rotation.hpp"
#include "relpos/kernel/score_bound.hpp"
#include "relpos/kernel/work_plan.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa, class Problem>
class call_scratch;

template <class Isa, class Out, class Query, class Store, class... Policies>
class call_scratch<Isa, attention_problem<Out, Query, Store, Policies...>> {
 public:
  using problem_type = attention_problem<Out, Query, Store, Policies...>;
  static constexpr bool rotates = any_rotation<Policies...>;
  static constexpr bool by_tile = turns_between_origins<Policies...>;
  static constexpr bool turns_keys = rotates && !Store::holds_turned_keys;

  call_scratch(scratch_divider& memory, const problem_type& problem, index_t slots)
      : shape_(problem.shape), slot_count_(slots), plan_(memory, problem.shape.batch) {
    index_t distances = countable_distances(shape_);
    if constexpr (!any_given_positions<Policies...>) {
      // Sequences that lie at much the same distances share tables.
      distances_ = problem.distances();
      if (distances_.size() > 2 * distances) {
        sets_ = shape_.batch;
      } else {
        distances = std::max<index_t>(distances_.size(), 1);
      }
    }
    std::size_t i = 0;
    const auto take_table = [&]<class Policy>(const Policy& policy) {
      if constexpr (tabulates_bias<Policy>) {
        capacity_[i] = bias_table_capacity(policy, distances, geometry<Isa>::group_rows);
        values_[i] = memory.take<float>(sets_ * shape_.query_heads * capacity_[i]);
        tables_[i] = memory.take<bias_table>(sets_ * shape_.query_heads);
      }
      ++i;
    };
    std::apply([&](const auto&... each) { (take_table(each), ...); }, problem.policies);
    if constexpr (can_bound_scores<Policies...>) {
      key_norms_ = memory.take<float>(shape_.batch * shape_.key_heads * tiles_of_head());
    }
    if constexpr (by_tile) {
      with_rotation(problem.policies, [&](const auto& policy) {
        gains_pairs_ = policy.rotations().pairs;
        gains_size_ = rotation_gains::capacity(distances) * 2 * gains_pairs_;
        gains_ = memory.take<float>(sets_ * gains_size_);
      });
    }
    if constexpr (turns_keys) {
      turned_keys_ =
          memory.take<float>(problem.store.all_rows() * shape_.key_heads * shape_.head_dim);
    }
    index_t states = 0;
    for (index_t at = 0; at < shape_.batch; ++at) {
      const attention_shape of = problem.shape_of(at);
      if (!is_decoded(problem.choice, of)) continue;
      const index_t chunks =
          decode_geometry::chunk_capacity(of.key_length, problem.store.forgotten(at));
      states += of.query_heads * of.query_length * chunks;
    }
    if (states > 0) states_ = chunk_states(memory, states, shape_.value_dim);
    // A slot is large enough for either kernel: options that choose one change little of the size.
    scratch_divider prefill;
    prefill_slot<Isa>(prefill, shape_, rotates, by_tile);
    scratch_divider decode;
    decode_slot<Isa>(decode, shape_, rotates, by_tile);
    slot_bytes_ = static_cast<index_t>(std::max(prefill.bytes_taken(), decode.bytes_taken()));
    slots_ = memory.take<std::byte>(slots * slot_bytes_);
  }

  const work_plan& plan() const { return plan_; }
  index_t slots() const { return slot_count_; }

  /// Tables are made for each sequence, or once for all.
  index_t sets() const { return sets_; }
  index_t set_of(index_t sequence) const { return sets_ == 1 ? 0 : sequence; }
  float* table_values(std::size_t policy, index_t set, index_t head) const {
    return values_[policy] + (set * shape_.query_heads + head) * capacity_[policy];
  }
  bias_table& table(std::size_t policy, index_t set, index_t head) const {
    return tables_[policy][set * shape_.query_heads + head];
  }
  rotation_gains gains(const problem_type& problem, index_t set) const
    requires by_tile
  {
    return rotation_gains(gains_ + set * gains_size_, gains_pairs_, distances_of(problem, set));
  }

  float* key_norms(index_t sequence, index_t key_head) const {
    return key_norms_ + (sequence * shape_.key_heads + key_head) * tiles_of_head();
  }
  /// [key_length][head_dim] of one head.
  float* turned_keys(const Store& store, index_t sequence, index_t key_head) const {
    const index_t rows =
        store.rows_before(sequence) * shape_.key_heads + store.length(sequence) * key_head;
    return turned_keys_ + rows * shape_.head_dim;
  }
  const chunk_states& states() const { return states_; }

  prefill_slot<Isa> slot_of_prefill(index_t i) const {
    scratch_divider memory(slot(i));
    return prefill_slot<Isa>(memory, shape_, rotates, by_tile);
  }
  decode_slot<Isa> slot_of_decode(index_t i) const {
    scratch_divider memory(slot(i));
    return decode_slot<Isa>(memory, shape_, rotates, by_tile);
  }

 private:
  distance_range distances_of(const problem_type& problem, index_t set) const {
    return sets_ == 1 ? distances_ : problem.distances_of(set);
  }
  index_t tiles_of_head() const { return key_tiles<Isa>::capacity(shape_.key_length); }
  scratch slot(index_t i) const {
    return scratch(slots_ + i * slot_bytes_, static_cast<std::size_t>(slot_bytes_));
  }

  attention_shape shape_;
  index_t slot_count_;
  work_plan plan_;
  distance_range distances_;  // of all sequences
  index_t sets_ = 1;
  std::array<float*, sizeof...(Policies)>
      values_{};  // [sets][heads][capacity] of a tabulated policy
  std::array<bias_table*, sizeof...(Policies)> tables_{};
  std::array<index_t, sizeof...(Policies)> capacity_{};
  float* key_norms_ = nullptr;  // [sequences][key heads][key tiles]
  float* gains_ = nullptr;      // [sets][apart][2][pairs]
  index_t gains_pairs_ = 0;
  index_t gains_size_ = 0;
  float* turned_keys_ = nullptr;  // [all rows][key heads][head_dim]
  chunk_states states_;
  std::byte* slots_ = nullptr;
  index_t slot_bytes_ = 0;
};

template <class Isa, class Problem>
std::size_t call_scratch_bytes(const Problem& problem, index_t slots) {
  scratch_divider counted;
  call_scratch<Isa, Problem>(counted, problem, slots);
  return counted.bytes_taken();
}

}  // namespace relpos::inline RELPOS_ABI
