#pragma once
// One attention call, checked and resolved: what prepare and attend read.

#include <cmath>
#include <numbers>
#include <tuple>

#include "relpos/core/options.hpp"
#include "relpos/core/policy.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

inline constexpr float log2e = std::numbers::log2e_v<float>;
inline constexpr float ln2 = std::numbers::ln2_v<float>;

template <class Out, class Query, class Key, class Value, class... Policies>
struct attention_problem {
  view<Out, 4> out;
  view<const Query, 4> q;
  view<const Key, 4> k;
  view<const Value, 4> v;
  view<float, 3> lse;
  attention_shape shape;
  positions position;
  float scale = 1.0f;
  float softcap = 0.0f;
  std::tuple<Policies...> policies;

  /// The temperature of one head; 1 without such a policy.
  float temperature(index batch, index head) const {
    float result = 1.0f;
    const auto ask = [&](const auto& policy) {
      if constexpr (is_temperature<std::decay_t<decltype(policy)>>) {
        result = bind(policy, batch, head).softmax_temperature();
      }
    };
    std::apply([&](const auto&... each) { (ask(each), ...); }, policies);
    return result;
  }
};

/// 1 / sqrt(head_dim), or what one of the policies sets.
template <class... Policies>
float default_scale(index head_dim) {
  float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  [[maybe_unused]] const auto ask = [&]<class Policy>(const Policy*) {
    if constexpr (requires { Policy::default_scale; }) scale = Policy::default_scale;
  };
  (ask(static_cast<const Policies*>(nullptr)), ...);
  return scale;
}

inline positions resolve_positions(const options& choice, const attention_shape& shape) {
  const index aligned_at_the_end = choice.key_offset + shape.key_length - shape.query_length;
  return {choice.query_offset.value_or(aligned_at_the_end), choice.key_offset};
}

template <class Out, class Query, class Key, class Value, class... Policies>
attention_problem<Out, Query, Key, Value, Policies...> make_problem(
    const view<Out, 4>& out, const view<const Query, 4>& q, const view<const Key, 4>& k,
    const view<const Value, 4>& v, const options& choice, const std::tuple<Policies...>& policies) {
  const attention_shape shape = attention_shape::of(q, k, v);
  return {out,
          q,
          k,
          v,
          choice.lse,
          shape,
          resolve_positions(choice, shape),
          choice.scale.value_or(default_scale<Policies...>(shape.head_dim)),
          choice.softcap,
          policies};
}

}  // namespace relpos::inline RELPOS_ABI
