#pragma once
// The workspace of one call: the part that every call has (call_memory.hpp), and the tables and
// rotated keys of its policies. Prepare fills the tables, and the keys unless workers rotate them.
// Both take O(length) memory.

#include <array>
#include <tuple>

#include "relpos/call/bias_table.hpp"
#include "relpos/call/problem.hpp"
#include "relpos/core/workspace.hpp"
#include "relpos/cpu/call_memory.hpp"
#include "relpos/rows/rotation.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa, class Problem>
class call_workspace;

template <class Isa, class Out, class Query, class Source, class... Policies>
class call_workspace<Isa, attention_problem<Out, Query, Source, Policies...>>
    : public call_memory<Isa> {
 public:
  using problem_type = attention_problem<Out, Query, Source, Policies...>;
  static constexpr bool rotates = any_rotation<Policies...>;
  static constexpr bool by_tile = rotates_by_blocks<std::tuple<Policies...>>;
  static constexpr bool rotates_keys = rotates && !Source::holds_rotated_keys;
  using set_place = table_sets::place;

  call_workspace(arena& memory, const problem_type& problem, index_t workers)
      : call_memory<Isa>(memory, problem, workers,
                         {.implicit_positions = problem_type::has_implicit_positions,
                          .key_norms = problem_type::can_bound,
                          .rotation = rotates,
                          .rotates_by_tile = by_tile,
                          .rotates_keys = rotates_keys,
                          .multiplies_pairs = call_multiplies_pairs<Isa>(problem),
                          .mixed_terms = mixed_terms(problem.policies)}) {
    std::size_t i = 0;
    const auto take_table = [&]<class Policy>(const Policy& policy) {
      if constexpr (has_bias_table<Policy>) {
        for (index_t piece = 0; piece < pieces; ++piece) {
          const index_t tables = this->sets().count_of(piece) * this->shape().query_heads;
          const index_t entries = bias_table_capacity(policy, this->sets().distances_of(piece),
                                                      geometry<Isa>::group_rows);
          biases_[i][at(piece)] = {entries, memory.take<float>(tables * entries),
                                   memory.take<bias_table>(tables)};
        }
      }
      ++i;
    };
    std::apply([&](const auto&... policy) { (take_table(policy), ...); }, problem.policies);
    if constexpr (by_tile) {
      with_rotation(problem.policies, [&](const auto& policy) {
        rotating_ = policy.rotations().channels();
        for (index_t piece = 0; piece < pieces; ++piece) {
          const index_t size =
              block_rotors::capacity(this->sets().distances_of(piece)) * 2 * rotating_.pairs;
          rotors_[at(piece)] = {size, memory.take<float>(this->sets().count_of(piece) * size)};
        }
      });
    }
    if constexpr (rotates_keys) {
      const index_t rows = this->rotates_by_worker()
                               ? workers * this->shape().key_length
                               : problem.source.all_rows() * this->shape().key_heads;
      rotated_keys_ = memory.take<float>(rows * this->shape().head_dim);
    }
  }

  float* table_values(std::size_t policy, const set_place& set, index_t head) const {
    const bias_memory& memory = biases_[policy][at(set.piece)];
    return memory.values + (set.number * this->shape().query_heads + head) * memory.capacity;
  }
  bias_table& table(std::size_t policy, const set_place& set, index_t head) const {
    return biases_[policy][at(set.piece)].tables[set.number * this->shape().query_heads + head];
  }
  block_rotors rotors(const problem_type& problem, const set_place& set) const
    requires by_tile
  {
    const rotor_memory& memory = rotors_[at(set.piece)];
    return block_rotors(memory.values + set.number * memory.size, rotating_,
                        this->sets().distances(problem, set));
  }

  /// The rotated keys of one head, [key_length][head_dim].
  float* rotated_keys(const Source& source, index_t sequence, index_t key_head,
                      index_t worker) const {
    const index_t rows = this->rotates_by_worker()
                             ? worker * this->shape().key_length
                             : source.rows_before(sequence) * this->shape().key_heads +
                                   source.length(sequence) * key_head;
    return rotated_keys_ + rows * this->shape().head_dim;
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
  struct rotor_memory {
    index_t size = 0;
    float* values = nullptr;  // [sets][block distances][2][pairs]
  };

  static constexpr std::size_t at(index_t piece) { return static_cast<std::size_t>(piece); }

  std::array<by_piece<bias_memory>, sizeof...(Policies)> biases_{};  // of tabulated policies
  by_piece<rotor_memory> rotors_{};
  rotated_channels rotating_;
  float* rotated_keys_ = nullptr;  // [all rows][key heads][head_dim], or of one head per worker
};

template <class Isa, class Problem>
std::size_t call_workspace_bytes(const Problem& problem, index_t workers) {
  arena counted;
  call_workspace<Isa, Problem>(counted, problem, workers);
  return counted.bytes_taken();
}

}  // namespace relpos::inline RELPOS_ABI
