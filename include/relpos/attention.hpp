#pragma once
// Attention with positional encoding, mask and temperature fused into one loop, over views.
//
//   std::vector<std::byte> memory(relpos::scratch_bytes(relpos::serial{}, q, k, v, policies...));
//   relpos::status done = relpos::attention(relpos::serial{}, memory, out, q, k, v, policies...);
//
// Nothing here throws or allocates: the caller lends the scratch and reads the status. The same functions
// over Eigen tensors, which allocate and throw, are in eigen/attention.hpp.
//
//   s = scale R q.R k;  s = softcap tanh(s / softcap);  s = (s + bias) factor / temperature
//   S = e^sink + sum of e^s over the visible keys;  p = e^s / S;  out = p V;  lse = ln S
//
// A row that sees no key gives out = 0 and lse = -inf. What a query does not see has no influence on it,
// not even NaN. Arithmetic is float32; weights below e^-87.3 of the row's largest are exactly 0.

#include <optional>
#include <tuple>
#include <type_traits>

#include "relpos/core/call.hpp"
#include "relpos/core/check_call.hpp"
#include "relpos/core/executor.hpp"
#include "relpos/core/scratch.hpp"
#include "relpos/core/storage.hpp"
#include "relpos/kernel/merge.hpp"
#include "relpos/kernel/prefill.hpp"
#include "relpos/kernel/reference.hpp"

namespace relpos::inline RELPOS_ABI {

template <class T>
using read_only = view<const std::remove_const_t<T>, 4>;

/// Bytes of scratch that `attention` needs with these tensors, policies and executor. Linear in the
/// lengths and in the executor's slots; never grows with query length x key length. 0 for a call that
/// `attention` refuses because of them.
template <class Isa = native, executor Executor, class Query, class Key, class Value,
          class... Arguments>
std::size_t scratch_bytes(const Executor& runner, const view<Query, 4>& q, const view<Key, 4>& k,
                          const view<Value, 4>& v, const Arguments&... arguments) noexcept {
  static_assert(check_arguments<Arguments...>());
  const auto policies = policies_of(arguments...);
  const attention_shape shape = attention_shape::of(q, k, v);
  if (!check_inputs(q, k, v) || !check_policies(policies, shape)) return 0;
  return prefill_scratch_bytes<Isa>(shape, policies, static_cast<index>(runner.slots()));
}

/// What `attention` and `partial` do, on outputs that are not yet checked.
template <class Isa, executor Executor, class Out, class Query, class Key, class Value,
          class... Arguments>
status attend(const Executor& runner, scratch memory, const call_outputs<Out>& to,
              const view<Query, 4>& q, const view<Key, 4>& k, const view<Value, 4>& v,
              const options& choice, const Arguments&... arguments) noexcept {
  static_assert(
      storage<Out> && storage<std::remove_const_t<Query>> && storage<std::remove_const_t<Key>> &&
          storage<std::remove_const_t<Value>>,
      "relpos: q, k, v and out hold float, relpos::bfloat16 or relpos::half; out is not const");
  static_assert(check_arguments<Arguments...>());
  const auto policies = policies_of(arguments...);
  if (status valid = check_call(to, q, k, v, choice, policies); !valid) return valid;
  const attention_shape shape = attention_shape::of(q, k, v);
  const auto slots = static_cast<index>(runner.slots());
  if (status valid = check_slots(slots); !valid) return valid;
  const std::size_t needed = prefill_scratch_bytes<Isa>(shape, policies, slots);
  if (status valid = check_scratch(memory, needed); !valid) return valid;
  const byte_range lent = byte_range::of(memory.data, needed);
  if (status valid = check_scratch_overlap(lent, to, q, k, v, policies); !valid) return valid;

  const auto problem = make_problem(to.out, read_only<Query>(q), read_only<Key>(k),
                                    read_only<Value>(v), to.lse, to.statistics, choice, policies);
  scratch_divider divider(memory);
  const prefill_scratch<Isa, std::remove_const_t<decltype(policies)>> divided(divider, shape,
                                                                              policies, slots);
  prefill<Isa, std::remove_const_t<decltype(problem)>>(problem, divided).run(runner);
  return {};
}

/// out [batch, heads, query, d_v] = attention of q [batch, heads, query, d] over
/// k [batch, key heads, key, d] and v [batch, key heads, key, d_v]. Heads are a multiple of key heads.
///
/// Elements are float, bfloat16 or half, each view its own. `arguments` are policies and at most one
/// `options`, in any order; several biases add, several masks are and-ed. On failure nothing is written.
template <class Isa = native, executor Executor, class Out, class Query, class Key, class Value,
          class... Arguments>
status attention(const Executor& runner, scratch memory, const view<Out, 4>& out,
                 const view<Query, 4>& q, const view<Key, 4>& k, const view<Value, 4>& v,
                 const Arguments&... arguments) noexcept {
  const options choice = options_of(arguments...);
  return attend<Isa>(runner, memory, call_outputs<Out>{out, choice.lse, choice.statistics}, q, k, v,
                     choice, arguments...);
}

/// Attention over a slice of the keys, to be merged with that over the others (`merge`).
///
/// `options.query_offset` must be given, and `options.key_offset` is the position of the slice's first
/// key: positions are those of the whole sequence.
template <class Isa = native, executor Executor, class Query, class Key, class Value,
          class... Arguments>
status partial(const Executor& runner, scratch memory, const partial_state& state,
               const view<Query, 4>& q, const view<Key, 4>& k, const view<Value, 4>& v,
               const Arguments&... arguments) noexcept {
  static_assert(
      !(has_sink<bound_policy<Arguments>> || ... || false),
      "relpos: a sink logit joins the denominator once, not with every slice of the keys: "
      "merge a state of out = 0 and lse = the sink logit");
  static_assert(
      !(scales_by_count<bound_policy<Arguments>> || ... || false),
      "relpos: this length law needs the number of keys that a query sees, which a slice of "
      "the keys does not tell");
  const options choice = options_of(arguments...);
  if (!choice.query_offset) {
    return status::error(
        status_code::invalid_value,
        "options.query_offset: must be given to partial, because a slice of the keys "
        "does not tell where the queries are");
  }
  if (choice.lse) {
    return status::error(status_code::invalid_value,
                         "options.lse: must be absent for partial, which writes state.lse");
  }
  if (choice.statistics.any()) {
    return status::error(status_code::invalid_value,
                         "options.statistics: must be absent for partial, which writes "
                         "state.statistics");
  }
  const call_outputs<float> to{state.out, state.lse, state.statistics, "state.out", "state.lse"};
  return attend<Isa>(runner, memory, to, q, k, v, choice, arguments...);
}

/// The same by definition, one score at a time in the arithmetic type `Real` (double: the oracle of the
/// tests; float: the yardstick of their tolerance). Slow. `lse` is given apart, and options.lse ignored;
/// statistics are rounded to float.
template <class Real, class Query, class Key, class Value, class... Arguments>
status reference_attention(const view<Real, 4>& out,
                           const std::type_identity_t<std::optional<view<Real, 3>>>& lse,
                           const view<Query, 4>& q, const view<Key, 4>& k, const view<Value, 4>& v,
                           const Arguments&... arguments) noexcept {
  static_assert(std::is_same_v<Real, double> || std::is_same_v<Real, float>,
                "relpos: the reference computes in double or float");
  static_assert(storage<std::remove_const_t<Query>> && storage<std::remove_const_t<Key>> &&
                    storage<std::remove_const_t<Value>>,
                "relpos: q, k and v hold float, relpos::bfloat16 or relpos::half");
  static_assert(check_arguments<Arguments...>());
  const options choice = options_of(arguments...);
  const auto policies = policies_of(arguments...);
  const call_outputs<Real, Real> to{out, lse, choice.statistics, "out", "lse"};
  if (status valid = check_call(to, q, k, v, choice, policies); !valid) return valid;
  const auto problem = make_problem(out, read_only<Query>(q), read_only<Key>(k),
                                    read_only<Value>(v), {}, choice.statistics, choice, policies);
  for (index b = 0; b < problem.shape.batch; ++b) {
    for (index h = 0; h < problem.shape.query_heads; ++h) {
      for (index row = 0; row < problem.shape.query_length; ++row) {
        reference_attention_row<Real>(problem, b, h, row, out, to.lse_or_none());
      }
    }
  }
  return {};
}

}  // namespace relpos::inline RELPOS_ABI
