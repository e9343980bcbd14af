#pragma once
// Attention with positional encoding, mask and temperature fused into one loop, over views.
//
//   s = scale R q.R k;  s = softcap tanh(s / softcap);  s = cap(s + bias) factor / temperature
//   S = e^sink + sum of e^s over the visible keys;  p = e^s / S;  out = p V;  lse = ln S
//
// A row that sees no key has out = 0 and lse = -inf. Keys and values that a query does not see have
// no influence on its row, not even NaN. Arithmetic is float32, except for products if
// options.arithmetic says so; weights below e^-87.3 of the row's largest are exactly 0.
//
// No function over views throws or allocates: the caller provides the workspace and reads the
// status. The same functions over Eigen tensors allocate and throw (eigen/attention.hpp).

//   const auto call = relpos::prepare(relpos::serial{}, out, q, k, v, policies...);
//   std::vector<std::byte> memory(call.workspace_bytes());
//   relpos::status done = call.run(relpos::serial{}, memory);
//
// or, with a workspace that is large enough (workspace_bytes),
//
//   relpos::status done = relpos::attention(relpos::serial{}, memory, out, q, k, v, policies...);

#include <optional>
#include <tuple>
#include <type_traits>

#include "relpos/call/arguments.hpp"
#include "relpos/check/call.hpp"
#include "relpos/check/lengths.hpp"
#include "relpos/core/executor.hpp"
#include "relpos/core/storage.hpp"
#include "relpos/core/workspace.hpp"
#include "relpos/cpu/prepared_call.hpp"
#include "relpos/merge.hpp"
#include "relpos/reference/reference.hpp"
#include "relpos/rows/tensor_kv.hpp"

namespace relpos::inline RELPOS_ABI {

/// A read-only view of q, k or v.
template <class T>
using read_only = view<const std::remove_const_t<T>, 4>;

/// The source of keys and values in tensors.
template <class Key, class Value>
using tensor_kv_of = tensor_kv<std::remove_const_t<Key>, std::remove_const_t<Value>>;

/// The workspace size of a call over any kv source, in bytes; 0 for a call that is refused.
template <class Isa, class Query, kv_source Source, class... Policies>
std::size_t workspace_bytes_of(index_t workers, const view<Query, 4>& q, const Source& source,
                               const options& opts, const std::tuple<Policies...>& policies) {
  if (!source.check(q, opts)) return 0;
  const attention_shape shape = shape_of_call(q, source, opts);
  if (workers < 1 || !size_fits(shape, workers)) return 0;
  if (!check_options(opts) || !check_sequence_offsets(opts, shape.batch)) return 0;
  if (!check_policies(policies, shape) || !check_rotation(source, policies)) return 0;
  if (!check_arithmetic(opts, holds_bfloat16<Source>)) return 0;
  const auto problem = make_problem(view<float, 4>(), read_only<Query>(q), source, {}, opts,
                                    std::tuple_cat(policies, source.masks(opts)));
  if (!check_sequences(problem) || !check_matrix_unit<Isa>(problem)) return 0;
  return call_workspace_bytes<Isa>(problem, workers);
}

/// @addtogroup prepare
/// @{

/// Bytes of workspace that `attention` needs with these tensors, arguments and executor.
///
/// The size is linear in the lengths and in the executor's number of workers. Only the states of
/// the kernel `decode`, one per query row and 1024 keys, grow with query length x key length.
/// Returns 0 for a call that `attention` refuses because of these tensors or arguments.
template <class Isa = native, executor Executor, class Query, class Key, class Value,
          class... Arguments>
std::size_t workspace_bytes(const Executor& runner, const view<Query, 4>& q, const view<Key, 4>& k,
                            const view<Value, 4>& v, const Arguments&... arguments) noexcept {
  static_assert(check_arguments<Arguments...>());
  const options opts = options_of(arguments...);
  return workspace_bytes_of<Isa>(worker_count(runner), q,
                                 tensor_kv_of<Key, Value>{k, v, opts.key_starts}, opts,
                                 policies_of(arguments...));
}

/// Bytes of workspace that `attention` over a cache needs.
template <class Isa = native, executor Executor, class Query, kv_source Source, class... Arguments>
std::size_t workspace_bytes(const Executor& runner, const view<Query, 4>& q, const Source& cache,
                            const Arguments&... arguments) noexcept {
  static_assert(check_arguments<Arguments...>());
  return workspace_bytes_of<Isa>(worker_count(runner), q, cache, options_of(arguments...),
                                 policies_of(arguments...));
}

/// @deprecated Renamed to workspace_bytes.
template <class Isa = native, class... Arguments>
[[deprecated("relpos: renamed to workspace_bytes")]] std::size_t scratch_bytes(
    const Arguments&... arguments) noexcept {
  return relpos::workspace_bytes<Isa>(arguments...);
}

/// @}

/// The result of every overload of `prepare`, for any outputs and any kv source. `valid` is the
/// result of checks made before; a failure refuses the call.
template <class Isa, executor Executor, class Out, class Query, kv_source Source,
          class... Arguments>
auto prepare_call(const Executor& runner, const status& valid, const call_outputs<Out>& outputs,
                  const view<Query, 4>& q, const Source& source, const options& opts,
                  const Arguments&... arguments) noexcept {
  static_assert(storage<Out> && storage<std::remove_const_t<Query>>,
                "relpos: q, k, v and out hold float, relpos::bfloat16 or relpos::half; out is not "
                "const");
  auto policies = std::tuple_cat(policies_of(arguments...), source.masks(opts));
  return prepared_call<Isa, Out, std::remove_const_t<Query>, Source, decltype(policies)>(
      runner, valid, outputs, read_only<Query>(q), source, opts, policies);
}

/// @addtogroup prepare
/// @{

/// Checks a call of `attention` and computes its workspace size.
///
/// The result, a prepared_call, may then be run any number of times:
///
/// @snippet view_form.cpp prepare
///
/// `prepare` itself never fails: if the call is refused, `valid` and `run` return the failure.
/// cpu/prepared_call.hpp lists the data that the result copies and the data that it refers to.
template <class Isa = native, executor Executor, class Out, class Query, class Key, class Value,
          class... Arguments>
auto prepare(const Executor& runner, const view<Out, 4>& out, const view<Query, 4>& q,
             const view<Key, 4>& k, const view<Value, 4>& v,
             const Arguments&... arguments) noexcept {
  static_assert(check_arguments<Arguments...>());
  const options opts = options_of(arguments...);
  return prepare_call<Isa>(runner, status(), call_outputs<Out>{out, opts.lse, opts.statistics}, q,
                           tensor_kv_of<Key, Value>{k, v, opts.key_starts}, opts, arguments...);
}

/// Prepares a call of `attention` over a cache.
template <class Isa = native, executor Executor, class Out, class Query, kv_source Source,
          class... Arguments>
auto prepare(const Executor& runner, const view<Out, 4>& out, const view<Query, 4>& q,
             const Source& cache, const Arguments&... arguments) noexcept {
  static_assert(check_arguments<Arguments...>());
  const options opts = options_of(arguments...);
  return prepare_call<Isa>(runner, status(), call_outputs<Out>{out, opts.lse, opts.statistics}, q,
                           cache, opts, arguments...);
}

/// @}

/// @addtogroup attention
/// @{

/// Attention over views.
///
/// out [batch, heads, query, d_v] = attention of q [batch, heads, query, d] over
/// k [batch, key heads, key, d] and v [batch, key heads, key, d_v]. The number of heads is a
/// multiple of the number of key heads.
///
/// Elements are float, bfloat16 or half; the views may differ in type. `arguments` are policies and
/// at most one `options`, in any order. Several biases are added, several masks are and-ed. On
/// failure nothing is written, and the status names the argument.
///
/// @snippet view_form.cpp refused
template <class Isa = native, executor Executor, class Out, class Query, class Key, class Value,
          class... Arguments>
status attention(const Executor& runner, workspace memory, const view<Out, 4>& out,
                 const view<Query, 4>& q, const view<Key, 4>& k, const view<Value, 4>& v,
                 const Arguments&... arguments) noexcept {
  return relpos::prepare<Isa>(runner, out, q, k, v, arguments...).run(runner, memory);
}

/// Attention over the rows of a cache.
///
/// `append` has rotated its keys; the policies of this call include the same rotation.
template <class Isa = native, executor Executor, class Out, class Query, kv_source Source,
          class... Arguments>
status attention(const Executor& runner, workspace memory, const view<Out, 4>& out,
                 const view<Query, 4>& q, const Source& cache,
                 const Arguments&... arguments) noexcept {
  return relpos::prepare<Isa>(runner, out, q, cache, arguments...).run(runner, memory);
}

/// @}

/// Refuses options of `partial` without query_offset or query_offsets, or with lse or statistics.
inline status check_partial(const options& opts) {
  if (!opts.query_offset && opts.query_offsets.empty()) {
    return status::error(
        status_code::invalid_value,
        "options.query_offset: must be given to partial, because a slice of the keys "
        "does not show where the queries are");
  }
  if (opts.lse) {
    return status::error(status_code::invalid_value,
                         "options.lse: must be absent for partial, which writes state.lse");
  }
  if (opts.statistics.any()) {
    return status::error(status_code::invalid_value,
                         "options.statistics: must be absent for partial, which writes "
                         "state.statistics");
  }
  return {};
}

/// @addtogroup partial
/// @{

/// Prepares a call of `partial`.
template <class Isa = native, executor Executor, class Query, class Key, class Value,
          class... Arguments>
auto prepare(const Executor& runner, const partial_state& state, const view<Query, 4>& q,
             const view<Key, 4>& k, const view<Value, 4>& v,
             const Arguments&... arguments) noexcept {
  static_assert(check_arguments<Arguments...>());
  static_assert(
      !(scales_by_count<head_policy_of<Arguments>> || ... || false),
      "relpos: this logit scaling needs the number of keys that a query sees, which a slice of "
      "the keys does not have");
  const options opts = options_of(arguments...);
  const call_outputs<float> outputs{state.out, state.lse, state.statistics, "state.out",
                                    "state.lse"};
  return prepare_call<Isa>(runner, check_partial(opts), outputs, q,
                           tensor_kv_of<Key, Value>{k, v, opts.key_starts}, opts, arguments...);
}

/// Attention over a slice of the keys.
///
/// `merge` combines the states of disjoint slices. If the call has sinks, each state counts them,
/// and `merge` is given them too.
///
/// `options.query_offset` (or query_offsets) must be given. `options.key_offset` is the position of
/// the slice's first key. Both count from the first key of the whole sequence.
template <class Isa = native, executor Executor, class Query, class Key, class Value,
          class... Arguments>
status partial(const Executor& runner, workspace memory, const partial_state& state,
               const view<Query, 4>& q, const view<Key, 4>& k, const view<Value, 4>& v,
               const Arguments&... arguments) noexcept {
  return relpos::prepare<Isa>(runner, state, q, k, v, arguments...).run(runner, memory);
}

/// @}

/// @addtogroup reference
/// @{

/// Attention by definition, one score at a time.
///
/// The arithmetic type is `Real` (double: the oracle of the tests; float: the yardstick of their
/// tolerance). Slow. It writes `lse`, if given, and ignores options.lse; statistics are rounded to
/// float.
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
  const options opts = options_of(arguments...);
  const auto policies = policies_of(arguments...);
  const call_outputs<Real, Real> outputs{out, lse, opts.statistics, "out", "lse"};
  const tensor_kv_of<Key, Value> source{k, v, opts.key_starts};
  if (status valid = source.check(q, opts); !valid) return valid;
  const attention_shape shape = shape_of_call(q, source, opts);
  if (status valid = check_call(outputs, q, source, opts, shape, policies, 1); !valid) return valid;
  const auto problem = make_problem(out, read_only<Query>(q), source, {}, opts, policies);
  if (status valid = check_sequences(problem); !valid) return valid;
  for (index_t i = 0; i < shape.batch; ++i) {
    const auto sequence = problem.of(i);
    const view<Real, 3> sums = sequence_rows(outputs.lse_or_none(), i, opts.query_starts);
    for (index_t head = 0; head < shape.query_heads; ++head) {
      for (index_t row = 0; row < sequence.shape.query_length; ++row) {
        reference_attention_row<Real>(sequence, head, row, sums);
      }
    }
  }
  return {};
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
