#pragma once
// One attention call, checked and resolved: what prepare and attend read. A problem has sequences, and each of them is
// a problem of one.

#include <optional>
#include <tuple>

#include "relpos/core/bias_bound.hpp"
#include "relpos/core/policy.hpp"
#include "relpos/core/row_positions.hpp"
#include "relpos/core/scale.hpp"
#include "relpos/core/seen_rows.hpp"
#include "relpos/core/view.hpp"
#include "relpos/kernel/call_sequences.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Out, class Query, class Store, class... Policies>
struct attention_problem final : call_sequences {
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
  float scale = 1.0f;
  std::tuple<Policies...> policies;

  // Of one sequence.
  index_t sequence = 0;
  positions position{};

  attention_problem(const view<Out, 4>& outputs, const view<const Query, 4>& queries,
                    const Store& keys, const view<float, 3>& sums, const attention_shape& sizes,
                    const options& choices, const std::tuple<Policies...>& given)
      : call_sequences(sizes, choices),
        out(outputs),
        q(queries),
        store(keys),
        lse(sums),
        statistics(choices.statistics),
        scale(score_scale(choices, given, sizes.head_dim)),
        policies(given) {}

  float softcap() const { return choice.softcap; }

  /// Whether tiles of a sequence may be left out because of what their scores can be at most (kernel/score_bound.hpp).
  /// That takes the norms of keys, one pass over K; they pay when many queries share them. The moments of logits are of
  /// all keys, also of those whose weight is zero.
  bool bounds_scores(index_t group_rows, const attention_shape& of) const {
    return can_bound && of.query_length >= 2 * group_rows && !choice.statistics.of_logits() &&
           choice.kernel != kernel_class::decode;
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

  key_range evicted(index_t at) const override { return store.forgotten(at); }
  key_range seen_rows(index_t at) const override {
    return relpos::seen_rows(policies, at, shape_of(at), position_of(at));
  }

 private:
  index_t key_length(index_t at) const override { return store.length(at); }
  bool key_lengths_are_equal() const override { return store.lengths_are_equal(); }
  key_range pieces_apart(index_t at) const override {
    return pieces == 1 ? key_range() : store.forgotten(at);
  }
};

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
  return {out,    q,       store, lse.value_or(view<float, 3>()), shape_of_call(q, store, choice),
          choice, policies};
}

}  // namespace relpos::inline RELPOS_ABI
