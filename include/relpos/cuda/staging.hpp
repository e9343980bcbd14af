#pragma once
// The data that the host prepares for the blocks of one call: sequences, the policies of each head,
// tables of biases. Its layout is the same in host and in device memory, and one copy moves it to
// the device.

#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "relpos/call/block_rotors.hpp"
#include "relpos/call/options.hpp"
#include "relpos/call/problem.hpp"
#include "relpos/call/visible_rows.hpp"
#include "relpos/core/workspace.hpp"
#include "relpos/cuda/decode/geometry.hpp"
#include "relpos/cuda/intermediates.hpp"
#include "relpos/cuda/lowered_policies.hpp"
#include "relpos/cuda/params.hpp"
#include "relpos/cuda/rotation/explicit_rotation.hpp"
#include "relpos/cuda/rotation/implicit_rotation.hpp"
#include "relpos/cuda/row_facts.hpp"
#include "relpos/rows/tensor_views.hpp"

namespace relpos::inline RELPOS_ABI {

template <multiplied T, class Out, class... Policies>
using device_problem = attention_problem<Out, T, tensor_views<T, T>, Policies...>;

/// A call without a rotation.
struct no_rotation {
  template <class Problem>
  no_rotation(arena&, const Problem&) {}
  static void take_host_workspace(arena&) {}
};

template <class Problem>
class call_staging;

template <multiplied T, class Out, class... Policies>
class call_staging<device_problem<T, Out, Policies...>> {
 public:
  using problem_type = device_problem<T, Out, Policies...>;
  using lowered = lowered_policies<Policies...>;
  using call_type = call_params<T, Out, lowered>;
  using head_type = typename call_type::head_type;

  /// Takes host memory for the data.
  call_staging(arena& memory, const problem_type& problem)
      : problem_(problem),
        // Data that differs only between heads is stored once for all sequences.
        sets_(problem.is_uniform() && !binds_by_batch && !row_facts_of_call::read_places
                  ? std::min<index_t>(shape().batch, 1)
                  : shape().batch),
        sequences_(memory.take<device_sequence>(shape().batch)),
        heads_(memory.take<head_type>(sets_ * shape().query_heads)),
        rows_(memory, problem, sets_),
        rotation_(memory, problem) {
    if constexpr (has_explicit_positions)
      explicit_distances_ = all_distances(std::tuple(), problem.policies, shape(), {});
    measure();
    index_t floats = 0;
    for (index_t set = 0; set < sets_; ++set) floats += table_floats(set) * shape().query_heads;
    tables_ = memory.take<float>(floats);
  }

  const call_extent& extent() const { return extent_; }
  /// Takes device memory for data other than the copy.
  device_intermediates<T> take_intermediates(arena& memory) const {
    return device_intermediates<T>::template take<lowered>(memory, problem_.q, problem_.source.k,
                                                           shape(), extent_, rotates_tokens);
  }
  /// Takes host memory for data that is not copied.
  void take_host_workspace(arena& memory) { rotation_.take_host_workspace(memory); }

  /// Fills the data, for a copy that begins `to_device` bytes further.
  call_type fill(std::ptrdiff_t to_device) {
    index_t states = 0;
    for (index_t sequence = 0; sequence < shape().batch; ++sequence) {
      const chunk_range chunks = chunks_of(sequence);
      sequences_[sequence] = sequence_of(sequence, chunks, states);
      states += states_of(chunks, sequences_[sequence].queries.count);
    }
    to_device_ = to_device;
    next_table_ = tables_;
    index_t first_row = 0;
    for (index_t set = 0; set < sets_; ++set) {
      for (index_t head = 0; head < shape().query_heads; ++head) {
        const auto head_policies = bind_all(problem_.policies, set, head);
        const auto rows = rows_.fill(set, first_row, head, head_policies, to_device);
        const score_factors factors(problem_.scale, problem_.softcap(),
                                    softmax_temperature(problem_.policies, set, head));
        new (&heads_[set * shape().query_heads + head]) head_type{
            biases_of(head_policies, rows.factors, set, head,
                      std::index_sequence_for<Policies...>()),
            element_masks(head_policies), rows.visible, factors, sink_logit(head_policies, 0)};
      }
      first_row += problem_.shape_of(set).query_length;
    }
    return {problem_.out,
            problem_.q,
            problem_.source.k,
            problem_.source.v,
            problem_.lse,
            statistics(),
            stores_pairs(),
            shape().key_heads > 0 ? shape().query_heads / shape().key_heads : 0,
            rebase(sequences_, to_device),
            rebase(heads_, to_device),
            sets_ == shape().batch ? shape().query_heads : 0,
            shape().key_heads,
            rotates_if<lowered::rotates>(to_device),
            places_for_biases(problem_.policies)};
  }
  /// Fills the rotation of queries and keys to the positions of their tokens, for the same copy.
  /// Returns no_data if there is none.
  auto fill_token_rotation(std::ptrdiff_t to_device) const {
    return rotates_if<rotates_tokens>(to_device);
  }

 private:
  static constexpr bool has_explicit_positions = any_explicit_positions<Policies...>;
  static constexpr bool rotates_tokens = rotates_to_positions<std::tuple<Policies...>>;
  using rotation_of_call = std::conditional_t<
      rotates_tokens, explicit_rotation_staging<problem_type>,
      std::conditional_t<lowered::rotates, implicit_rotation_staging<problem_type>, no_rotation>>;
  using row_facts_of_call = row_facts<problem_type, Policies...>;
  static constexpr bool binds_by_batch = (binds_batch<Policies> || ... || false);

  const attention_shape& shape() const { return problem_.shape; }

  template <bool Present>
  auto rotates_if([[maybe_unused]] std::ptrdiff_t to_device) const {
    if constexpr (Present) {
      return rotation_.fill(to_device);
    } else {
      return no_data();
    }
  }

  /// Chunks of keys that a decoded sequence sees, counted in absolute position.
  struct chunk_range {
    bool is_decoded = false;
    index_t first = 0;
    index_t count = 0;
  };
  chunk_range chunks_of(index_t sequence) const {
    const attention_shape sequence_shape = problem_.shape_of(sequence);
    if (!is_decoded(problem_.opts, sequence_shape)) return {};
    const positions position = problem_.position_of(sequence);
    const key_range seen = seen_rows(problem_.policies, sequence, sequence_shape, position);
    if (seen.last <= seen.first) return {true, 0, 0};
    const index_t first = floor_div(seen.first + position.key_offset, decode_chunks::keys);
    const index_t last = floor_div(seen.last - 1 + position.key_offset, decode_chunks::keys);
    return {true, first, last + 1 - first};
  }
  bool stores_pairs() const {
    const view<Out, 4>& out = problem_.out;
    const auto is_even = [](index_t stride) { return stride % 2 == 0; };
    return out.strides[3] == 1 && is_even(out.strides[0]) && is_even(out.strides[1]) &&
           is_even(out.strides[2]) &&
           reinterpret_cast<std::uintptr_t>(out.data) % (2 * sizeof(Out)) == 0;
  }

  device_statistics statistics() const {
    const row_statistics& outputs = problem_.opts.statistics;
    const auto or_none = [](const std::optional<view<float, 3>>& rows) {
      return rows.value_or(view<float, 3>());
    };
    return {or_none(outputs.max_probability), or_none(outputs.entropy),
            or_none(outputs.logit_count),     or_none(outputs.logit_mean),
            or_none(outputs.logit_variance),  outputs.any()};
  }

  index_t states_of(const chunk_range& chunks, index_t rows) const {
    return chunks.count * rows * shape().query_heads;
  }

  void measure() {
    extent_.needs_all_logits = problem_.opts.statistics.of_logits();
    for (index_t sequence = 0; sequence < shape().batch; ++sequence) {
      const index_t rows = problem_.shape_of(sequence).query_length;
      const chunk_range chunks = chunks_of(sequence);
      index_t& longest = chunks.is_decoded ? extent_.decode_rows : extent_.prefill_rows;
      longest = std::max(longest, rows);
      extent_.chunks = std::max(extent_.chunks, chunks.count);
      extent_.states += states_of(chunks, rows);
    }
  }

  device_sequence sequence_of(index_t sequence, const chunk_range& chunks,
                              index_t first_state) const {
    const auto rows = [&](index_t length, const index_list& starts) -> device_rows {
      const row_range range = rows_of(sequence, length, starts);
      return {starts.empty() ? sequence : 0, range.first, range.count};
    };
    return {sequence,
            rows(shape().query_length, problem_.opts.query_starts),
            rows(shape().key_length, problem_.source.starts),
            problem_.position_of(sequence),
            chunks.is_decoded,
            chunks.first,
            chunks.count,
            first_state};
  }

  /// The number of floats of all tables of one head.
  index_t table_floats(index_t set) const {
    index_t floats = 0;
    const auto add = [&]<class Policy>(const Policy& policy) {
      if constexpr (tabulates_bias<Policy>) {
        floats += bias_table_capacity(policy, distances_of(set).size(), 0);
      }
    };
    std::apply([&](const auto&... policy) { (add(policy), ...); }, problem_.policies);
    return floats;
  }

  /// The distances from any query to any key. Explicit positions may differ in a batch that is
  /// otherwise uniform, so they count for the whole batch.
  distance_range distances_of(index_t set) const {
    if constexpr (has_explicit_positions) {
      return explicit_distances_;
    } else {
      return problem_.distances_of(set);
    }
  }

  using head_policies_type = std::tuple<head_policy_of<Policies>...>;

  /// The stages of one head of a set.
  template <std::size_t... I>
  typename lowered::biases biases_of(const head_policies_type& head_policies, const float* factors,
                                     [[maybe_unused]] index_t set, [[maybe_unused]] index_t head,
                                     std::index_sequence<I...>) {
    // Braces fix the order, in which tabulated biases take their parts of the tables.
    const std::tuple<device_biases_of<Policies>...> biases{bias_of(
        std::get<I>(problem_.policies), std::get<I>(head_policies), head_policies, set, head)...};
    const auto row_factors = [&] {
      if constexpr (lowered::has_row_factors) {
        return std::tuple(device_row_factors{factors});
      } else {
        return std::tuple();
      }
    };
    return std::apply(
        [&](const auto&... stages) { return std::tuple_cat(stages..., row_factors()); }, biases);
  }

  template <class Policy, class HeadPolicy>
  device_biases_of<Policy> bias_of(const Policy& policy, const HeadPolicy& head_policy,
                                   const head_policies_type& head_policies, index_t set,
                                   index_t head) {
    if constexpr (!is_bias<Policy>) {
      return {};
    } else if constexpr (!tabulates_bias<Policy>) {
      return head_policy;
    } else {
      const distance_range distances = distances_of(set);
      // A bias that saturates may be evaluated at any distance, so masks need not be evaluated.
      distance_range asked = distances;
      if constexpr (!has_explicit_positions && !requires { policy.varies(); }) {
        const attention_shape set_shape = problem_.shape_of(set);
        asked = visible_distances(head_policies, set_shape, problem_.position_of(set),
                                  {0, set_shape.key_length});
      }
      bias_table filled = fill_bias_table(policy, head, asked, 0, next_table_);
      filled.data = rebase(next_table_, to_device_);
      next_table_ += bias_table_capacity(policy, distances.size(), 0);
      if constexpr (gates_rows<HeadPolicy>) {
        return device_bias<Policy>{head_policy, filled};
      } else {
        return device_bias<Policy>{{}, filled};
      }
    }
  }

  const problem_type& problem_;
  distance_range explicit_distances_{};
  call_extent extent_{};
  index_t sets_;
  device_sequence* sequences_;
  head_type* heads_;
  float* tables_ = nullptr;
  float* next_table_ = nullptr;
  std::ptrdiff_t to_device_ = 0;
  row_facts_of_call rows_;
  rotation_of_call rotation_;
};

}  // namespace relpos::inline RELPOS_ABI
