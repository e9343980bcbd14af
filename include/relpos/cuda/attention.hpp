#pragma once
// Attention on a GPU of compute capability 8.0 or later, over views of device memory.
//
// Policies are the same as on the CPU. The host reads the data of `bind`, `tabulated_bias`,
// `visible_keys` and `logit_factor` during the call: slopes, tables, starts of documents. The
// device reads the data of all other members: an additive matrix, gates. Both evaluate masks of
// elements, including `either` and everything in it, and positions per token if a bias reads them:
// their data must be in managed memory. Members that run on the device must be constexpr, and the
// translation unit must be compiled with --expt-relaxed-constexpr, as relpos::cuda does.
//
// The call returns when its work is in the stream. It allocates nothing. If the host workspace is
// page-locked, it waits for nothing.

//   const relpos::on_stream gpu{stream};
//   const relpos::device_workspace_bytes need =
//       relpos::workspace_bytes(gpu, q, k, v, policies...);
//   const relpos::status done =
//       relpos::attention(gpu, {device, host}, out, q, k, v, policies...);

#include <type_traits>

#include "relpos/check/lengths.hpp"
#include "relpos/cuda/check.hpp"
#include "relpos/cuda/run.hpp"
#include "relpos/cuda/stream_device.hpp"

#if RELPOS_COMPILES_CUDA

#include <cuda_runtime.h>

namespace relpos::inline RELPOS_ABI {

/// @addtogroup gpu
/// @{

/// The stream that a call runs on.
struct on_stream {
  cudaStream_t stream = nullptr;  ///< the caller's; null: the default stream
};

/// The bytes of workspace that `attention` needs on the device and on the host.
///
/// 0 for a call that is refused.
template <class Dims = all_head_dims, class T, class... Arguments>
device_workspace_bytes workspace_bytes(const on_stream&, const view<T, 4>& q, const view<T, 4>& k,
                                       const view<T, 4>& v,
                                       const Arguments&... arguments) noexcept {
  static_assert(check_device_arguments<T, Arguments...>());
  using stored = std::remove_const_t<T>;
  const options opts = options_of(arguments...);
  const auto policies = policies_of(arguments...);
  const tensor_views<stored, stored> source{k, v, opts.key_starts};
  if (!source.check(q, opts) || !check_device_call<Dims>(q, k, v, opts)) return {};
  const attention_shape shape = shape_of_call(q, source, opts);
  if (!size_fits(shape, 1)) return {};
  if (!check_options(opts) || !check_sequence_offsets(opts, shape.batch)) return {};
  if (!check_policies(policies, shape)) return {};
  if (!check_arithmetic(opts, std::is_same_v<stored, bfloat16>)) return {};
  return measure_device_workspace(
      make_problem(view<float, 4>(), view<const stored, 4>(q), source, {}, opts, policies));
}

/// Attention over views of device memory.
///
/// out [batch, heads, query, d] = attention of q [batch, heads, query, d] over k and v [batch, key
/// heads, key, d], all in device memory. head_dim is 64, 96, 128 or 256; q, k and v are float, half
/// or bfloat16, all the same; rows begin at multiples of 16 bytes. `attention<head_dims<128>>(...)`
/// compiles kernels for head_dim 128 only.
///
/// Options are the same as on the CPU, except that `tolerance` and `arithmetic` change nothing:
/// 16-bit tensors are always multiplied as such. options.lse and
/// options.statistics are in device memory; the lists of the options, and their data, are in host
/// memory. A call that is refused writes nothing.
///
/// @copydoc relpos/cuda/attention.hpp
template <class Dims = all_head_dims, class Out, class T, class... Arguments>
status attention(const on_stream& gpu, const device_workspace& memory, const view<Out, 4>& out,
                 const view<T, 4>& q, const view<T, 4>& k, const view<T, 4>& v,
                 const Arguments&... arguments) noexcept {
  static_assert(storage<Out>, "relpos: out holds float, relpos::bfloat16 or relpos::half");
  static_assert(check_device_arguments<T, Arguments...>());
  using stored = std::remove_const_t<T>;
  const options opts = options_of(arguments...);
  const auto policies = policies_of(arguments...);
  const tensor_views<stored, stored> source{k, v, opts.key_starts};
  const call_outputs<Out> outputs{out, opts.lse, opts.statistics};
  if (status valid = source.check(q, opts); !valid) return valid;
  const attention_shape shape = shape_of_call(q, source, opts);
  if (status valid = check_call(outputs, q, source, opts, shape, policies, 1); !valid) return valid;
  if (status valid = check_device_call<Dims>(q, k, v, opts); !valid) return valid;
  if (status valid = check_arithmetic(opts, std::is_same_v<stored, bfloat16>); !valid) return valid;
  const auto problem =
      make_problem(out, view<const stored, 4>(q), source, opts.lse, opts, policies);
  if (status valid = check_sequences(problem); !valid) return valid;
  const device_workspace_bytes needed = measure_device_workspace(problem);
  const auto check = [&](const workspace& part, std::size_t bytes) {
    if (status valid = check_workspace(part, bytes); !valid) return valid;
    return check_workspace_overlap(byte_range::of(part.data, bytes), outputs, q, source, opts,
                                   policy_data(policies));
  };
  if (status valid = check(memory.device, needed.device); !valid) return valid;
  if (status valid = check(memory.host, needed.host); !valid) return valid;
  if (shape.batch == 0 || shape.query_heads == 0 || shape.query_length == 0) return {};
  stream_device device(gpu.stream);
  return run_device_call<Dims>(device, problem, memory);
}

/// @}

}  // namespace relpos::inline RELPOS_ABI

#endif
