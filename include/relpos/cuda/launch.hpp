#pragma once
// The kernels of a call: their order, and the number of blocks of each. They are launched on a
// device, which is a stream of a GPU, or the CPU in tests:
//
//   status copy(void* destination, const void* source, std::size_t bytes)  from the host
//   status admit<Kernel>()                                         refuses a kernel that the device
//                                                                  cannot run
//   status launch(const Kernel& kernel, const block_grid& blocks)

#include <type_traits>

#include "relpos/cuda/intermediates.hpp"
#include "relpos/cuda/kernels.hpp"

namespace relpos::inline RELPOS_ABI {

/// Launches the kernels of a call whose prepared data is in device memory. `rotation` is a
/// token_rotation if queries and keys are rotated to the positions of their tokens, else no_data.
/// The template parameters spell the types of the call: nvcc would otherwise name them through the
/// type of the problem, which may hold a lambda.
template <int HeadDim, class Device, class T, class Out, class Lowered, class Rotation>
status launch_kernels(const Device& device, call_params<T, Out, Lowered> call,
                      const Rotation& rotation, const attention_shape& shape,
                      const call_extent& extent, const device_intermediates<T>& intermediates) {
  using call_type = call_params<T, Out, Lowered>;
  using prefill = prefill_kernel<HeadDim, call_type>;
  using decode = decode_kernel<HeadDim, call_type>;
  const bool any_prefill = extent.prefill_rows > 0;
  const bool any_decode = extent.decode_rows > 0;
  status done;
  if (any_prefill) done = device.template admit<prefill>();
  if (done && any_decode) done = device.template admit<decode>();
  if (!done) return done;

  if constexpr (std::is_same_v<Rotation, token_rotation>) {
    const auto rotate = [&](view<const T, 4>& rows, T* destination, index_t length, index_t heads,
                            bool are_keys) {
      const view<T, 4> rotated(destination, rows.shape);
      if (length > 0) {
        done = device.launch(
            rotate_tokens_kernel<HeadDim, call_type>{call, rotation, rotated, length, are_keys},
            {warps_of_block::blocks(length), heads, shape.batch});
      }
      rows = rotated;
    };
    rotate(call.q, intermediates.queries, shape.query_length, shape.query_heads, false);
    if (done) rotate(call.k, intermediates.keys, shape.key_length, shape.key_heads, true);
    if (!done) return done;
  }
  if (any_decode) {
    call.states = intermediates.states;
    if (extent.chunks > 0) {
      const index_t row_blocks = decode_chunks::row_blocks(extent.decode_rows, call.group);
      done = device.launch(decode{call, extent.chunks},
                           {extent.chunks * row_blocks, shape.key_heads, shape.batch});
      if (!done) return done;
    }
    done = device.launch(decode_merge_kernel<HeadDim, call_type>{call},
                         {extent.decode_rows, shape.query_heads, shape.batch});
    if (!done) return done;
  }
  if (!any_prefill) return done;
  if constexpr (Lowered::rotates) {
    if (shape.key_length > 0) {
      const view<T, 4> rotated(intermediates.keys, call.k.shape);
      done =
          device.launch(rotate_keys_kernel<HeadDim, call_type>{call, rotated},
                        {warps_of_block::blocks(shape.key_length), shape.key_heads, shape.batch});
      if (!done) return done;
      call.k = rotated;
    }
  }
  if constexpr (Lowered::bounds_scores) {
    if (intermediates.norms != nullptr) {
      call.key_norms = intermediates.norms;
      call.norm_tiles = key_tile_norms::capacity(shape.key_length, prefill::geometry::keys);
      done = device.launch(measure_keys_kernel<HeadDim, call_type>{call},
                           {warps_of_block::blocks(call.norm_tiles), shape.key_heads, shape.batch});
      if (!done) return done;
    }
  }
  const index_t row_blocks = ceil_div(extent.prefill_rows, prefill::geometry::rows);
  return device.launch(prefill{call, row_blocks}, {row_blocks, shape.query_heads, shape.batch});
}

}  // namespace relpos::inline RELPOS_ABI
