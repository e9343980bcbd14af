#pragma once
// Attention on a GPU of compute capability 8.0 or later, over views of device memory:
//
//   const relpos::device_scratch_bytes need = relpos::scratch_bytes(relpos::on_stream{stream}, q, k, v, policies...);
//   relpos::status done = relpos::attention(relpos::on_stream{stream}, {device, host}, out, q, k, v, policies...);
//
// The same policies as on the CPU. What `bind` and `tabulated_bias` read is read on the host, during the call: slopes,
// tables. What other members read is read on the device: an additive matrix, the starts of documents. Their members
// must be constexpr, and the translation unit compiled with --expt-relaxed-constexpr, as relpos::cuda does.
//
// The call returns when its work is in the stream. Nothing is allocated or synchronised.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "relpos/cuda/arch/sm80.hpp"
#include "relpos/cuda/check_forward.hpp"
#include "relpos/cuda/forward_block.hpp"
#include "relpos/cuda/forward_data.hpp"

#if RELPOS_COMPILES_CUDA

#include <cuda_runtime.h>

namespace relpos::inline RELPOS_ABI {

/// Where a call runs.
struct on_stream {
  cudaStream_t stream = nullptr;
};

/// Memory that the caller lends: of the device, and of the host, best page-locked. The host's must stay as it is until the
/// stream has come past the call. Any alignment.
struct device_scratch {
  scratch device;
  scratch host;
};
/// How much of it a call needs.
struct device_scratch_bytes {
  std::size_t device = 0;
  std::size_t host = 0;
};

inline status device_status(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return {};
  return status::error(status_code::device, "%s: %s", what, cudaGetErrorString(error));
}

template <int HeadDim, class Call>
__global__ void __launch_bounds__(forward_geometry<HeadDim>::threads)
    forward_kernel(const __grid_constant__ Call call, int row_blocks) {
  sm80 machine;
  // Under a causal mask the last rows see most: they begin first.
  const index first_row = static_cast<index>(row_blocks - 1 - static_cast<int>(blockIdx.x)) *
                          forward_geometry<HeadDim>::rows;
  const auto sequence = static_cast<index>(blockIdx.z);
  if (first_row >= call.sequences[sequence].queries.count) return;
  forward_block<sm80, HeadDim, Call>(machine, call, sequence, blockIdx.y, first_row).run();
}

/// A warp for each row of keys.
template <int HeadDim, class Call>
__global__ void turn_keys_kernel(const __grid_constant__ Call call,
                                 const __grid_constant__ view<typename Call::stored, 4> turned) {
  const auto thread = static_cast<int>(threadIdx.x);
  const index row =
      static_cast<index>(blockIdx.x) * (blockDim.x / warp_lanes) + thread / warp_lanes;
  turn_key_of<HeadDim>(call, turned, blockIdx.z, blockIdx.y, row, thread % warp_lanes);
}

/// A warp for each tile of keys.
template <int HeadDim, class Call>
__global__ void measure_keys_kernel(const __grid_constant__ Call call, int tiles) {
  sm80 machine;
  const index tile = static_cast<index>(blockIdx.x) * (blockDim.x / warp_lanes) +
                     static_cast<int>(threadIdx.x) / warp_lanes;
  if (tile < tiles) measure_key_tile<HeadDim>(machine, call, blockIdx.z, blockIdx.y, tile);
}

/// The types of the call are spelled: nvcc would name them by way of the problem's, which may hold a lambda.
template <int HeadDim, class T, class Out, class... Bound>
status launch_forward(forward_call<T, Out, Bound...> call, const attention_shape& shape,
                      [[maybe_unused]] std::byte* prepared, cudaStream_t stream) {
  using call_type = forward_call<T, Out, Bound...>;
  using geometry = forward_geometry<HeadDim>;
  const auto sequences = static_cast<unsigned>(shape.batch);
  if constexpr (call_type::rotates) {
    const view<T, 4> turned(reinterpret_cast<T*>(prepared), call.k.shape);
    const auto blocks = static_cast<unsigned>(ceil_div(shape.key_length, geometry::warps));
    if (blocks > 0) {
      turn_keys_kernel<HeadDim, call_type>
          <<<dim3(blocks, static_cast<unsigned>(shape.key_heads), sequences), geometry::threads, 0,
             stream>>>(call, turned);
    }
    call.k = turned;
  }
  if constexpr (call_type::bounds) {
    if (key_tile_norms::pays<HeadDim>(shape.query_length) && shape.key_length > 0) {
      call.key_norms = reinterpret_cast<float*>(prepared);
      call.norm_tiles = key_tile_norms::capacity(shape.key_length, geometry::keys);
      const auto blocks = static_cast<unsigned>(ceil_div(call.norm_tiles, geometry::warps));
      measure_keys_kernel<HeadDim, call_type>
          <<<dim3(blocks, static_cast<unsigned>(shape.key_heads), sequences), geometry::threads, 0,
             stream>>>(call, static_cast<int>(call.norm_tiles));
    }
  }
  constexpr auto bytes = static_cast<int>(sizeof(forward_memory<T, HeadDim, call_type::rotates>));
  const auto blocks = static_cast<int>(ceil_div(shape.query_length, geometry::rows));
  const auto kernel = forward_kernel<HeadDim, call_type>;
  if (status done = device_status(
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
          "attention: shared memory of a block");
      !done) {
    return done;
  }
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(shape.query_heads),
                  sequences);
  kernel<<<grid, geometry::threads, bytes, stream>>>(call, blocks);
  return device_status(cudaGetLastError(), "attention: launch");
}

template <class Problem>
device_scratch_bytes forward_scratch_bytes(const Problem& problem) {
  scratch_divider counted;
  forward_data<Problem>(counted, problem);
  const std::size_t bytes = counted.bytes_taken();
  return {bytes + forward_data<Problem>::prepared_bytes(problem), bytes};
}

/// Of a problem that is checked.
template <class Dims, class Problem>
status run_forward(const Problem& problem, const device_scratch& memory, std::size_t host_bytes,
                   cudaStream_t stream) {
  scratch_divider host(memory.host);
  const auto begin = [](const scratch& of) {
    const auto address = reinterpret_cast<std::uintptr_t>(of.data);
    constexpr auto alignment = scratch_divider::alignment;
    return reinterpret_cast<std::byte*>((address + alignment - 1) / alignment * alignment);
  };
  const std::size_t copied = host_bytes - (scratch_divider::alignment - 1);
  const auto call =
      forward_data<Problem>(host, problem).fill(begin(memory.device) - begin(memory.host));
  if (status done = device_status(cudaMemcpyAsync(begin(memory.device), begin(memory.host), copied,
                                                  cudaMemcpyHostToDevice, stream),
                                  "attention: copy to the device");
      !done) {
    return done;
  }
  std::byte* const prepared = begin(memory.device) + copied;
  status result;
  Dims::with(problem.shape.head_dim, [&](auto head_dim) {
    result = launch_forward<head_dim>(call, problem.shape, prepared, stream);
  });
  return result;
}

/// What `attention` needs of the device and of the host. 0 for a call that is refused.
template <class Dims = all_head_dims, class T, class... Arguments>
device_scratch_bytes scratch_bytes(const on_stream&, const view<T, 4>& q, const view<T, 4>& k,
                                   const view<T, 4>& v, const Arguments&... arguments) noexcept {
  static_assert(check_device_arguments<T, T, T, Arguments...>());
  using stored = std::remove_const_t<T>;
  const options choice = options_of(arguments...);
  const auto policies = policies_of(arguments...);
  const key_views<stored, stored> store{k, v, choice.key_starts};
  if (!store.check(q, choice) || !check_forward<Dims>(q, k, v, choice)) return {};
  const attention_shape shape = shape_of_call(q, store, choice);
  if (!check_options(choice) || !check_sequence_offsets(choice, shape.batch)) return {};
  if (!check_policies(policies, shape)) return {};
  return forward_scratch_bytes(
      make_problem(view<float, 4>(), view<const stored, 4>(q), store, {}, choice, policies));
}

/// out [batch, heads, query, d] = attention of q [batch, heads, query, d] over k and v [batch, key heads, key, d], all in
/// device memory. head_dim is 64, 96, 128 or 256; q, k and v are half or bfloat16; rows begin at multiples of 16 bytes.
/// `attention<head_dims<128>>(...)` compiles kernels for that one alone.
///
/// Offsets, ragged batches, GQA, lse, softcap, biases, masks, temperatures and sinks as on the CPU. Lists of `options` and
/// what they refer to are the host's; options.lse is the device's. On failure nothing is launched.
template <class Dims = all_head_dims, class Out, class T, class... Arguments>
status attention(const on_stream& on, const device_scratch& memory, const view<Out, 4>& out,
                 const view<T, 4>& q, const view<T, 4>& k, const view<T, 4>& v,
                 const Arguments&... arguments) noexcept {
  static_assert(storage<Out>, "relpos: out holds float, relpos::bfloat16 or relpos::half");
  static_assert(check_device_arguments<T, T, T, Arguments...>());
  using stored = std::remove_const_t<T>;
  const options choice = options_of(arguments...);
  const auto policies = policies_of(arguments...);
  const key_views<stored, stored> store{k, v, choice.key_starts};
  const call_outputs<Out> to{out, choice.lse, choice.statistics};
  if (status valid = store.check(q, choice); !valid) return valid;
  const attention_shape shape = shape_of_call(q, store, choice);
  if (status valid = check_call(to, q, store, choice, shape, policies); !valid) return valid;
  if (status valid = check_forward<Dims>(q, k, v, choice); !valid) return valid;
  const auto problem =
      make_problem(out, view<const stored, 4>(q), store, choice.lse, choice, policies);
  const device_scratch_bytes needed = forward_scratch_bytes(problem);
  const auto check = [&](const scratch& lent, std::size_t bytes) {
    if (status valid = check_scratch(lent, bytes); !valid) return valid;
    return check_scratch_overlap(byte_range::of(lent.data, bytes), to, q, store, choice, policies);
  };
  if (status valid = check(memory.device, needed.device); !valid) return valid;
  if (status valid = check(memory.host, needed.host); !valid) return valid;
  if (shape.batch == 0 || shape.query_heads == 0 || shape.query_length == 0) return {};
  return run_forward<Dims>(problem, memory, needed.host, on.stream);
}

}  // namespace relpos::inline RELPOS_ABI

#endif
