#pragma once
// The checks of a call. Every argument is checked once, at the entry, before anything is written.
// The kernels assume that these checks have passed. q, k and v, or a cache, are checked first, by
// `check` of the kv source (rows/tensor_views.hpp, kv_cache/kv_cache.hpp).

#include <cmath>
#include <tuple>

#include "relpos/call/kv_source.hpp"
#include "relpos/call/options.hpp"
#include "relpos/call/scale.hpp"
#include "relpos/check/numbers.hpp"
#include "relpos/check/overlap.hpp"
#include "relpos/check/positions.hpp"
#include "relpos/check/shapes.hpp"
#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

inline status check_options(const options& opts) {
  const auto refuse_number = [](const char* name, float value, const char* rule) {
    return status::error(status_code::invalid_value, "options.%s: is %g, must be %s", name,
                         static_cast<double>(value), rule);
  };
  if (opts.scale && !std::isfinite(*opts.scale)) {
    return refuse_number("scale", *opts.scale, "finite");
  }
  if (!(opts.softcap >= 0.0f) || !std::isfinite(opts.softcap)) {
    return refuse_number("softcap", opts.softcap, "finite and not negative (0 is off)");
  }
  if (!(opts.tolerance >= 0.0f && opts.tolerance <= 1e-3f)) {
    return refuse_number("tolerance", opts.tolerance, "from 0 up to 0.001");
  }
  if (status valid = check_offset("options.key_offset", opts.key_offset); !valid) return valid;
  return check_offset("options.query_offset", opts.query_offset.value_or(0));
}

/// Refuses products of bfloat16 unless k and v hold it.
inline status check_arithmetic(const options& opts, bool k_and_v_are_bfloat16) {
  if (k_and_v_are_bfloat16 || opts.arithmetic == arithmetic_type::float32) return {};
  return status::error(status_code::invalid_value,
                       "options.arithmetic: is bfloat16, k and v must hold bfloat16");
}

/// Refuses policy data that does not fit the call.
template <class... Policies>
status check_policies(const std::tuple<Policies...>& policies, const attention_shape& shape) {
  status result;
  [[maybe_unused]] const auto ask = [&](const auto& policy) {
    if constexpr (requires { policy.check(shape); }) {
      if (result) result = policy.check(shape);
    }
  };
  std::apply([&](const auto&... policy) { (ask(policy), ...); }, policies);
  if (!result) return result;
  return check_positions(policies, shape);
}

/// Refuses a rotation that the keys of a source cannot have had. The rotation has passed its own
/// check before.
template <class Source, class... Policies>
status check_rotation(const Source& source, const std::tuple<Policies...>& policies) {
  status result;
  if constexpr (judges_rotations<Source>) {
    [[maybe_unused]] const auto ask = [&]<class Policy>(const Policy& policy) {
      if constexpr (is_rotation<Policy>) result = source.check_rotation(policy.rotations());
    };
    std::apply([&](const auto&... policy) { (ask(policy), ...); }, policies);
  }
  return result;
}

/// Whether a factor of scores, made of a number of the call, neither overflows nor underflows.
inline bool keeps_its_digits(float factor, float number) {
  return number == 0.0f ? factor == 0.0f : std::isnormal(factor);
}

/// Refuses a temperature that is not positive and finite. Also refuses numbers that are each in
/// range, but whose quotients, the factors of scores, are not: 0, for one, means no softcap.
/// `biased_cap` is the cap of score and bias, 0 for none.
RELPOS_NOINLINE inline status check_factors_of_head(float scale, float softcap, float biased_cap,
                                                    float temperature, index_t head) {
  if (!(temperature > 0.0f) || !std::isfinite(temperature)) {
    return status::error(status_code::invalid_value,
                         "temperature: is %g for head %lld, must be positive and finite",
                         static_cast<double>(temperature), static_cast<long long>(head));
  }
  const score_factors factors(scale, softcap, temperature);
  if (!keeps_its_digits(factors.query, scale) || !keeps_its_digits(factors.softcap, softcap) ||
      !std::isnormal(factors.bias)) {
    return status::error(status_code::invalid_value,
                         "options.scale %g, options.softcap %g and temperature %g: their "
                         "quotients are no normal numbers of float32",
                         static_cast<double>(scale), static_cast<double>(softcap),
                         static_cast<double>(temperature));
  }
  if (!keeps_its_digits(biased_cap * factors.bias, biased_cap)) {
    return status::error(status_code::invalid_value,
                         "cap after the bias %g and temperature %g: their quotient is no normal "
                         "number of float32",
                         static_cast<double>(biased_cap), static_cast<double>(temperature));
  }
  return {};
}

/// Checks the factors of all heads.
template <class... Policies>
status check_factors(const options& opts, const std::tuple<Policies...>& policies,
                     const attention_shape& shape) {
  const float scale = score_scale(opts, policies, shape.head_dim);
  for (index_t batch = 0; batch < shape.batch; ++batch) {
    for (index_t head = 0; head < shape.query_heads; ++head) {
      float biased_cap = 0.0f;
      if constexpr ((caps_after_bias<head_policy_of<Policies>> || ... || false)) {
        biased_cap = cap_after_bias(bind_all(policies, batch, head));
      }
      const status valid = check_factors_of_head(scale, opts.softcap, biased_cap,
                                                 softmax_temperature(policies, batch, head), head);
      if (!valid) return valid;
    }
    if constexpr (!(binds_batch<Policies> || ... || false)) break;
  }
  return {};
}

/// Refuses a call before anything is written: shapes, strides, null, overlap, options, policies.
template <class Out, class Real, class Query, class Source, class... Policies>
status check_call(const call_outputs<Out, Real>& outputs, const view<Query, 4>& q,
                  const Source& source, const options& opts, const attention_shape& shape,
                  const std::tuple<Policies...>& policies, index_t workers) {
  if (!size_fits(shape, workers)) return check_size(shape, workers);
  if (status valid = check_outputs(outputs, q, source.value_dim()); !valid) return valid;
  if (status valid = check_sequence_offsets(opts, shape.batch); !valid) return valid;
  if (status valid = check_policies(policies, shape); !valid) return valid;
  if (status valid = check_rotation(source, policies); !valid) return valid;
  if (status valid = check_overlap(outputs, q, source, opts, policy_data(policies)); !valid) {
    return valid;
  }
  if (status valid = check_options(opts); !valid) return valid;
  return check_factors(opts, policies, shape);
}

}  // namespace relpos::inline RELPOS_ABI
