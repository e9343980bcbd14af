#pragma once
// One attention call, checked and resolved, which the phases prepare and attend read.

#include <optional>
#include <tuple>

#include "relpos/call/call_sequences.hpp"
#include "relpos/call/row_positions.hpp"
#include "relpos/call/scale.hpp"
#include "relpos/call/selected_rows.hpp"
#include "relpos/call/visible_rows.hpp"
#include "relpos/contract/bias_bound.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// One sequence of a problem. Policies and the kv source of the call take its index, `at`.
template <class Problem>
struct problem_sequence : call_sequence {
  const Problem& call;

  /// [1, head, query row, channel].
  auto out() const { return sequence_rows(call.out, at, call.opts.query_starts); }
  auto q() const { return sequence_rows(call.q, at, call.opts.query_starts); }

  /// The number of these rows that the source shows to a query row.
  index_t count_shown(const key_range& rows, index_t query_row) const {
    if constexpr (Problem::source_type::evicts) {
      const index_t row = query_row + position.query_offset - position.key_offset;
      const key_range hidden = intersect(rows, call.source.hidden(at, row));
      return rows.last - rows.first - resident_rows::size(hidden);
    } else {
      return rows.last - rows.first;
    }
  }
};

template <class Out, class Query, class Source, class... Policies>
struct attention_problem final : call_sequences {
  static constexpr bool has_row_factor = (scales_rows<head_policy_of<Policies>> || ... || false);
  static constexpr bool caps_bias = (caps_after_bias<head_policy_of<Policies>> || ... || false);
  static constexpr bool has_bias = (is_bias<Policies> || ... || false);
  static constexpr bool can_bound = can_bound_scores<Policies...>;
  static constexpr bool selects = (selects_keys<Policies> || ... || false);
  static constexpr bool has_implicit_positions = !any_explicit_positions<Policies...>;
  /// The largest number of pieces of the rows of a sequence. Explicit positions have no order that
  /// would separate pieces, and a tile of selected keys may have keys of both.
  static constexpr index_t pieces = Source::evicts && has_implicit_positions && !selects ? 2 : 1;
  using source_type = Source;

  view<Out, 4> out;
  view<const Query, 4> q;
  Source source;
  float scale = 1.0f;
  std::tuple<Policies...> policies;

  attention_problem(const view<Out, 4>& outputs, const view<const Query, 4>& queries,
                    const Source& keys, const view<float, 3>& sums, const attention_shape& sizes,
                    const options& call_opts, const std::tuple<Policies...>& call_policies)
      : call_sequences(sizes, call_opts, sums),
        out(outputs),
        q(queries),
        source(keys),
        scale(score_scale(call_opts, call_policies, sizes.head_dim)),
        policies(call_policies) {}

  float softcap() const { return opts.softcap; }

  /// Whether tiles of a sequence may be left out because of an upper bound of their scores
  /// (cpu/prefill/score_bound.hpp). The bound takes the norms of keys, one pass over K, which pays
  /// if many queries share them and there are far tiles. Moments of logits include all keys, also
  /// keys of weight zero, so calls with moments leave out no tile.
  bool bounds_scores(const attention_shape& sizes, index_t group_rows, index_t tile_keys) const {
    return can_bound && sizes.query_length >= 2 * group_rows && sizes.key_length > 2 * tile_keys &&
           !opts.statistics.of_logits() && opts.kernel != kernel_class::decode;
  }

  problem_sequence<attention_problem> of(index_t i) const { return {sequence(i), *this}; }

  std::optional<index_t> longest_selection() const override {
    std::optional<index_t> longest;
    with_selection(policies, [&](const auto& policy) { longest = policy.longest_selection(); });
    return longest;
  }
  key_range evicted(index_t sequence) const override { return source.evicted(sequence); }
  key_range seen_rows(index_t sequence) const override {
    return relpos::seen_rows(policies, sequence, shape_of(sequence), position_of(sequence));
  }

 private:
  index_t key_length(index_t sequence) const override { return source.length(sequence); }
  bool key_lengths_are_equal() const override { return source.lengths_are_equal(); }
  key_range pieces_apart(index_t sequence) const override {
    return pieces == 1 ? key_range() : source.evicted(sequence);
  }
};

template <class Query, class Source>
attention_shape shape_of_call(const view<Query, 4>& q, const Source& source, const options& opts) {
  return {sequence_count(q.shape[0], opts.query_starts),
          q.shape[1],
          source.key_heads(),
          longest_sequence(q.shape[2], opts.query_starts),
          source.longest(),
          q.shape[3],
          source.value_dim()};
}

template <class Out, class Query, class Source, class... Policies>
attention_problem<Out, Query, Source, Policies...> make_problem(
    const view<Out, 4>& out, const view<const Query, 4>& q, const Source& source,
    const std::optional<view<float, 3>>& lse, const options& opts,
    const std::tuple<Policies...>& policies) {
  return {out,  q,       source, lse.value_or(view<float, 3>()), shape_of_call(q, source, opts),
          opts, policies};
}

}  // namespace relpos::inline RELPOS_ABI
