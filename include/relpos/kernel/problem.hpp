#pragma once
// One attention call, checked and resolved: what prepare and attend read.

#include <optional>
#include <tuple>

#include "relpos/core/options.hpp"
#include "relpos/core/policy.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/scale.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Out, class Query, class Key, class Value, class... Policies>
struct attention_problem {
  static constexpr bool has_row_factor = (scales_rows<bound_policy<Policies>> || ... || false);

  view<Out, 4> out;
  view<const Query, 4> q;
  view<const Key, 4> k;
  view<const Value, 4> v;
  view<float, 3> lse;  // null where not asked for
  row_statistics statistics;
  attention_shape shape;
  positions position;
  float scale = 1.0f;
  float softcap = 0.0f;
  float tolerance = 0.0f;
  std::tuple<Policies...> policies;
};

/// The policies of one head.
template <class... Policies>
auto bind_all(const std::tuple<Policies...>& policies, index batch, index head) {
  return std::apply(
      [&](const auto&... each) {
        return std::tuple<bound_policy<Policies>...>(bind(each, batch, head)...);
      },
      policies);
}

inline positions resolve_positions(const options& choice, const attention_shape& shape) {
  const index aligned_at_the_end = choice.key_offset + shape.key_length - shape.query_length;
  return {choice.query_offset.value_or(aligned_at_the_end), choice.key_offset};
}

template <class Out, class Query, class Key, class Value, class... Policies>
attention_problem<Out, Query, Key, Value, Policies...> make_problem(
    const view<Out, 4>& out, const view<const Query, 4>& q, const view<const Key, 4>& k,
    const view<const Value, 4>& v, const std::optional<view<float, 3>>& lse,
    const row_statistics& statistics, const options& choice,
    const std::tuple<Policies...>& policies) {
  const attention_shape shape = attention_shape::of(q, k, v);
  return {out,
          q,
          k,
          v,
          lse.value_or(view<float, 3>()),
          statistics,
          shape,
          resolve_positions(choice, shape),
          score_scale(choice, policies, shape.head_dim),
          choice.softcap,
          choice.tolerance,
          policies};
}

}  // namespace relpos::inline RELPOS_ABI
