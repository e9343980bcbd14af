#pragma once
// The factors of scores. Scores inside the kernels are in units of the exponent, base 2:
//
//   q.k scale log2(e) / temperature
//   with softcap c:   c log2(e) / temperature tanh(q.k scale / c)

#include <cmath>
#include <limits>
#include <numbers>
#include <tuple>
#include <type_traits>

#include "relpos/call/options.hpp"
#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

inline constexpr float log2e = std::numbers::log2e_v<float>;
inline constexpr float ln2 = std::numbers::ln2_v<float>;

/// The factor of q.k: the caller's option, else a policy's default_scale, else 1 / sqrt(head_dim).
template <class... Policies>
float score_scale(const options& opts, const std::tuple<Policies...>&, index_t head_dim) {
  float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  [[maybe_unused]] const auto ask = [&]<class Policy>(const Policy*) {
    if constexpr (requires { Policy::default_scale; }) scale = Policy::default_scale;
  };
  (ask(static_cast<const Policies*>(nullptr)), ...);
  return opts.scale.value_or(scale);
}

/// The temperature of one head; 1 if no policy sets it.
template <class... Policies>
float softmax_temperature(const std::tuple<Policies...>& policies, index_t batch, index_t head) {
  float result = 1.0f;
  [[maybe_unused]] const auto ask = [&](const auto& policy) {
    if constexpr (is_temperature<std::decay_t<decltype(policy)>>) {
      result = bind(policy, batch, head).softmax_temperature();
    }
  };
  std::apply([&](const auto&... policy) { (ask(policy), ...); }, policies);
  return result;
}

/// The sink logit of one query row of a head; -inf if no policy sets it.
template <class... HeadPolicies>
float sink_logit(const std::tuple<HeadPolicies...>& head_policies,
                 [[maybe_unused]] index_t query_row) {
  float result = -std::numeric_limits<float>::infinity();
  [[maybe_unused]] const auto ask = [&]<class HeadPolicy>(const HeadPolicy& policy) {
    if constexpr (has_sink_of_rows<HeadPolicy>) {
      result = policy.sink_logit(query_row);
    } else if constexpr (has_sink<HeadPolicy>) {
      result = policy.sink_logit();
    }
  };
  std::apply([&](const auto&... policy) { (ask(policy), ...); }, head_policies);
  return result;
}

/// The cap of score and bias of one head; 0 if no policy sets it.
template <class... HeadPolicies>
float cap_after_bias(const std::tuple<HeadPolicies...>& head_policies) {
  float result = 0.0f;
  [[maybe_unused]] const auto ask = [&]<class HeadPolicy>(const HeadPolicy& policy) {
    if constexpr (caps_after_bias<HeadPolicy>) result = policy.cap_after_bias();
  };
  std::apply([&](const auto&... policy) { (ask(policy), ...); }, head_policies);
  return result;
}

/// The product of the factors of all policies for the logits of one row. `visible` is the number of
/// keys that the row sees.
template <class... HeadPolicies>
float logit_factor(const std::tuple<HeadPolicies...>& head_policies,
                   [[maybe_unused]] index_t query_row, index_t q_pos, index_t visible) {
  float product = 1.0f;
  const auto multiply = [&](const auto& policy) {
    using policy_type = std::decay_t<decltype(policy)>;
    if constexpr (scales_by_row<policy_type>) {
      product *= policy.logit_factor_of_row(query_row, q_pos);
    } else if constexpr (scales_by_count<policy_type>) {
      product *= policy.logit_factor(q_pos, visible);
    } else if constexpr (scales_by_position<policy_type>) {
      product *= policy.logit_factor(q_pos);
    }
  };
  std::apply([&](const auto&... policy) { (multiply(policy), ...); }, head_policies);
  return product;
}

struct score_factors {
  float query;    // multiplies the packed queries
  float softcap;  // multiplies tanh; 0 without softcap
  float bias;

  score_factors(float scale, float cap, float temperature) : bias(log2e / temperature) {
    query = cap > 0.0f ? scale / cap : scale * bias;
    softcap = cap * bias;
  }
};

}  // namespace relpos::inline RELPOS_ABI
