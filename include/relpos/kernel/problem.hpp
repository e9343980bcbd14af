#pragma once
// One attention call, checked and resolved: what prepare and attend read. A problem has sequences, and each of them is
// a problem of one.

#include <algorithm>
#include <optional>
#include <tuple>

#include "relpos/core/bias_bound.hpp"
#include "relpos/core/options.hpp"
#include "relpos/core/policy.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/resident_rows.hpp"
#include "relpos/core/row_positions.hpp"
#include "relpos/core/scale.hpp"
#include "relpos/core/sequences.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Out, class Query, class Store, class... Policies>
struct attention_problem {
  static constexpr bool has_row_factor = (scales_rows<bound_policy<Policies>> || ... || false);
  static constexpr bool has_bias = (is_bias<Policies> || ... || false);
  static constexpr bool can_bound = can_bound_scores<Policies...>;
  static constexpr bool counts_positions = !any_given_positions<Policies...>;
  /// Pieces that the rows of a sequence may be in. Given positions have no order that would tell them apart.
  static constexpr index_t pieces = Store::forgets && counts_positions ? 2 : 1;
  using store_type = Store;

  view<Out, 4> out;
  view<const Query, 4> q;
  Store store;
  view<float, 3> lse;  // null where not asked for
  row_statistics statistics;
  attention_shape shape;  // lengths are those of the longest
  options choice;
  float scale = 1.0f;
  std::tuple<Policies...> policies;

  // Of one sequence.
  index_t sequence = 0;
  positions position{};

  float softcap() const { return choice.softcap; }

  /// Whether tiles of a sequence may be left out because of what their scores can be at most (kernel/score_bound.hpp).
  /// That takes the norms of keys, one pass over K; they pay when many queries share them. The moments of logits are of
  /// all keys, also of those whose weight is zero.
  bool bounds_scores(index_t group_rows, const attention_shape& of) const {
    return can_bound && of.query_length >= 2 * group_rows && !choice.statistics.of_logits() &&
           choice.kernel != kernel_class::decode;
  }

  attention_shape shape_of(index_t at) const {
    attention_shape of = shape;
    of.batch = 1;
    of.query_length = rows_of(at, shape.query_length, choice.query_starts).count;
    of.key_length = store.length(at);
    return of;
  }

  positions position_of(index_t at) const {
    const attention_shape of = shape_of(at);
    const index_t key_offset =
        choice.key_offsets.empty() ? choice.key_offset : choice.key_offsets[at];
    const index_t aligned_at_the_end = key_offset + of.key_length - of.query_length;
    const index_t query_offset = choice.query_offsets.empty()
                                     ? choice.query_offset.value_or(aligned_at_the_end)
                                     : choice.query_offsets[at];
    return {query_offset, key_offset};
  }

  /// All sequences have the same lengths and offsets.
  bool is_uniform() const {
    return store.lengths_are_equal() && choice.query_starts.empty() &&
           choice.query_offsets.empty() && choice.key_offsets.empty();
  }

  /// Sequences to look at for what depends on lengths and offsets alone.
  index_t different_sequences() const {
    return is_uniform() ? std::min<index_t>(shape.batch, 1) : shape.batch;
  }

  /// The rows of a sequence that are there.
  resident_rows resident_of(index_t at) const {
    if constexpr (pieces == 1) {
      return {store.length(at), {}};
    } else {
      return {store.length(at), store.forgotten(at)};
    }
  }

  /// Distances between any query and any key of a piece where positions are counted: of one sequence, and of all.
  distance_range distances_of(index_t at, index_t piece = 0) const {
    const attention_shape of = shape_of(at);
    const key_range rows = resident_of(at).piece(piece);
    if (of.query_length == 0 || rows.last <= rows.first) return {};
    const positions from = position_of(at);
    return {from.key_offset + rows.first - (from.query_offset + of.query_length - 1),
            from.key_offset + rows.last - 1 - from.query_offset};
  }
  distance_range distances(index_t piece = 0) const {
    distance_range all;
    for (index_t at = 0; at < different_sequences(); ++at) all = hull(all, distances_of(at, piece));
    return all;
  }

  /// The most rows that any sequence has in a piece.
  index_t longest_piece(index_t piece) const {
    index_t longest = 0;
    for (index_t at = 0; at < different_sequences(); ++at) {
      longest = std::max(longest, resident_rows::size(resident_of(at).piece(piece)));
    }
    return longest;
  }

  /// How many of these rows of the sequence the store shows to a query row.
  index_t count_shown(const key_range& rows, index_t query_row) const {
    if constexpr (Store::forgets) {
      const index_t seen_from = query_row + position.query_offset - position.key_offset;
      const key_range hidden = intersect(rows, store.hidden(sequence, seen_from));
      return rows.last - rows.first - resident_rows::size(hidden);
    } else {
      return rows.last - rows.first;
    }
  }

  /// Its q, out, lse and statistics have a batch of one; policies and the store are asked for `sequence`.
  attention_problem of(index_t at) const {
    attention_problem one = *this;
    const index_list& starts = choice.query_starts;
    one.out = sequence_rows(out, at, starts);
    one.q = sequence_rows(q, at, starts);
    one.lse = sequence_rows(lse, at, starts);
    for (auto* const each :
         {&one.statistics.max_probability, &one.statistics.entropy, &one.statistics.logit_count,
          &one.statistics.logit_mean, &one.statistics.logit_variance}) {
      if (*each) *each = sequence_rows(**each, at, starts);
    }
    one.shape = shape_of(at);
    one.sequence = at;
    one.position = position_of(at);
    return one;
  }
};

/// The policies of one head.
template <class... Policies>
auto bind_all(const std::tuple<Policies...>& policies, index_t batch, index_t head) {
  return std::apply(
      [&](const auto&... each) {
        return std::tuple<bound_policy<Policies>...>(bind(each, batch, head)...);
      },
      policies);
}

template <class Query, class Store>
attention_shape shape_of_call(const view<Query, 4>& q, const Store& store, const options& choice) {
  return {sequence_count(q.shape[0], choice.query_starts),
          q.shape[1],
          store.key_heads(),
          longest_sequence(q.shape[2], choice.query_starts),
          store.longest(),
          q.shape[3],
          store.value_dim()};
}

template <class Out, class Query, class Store, class... Policies>
attention_problem<Out, Query, Store, Policies...> make_problem(
    const view<Out, 4>& out, const view<const Query, 4>& q, const Store& store,
    const std::optional<view<float, 3>>& lse, const options& choice,
    const std::tuple<Policies...>& policies) {
  const attention_shape shape = shape_of_call(q, store, choice);
  return {out,
          q,
          store,
          lse.value_or(view<float, 3>()),
          choice.statistics,
          shape,
          choice,
          score_scale(choice, policies, shape.head_dim),
          policies};
}

}  // namespace relpos::inline RELPOS_ABI
