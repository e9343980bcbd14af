#pragma once
// Which kernels a call takes, in which order, over how many blocks. Written over a device, which a stream of a GPU is, and
// in tests the CPU:
//
//   status copy(void* to, const void* from, std::size_t bytes)      from the host
//   status admit<Pass>()                                            refuses a pass that the device cannot run
//   status launch(const Pass& pass, const block_grid& blocks)

#include <type_traits>

#include "relpos/cuda/kernels.hpp"
#include "relpos/cuda/workspace.hpp"

namespace relpos::inline RELPOS_ABI {

/// What the host has prepared is in device memory. `turns` are device_turns where queries and keys are turned to the
/// positions of their tokens, no_data otherwise. The types of the call are spelled: nvcc would name them by way of the
/// problem's, which may hold a lambda.
template <int HeadDim, class Device, class T, class Out, class Lowered, class Turns>
status run_passes(const Device& device, forward_call<T, Out, Lowered> call, const Turns& turns,
                  const attention_shape& shape, const forward_extent& extent,
                  const forward_room<T>& room) {
  using call_type = forward_call<T, Out, Lowered>;
  using forward = forward_pass<HeadDim, call_type>;
  using split = split_pass<HeadDim, call_type>;
  const bool any_whole = extent.whole_rows > 0;
  const bool any_split = extent.split_rows > 0;
  status done;
  if (any_whole) done = device.template admit<forward>();
  if (done && any_split) done = device.template admit<split>();
  if (!done) return done;

  if constexpr (std::is_same_v<Turns, device_turns>) {
    const auto turn = [&](view<const T, 4>& rows, T* to, index_t length, index_t heads,
                          bool are_keys) {
      const view<T, 4> turned(to, rows.shape);
      if (length > 0) {
        done = device.launch(
            turn_tokens_pass<HeadDim, call_type>{call, turns, turned, length, are_keys},
            {warps_of_block::blocks(length), heads, shape.batch});
      }
      rows = turned;
    };
    turn(call.q, room.queries, shape.query_length, shape.query_heads, false);
    if (done) turn(call.k, room.keys, shape.key_length, shape.key_heads, true);
    if (!done) return done;
  }
  if (any_split) {
    call.states = room.states;
    if (extent.chunks > 0) {
      const index_t row_blocks = split_chunks::row_blocks(extent.split_rows, call.group);
      done = device.launch(split{call, extent.chunks},
                           {extent.chunks * row_blocks, shape.key_heads, shape.batch});
      if (!done) return done;
    }
    done = device.launch(split_merge_pass<HeadDim, call_type>{call},
                         {extent.split_rows, shape.query_heads, shape.batch});
    if (!done) return done;
  }
  if (!any_whole) return done;
  if constexpr (Lowered::rotates) {
    if (shape.key_length > 0) {
      const view<T, 4> turned(room.keys, call.k.shape);
      done =
          device.launch(turn_keys_pass<HeadDim, call_type>{call, turned},
                        {warps_of_block::blocks(shape.key_length), shape.key_heads, shape.batch});
      if (!done) return done;
      call.k = turned;
    }
  }
  if constexpr (Lowered::bounds_scores) {
    if (room.norms != nullptr) {
      call.key_norms = room.norms;
      call.norm_tiles = key_tile_norms::capacity(shape.key_length, forward::geometry::keys);
      done = device.launch(measure_keys_pass<HeadDim, call_type>{call},
                           {warps_of_block::blocks(call.norm_tiles), shape.key_heads, shape.batch});
      if (!done) return done;
    }
  }
  const index_t row_blocks = ceil_div(extent.whole_rows, forward::geometry::rows);
  return device.launch(forward{call, row_blocks}, {row_blocks, shape.query_heads, shape.batch});
}

}  // namespace relpos::inline RELPOS_ABI
