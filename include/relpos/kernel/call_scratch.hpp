#pragma once
// The scratch of one call: the plan, tables, norms and turned keys that prepare fills for all, O(length); states of the
// chunks of keys that decode merges; and for each slot the state of one work item, O(1). But for those states, one per
// query row and 1024 keys, nothing grows with query length x key length.

#include <algorithm>
#include <array>
#include <numeric>
#include <tuple>

#include "relpos/core/scratch.hpp"
#include "relpos/kernel/bias_table.hpp"
#include "relpos/kernel/chunk_state.hpp"
#include "relpos/kernel/decode_slot.hpp"
#include "relpos/kernel/key_tiles.hpp"
#include "relpos/kernel/prefill_slot.hpp"
#include "relpos/kernel/rotation.hpp"
#include "relpos/kernel/score_bound.hpp"
#include "relpos/kernel/table_sets.hpp"
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
  using set_place = typename table_sets<problem_type>::place;

  call_scratch(scratch_divider& memory, const problem_type& problem, index_t slots)
      : shape_(problem.shape),
        slot_count_(slots),
        plan_(memory, problem.shape.batch),
        sets_(problem) {
    for (index_t piece = 0; piece < pieces; ++piece) {
      tiles_of_piece_[at(piece)] = key_tiles<Isa>::capacity(problem.longest_piece(piece));
    }
    std::size_t i = 0;
    const auto take_table = [&]<class Policy>(const Policy& policy) {
      if constexpr (tabulates_bias<Policy>) {
        for (index_t piece = 0; piece < pieces; ++piece) {
          const index_t tables = sets_.count_of(piece) * shape_.query_heads;
          const index_t entries =
              bias_table_capacity(policy, sets_.distances_of(piece), geometry<Isa>::group_rows);
          biases_[i][at(piece)] = {entries, memory.take<float>(tables * entries),
                                   memory.take<bias_table>(tables)};
        }
      }
      ++i;
    };
    std::apply([&](const auto&... each) { (take_table(each), ...); }, problem.policies);
    if constexpr (problem_type::can_bound) {
      key_norms_ = memory.take<float>(shape_.batch * shape_.key_heads * tiles_of_head());
    }
    if constexpr (by_tile) {
      with_rotation(problem.policies, [&](const auto& policy) {
        gains_pairs_ = policy.rotations().pairs;
        for (index_t piece = 0; piece < pieces; ++piece) {
          const index_t size =
              rotation_gains::capacity(sets_.distances_of(piece)) * 2 * gains_pairs_;
          gains_[at(piece)] = {size, memory.take<float>(sets_.count_of(piece) * size)};
        }
      });
    }
    if constexpr (turns_keys) {
      turned_keys_ =
          memory.take<float>(problem.store.all_rows() * shape_.key_heads * shape_.head_dim);
    }
    index_t states = 0;
    for (index_t sequence = 0; sequence < shape_.batch; ++sequence) {
      const attention_shape of = problem.shape_of(sequence);
      if (!is_decoded(problem.choice, of)) continue;
      const resident_rows rows = problem.resident_of(sequence);
      states += of.query_heads * of.query_length * decode_geometry::chunk_capacity(rows);
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

  const table_sets<problem_type>& sets() const { return sets_; }
  float* table_values(std::size_t policy, const set_place& set, index_t head) const {
    const bias_memory& of = biases_[policy][at(set.piece)];
    return of.values + (set.number * shape_.query_heads + head) * of.capacity;
  }
  bias_table& table(std::size_t policy, const set_place& set, index_t head) const {
    return biases_[policy][at(set.piece)].tables[set.number * shape_.query_heads + head];
  }
  rotation_gains gains(const problem_type& problem, const set_place& set) const
    requires by_tile
  {
    const gains_memory& of = gains_[at(set.piece)];
    return rotation_gains(of.values + set.number * of.size, gains_pairs_,
                          sets_.distances(problem, set));
  }

  /// Key tiles of one head, those of piece 0 first.
  index_t tiles_of_head() const {
    return std::accumulate(tiles_of_piece_.begin(), tiles_of_piece_.end(), index_t{0});
  }
  index_t tiles_of_piece(index_t piece) const { return tiles_of_piece_[at(piece)]; }
  /// The largest norm of each of these tiles.
  float* key_norms(index_t sequence, index_t key_head, index_t piece) const {
    const index_t before = piece == 0 ? 0 : tiles_of_piece_[0];
    return key_norms_ + (sequence * shape_.key_heads + key_head) * tiles_of_head() + before;
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
  static constexpr index_t pieces = problem_type::pieces;
  template <class T>
  using by_piece = std::array<T, static_cast<std::size_t>(pieces)>;
  struct bias_memory {
    index_t capacity = 0;
    float* values = nullptr;       // [sets][heads][capacity]
    bias_table* tables = nullptr;  // [sets][heads]
  };
  struct gains_memory {
    index_t size = 0;
    float* values = nullptr;  // [sets][apart][2][pairs]
  };

  static constexpr std::size_t at(index_t piece) { return static_cast<std::size_t>(piece); }
  scratch slot(index_t i) const {
    return scratch(slots_ + i * slot_bytes_, static_cast<std::size_t>(slot_bytes_));
  }

  attention_shape shape_;
  index_t slot_count_;
  work_plan plan_;
  table_sets<problem_type> sets_;
  std::array<by_piece<bias_memory>, sizeof...(Policies)> biases_{};  // of a tabulated policy
  by_piece<index_t> tiles_of_piece_{};
  float* key_norms_ = nullptr;  // [sequences][key heads][key tiles]
  by_piece<gains_memory> gains_{};
  index_t gains_pairs_ = 0;
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
