#pragma once
// Attention on a GPU of compute capability 8.0 or later, over views of device memory. (Those with 99 KiB of shared memory
// for a block, 8.6, 8.9 and 12.0, refuse head_dim 256 under a rotation.)
//
//   const relpos::device_scratch_bytes need = relpos::scratch_bytes(relpos::on_stream{stream}, q, k, v, policies...);
//   relpos::status done = relpos::attention(relpos::on_stream{stream}, {device, host}, out, q, k, v, policies...);
//
// The same policies as on the CPU. What `bind` and `tabulated_bias` read is read on the host, during the call: slopes,
// tables. What other members read is read on the device: an additive matrix, gates. The starts of documents and the parents
// of a tree are read by both: they lie in managed memory. Members that run on the device must be constexpr, and the
// translation unit compiled with --expt-relaxed-constexpr, as relpos::cuda does.
//
// The call returns when its work is in the stream. It allocates nothing; where the host's scratch is page-locked, it waits
// for nothing.

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
  static_cast<void>(cudaGetLastError());  // told here, and not again by what the caller does next
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
  turn_key<HeadDim>(call, turned, blockIdx.z, blockIdx.y, row, thread % warp_lanes);
}

/// A warp for each tile of keys.
template <int HeadDim, class Call>
__global__ void measure_keys_kernel(const __grid_constant__ Call call, int tiles) {
  sm80 machine;
  const index tile = static_cast<index>(blockIdx.x) * (blockDim.x / warp_lanes) +
                     static_cast<int>(threadIdx.x) / warp_lanes;
  if (tile < tiles) measure_key_tile<HeadDim>(machine, call, blockIdx.z, blockIdx.y, tile);
}

template <class... Parameters, class... Arguments>
status launch(void (*kernel)(Parameters...), const dim3& blocks, int threads, std::size_t shared,
              cudaStream_t stream, const Arguments&... arguments) {
  cudaLaunchConfig_t how{};
  how.gridDim = blocks;
  how.blockDim = dim3(static_cast<unsigned>(threads));
  how.dynamicSmemBytes = shared;
  how.stream = stream;
  return device_status(cudaLaunchKernelEx(&how, kernel, arguments...), "attention: launch");
}

/// What the host has prepared, and where the device will have it. Behind that the device has room of its own.
struct prepared_memory {
  std::byte* device;
  const std::byte* host;
  std::size_t bytes;

  std::byte* behind() const { return device + bytes; }
};

/// The types of the call are spelled: nvcc would name them by way of the problem's, which may hold a lambda.
template <int HeadDim, class T, class Out, class... Bound>
status run_forward_of(forward_call<T, Out, Bound...> call, const attention_shape& shape,
                      const prepared_memory& prepared, cudaStream_t stream) {
  using call_type = forward_call<T, Out, Bound...>;
  using geometry = forward_geometry<HeadDim>;
  const auto sequences = static_cast<unsigned>(shape.batch);
  const auto key_heads = static_cast<unsigned>(shape.key_heads);
  constexpr auto shared = static_cast<int>(sizeof(forward_memory<T, HeadDim, call_type::rotates>));
  const auto kernel = forward_kernel<HeadDim, call_type>;
  if (status done = device_status(
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared),
          "attention: shared memory of a block");
      !done) {
    return done;
  }
  if (status done = device_status(cudaMemcpyAsync(prepared.device, prepared.host, prepared.bytes,
                                                  cudaMemcpyHostToDevice, stream),
                                  "attention: copy to the device");
      !done) {
    return done;
  }
  if constexpr (call_type::rotates) {
    const view<T, 4> turned(reinterpret_cast<T*>(prepared.behind()), call.k.shape);
    const dim3 blocks(static_cast<unsigned>(ceil_div(shape.key_length, geometry::warps)), key_heads,
                      sequences);
    if (shape.key_length > 0) {
      status done = launch(turn_keys_kernel<HeadDim, call_type>, blocks, geometry::threads, 0,
                           stream, call, turned);
      if (!done) return done;
    }
    call.k = turned;
  }
  if constexpr (call_type::bounds) {
    if (key_tile_norms::pays<HeadDim>(shape.query_length) && shape.key_length > 0) {
      call.key_norms = reinterpret_cast<float*>(prepared.behind());
      call.norm_tiles = key_tile_norms::capacity(shape.key_length, geometry::keys);
      const dim3 blocks(static_cast<unsigned>(ceil_div(call.norm_tiles, geometry::warps)),
                        key_heads, sequences);
      status done = launch(measure_keys_kernel<HeadDim, call_type>, blocks, geometry::threads, 0,
                           stream, call, static_cast<int>(call.norm_tiles));
      if (!done) return done;
    }
  }
  const auto row_blocks = static_cast<int>(ceil_div(shape.query_length, geometry::rows));
  const dim3 blocks(static_cast<unsigned>(row_blocks), static_cast<unsigned>(shape.query_heads),
                    sequences);
  return launch(kernel, blocks, geometry::threads, shared, stream, call, row_blocks);
}

template <class Problem>
device_scratch_bytes forward_scratch_bytes(const Problem& problem) {
  scratch_divider counted;
  forward_data<Problem>(counted, problem);
  const std::size_t bytes = counted.bytes_taken();
  return {bytes + forward_data<Problem>::bytes_behind(problem), bytes};
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
  const prepared_memory prepared{begin(memory.device), begin(memory.host),
                                 host_bytes - (scratch_divider::alignment - 1)};
  const auto call = forward_data<Problem>(host, problem).fill(prepared.device - prepared.host);
  status result;
  Dims::with(problem.shape.head_dim, [&](auto head_dim) {
    result = run_forward_of<head_dim>(call, problem.shape, prepared, stream);
  });
  return result;
}

/// What `attention` needs of the device and of the host. 0 for a call that is refused.
template <class Dims = all_head_dims, class T, class... Arguments>
device_scratch_bytes scratch_bytes(const on_stream&, const view<T, 4>& q, const view<T, 4>& k,
                                   const view<T, 4>& v, const Arguments&... arguments) noexcept {
  static_assert(check_device_arguments<T, Arguments...>());
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
/// what they refer to are the host's; options.lse is the device's. On failure neither out nor lse is written.
template <class Dims = all_head_dims, class Out, class T, class... Arguments>
status attention(const on_stream& on, const device_scratch& memory, const view<Out, 4>& out,
                 const view<T, 4>& q, const view<T, 4>& k, const view<T, 4>& v,
                 const Arguments&... arguments) noexcept {
  static_assert(storage<Out>, "relpos: out holds float, relpos::bfloat16 or relpos::half");
  static_assert(check_device_arguments<T, Arguments...>());
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
