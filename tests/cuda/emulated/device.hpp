#pragma once
// The device of these tests is the CPU: the kernels of the GPU, block by block. gpu/device.hpp has the same functions.

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "block.hpp"
#include "relpos/cuda/check_forward.hpp"
#include "relpos/cuda/forward_block.hpp"
#include "relpos/cuda/forward_data.hpp"
#include "support/attend.hpp"

namespace support {

class device_test : public testing::Test {};

/// What kernels read of a policy's data.
template <class T>
using device_array = std::vector<T>;

/// Runs all blocks of a call.
template <int HeadDim, class Call>
void run_blocks(const Call& call, const relpos::attention_shape& shape, thread_order order) {
  using geometry = relpos::forward_geometry<HeadDim>;
  constexpr std::size_t bytes =
      sizeof(relpos::forward_memory<typename Call::stored, HeadDim, Call::rotates>);
  for (index at = 0; at < shape.batch; ++at) {
    for (index head = 0; head < shape.query_heads; ++head) {
      for (index row = 0; row < call.sequences[at].queries.count; row += geometry::rows) {
        emulated_block::run(geometry::threads, bytes, order, [&](emulated_block::machine& of) {
          relpos::forward_block<emulated_block::machine, HeadDim, Call>(of, call, at, head, row)
              .run();
        });
      }
    }
  }
}

/// Outputs are NaN before. The head dimension is a template argument: each takes the compiler some seconds.
template <int HeadDim, class T, class... Policies>
attended<float> attend_in_order(thread_order order, const inputs<T>& in, relpos::options choice,
                                const Policies&... policies) {
  const auto& q = in.q;
  EXPECT_EQ(q.shape[3], HeadDim);
  const index rows = q.shape[2];
  attended<float> result{tensor<float>({q.shape[0], q.shape[1], rows, in.v.shape[3]}, not_a_number),
                         tensor<float, 3>({q.shape[0], q.shape[1], rows}, not_a_number)};
  choice.lse = result.lse.view();
  EXPECT_TRUE(relpos::check_forward(q.view(), in.k.view(), in.v.view(), choice));
  const relpos::key_views<T, T> store{in.k.view(), in.v.view(), choice.key_starts};
  const auto problem =
      relpos::make_problem(result.out.view(), relpos::view<const T, 4>(q.view()), store, choice.lse,
                           choice, std::tuple<Policies...>(policies...));
  using data = relpos::forward_data<std::remove_const_t<decltype(problem)>>;
  relpos::scratch_divider counted;
  data(counted, problem);
  const std::size_t bytes = counted.bytes_taken();
  // The copy of the device is another, and what it was copied from is gone.
  std::vector<std::byte> host(bytes + 64);
  std::vector<std::byte> device(host.size());
  const auto aligned = [](std::vector<std::byte>& memory) {
    return memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64);
  };
  relpos::scratch_divider divider(relpos::scratch(aligned(host), bytes));
  auto call = data(divider, problem).fill(aligned(device) - aligned(host));
  std::copy(aligned(host), aligned(host) + bytes - 63, aligned(device));
  std::fill(host.begin(), host.end(), std::byte{0xff});
  tensor<T> turned(in.k.shape);
  if constexpr (call.rotates) {
    for (index at = 0; at < problem.shape.batch; ++at) {
      for (index head = 0; head < problem.shape.key_heads; ++head) {
        for (index row = 0; row < problem.shape.key_length; ++row) {
          for (int lane = 0; lane < relpos::warp_lanes; ++lane) {
            relpos::turn_key<HeadDim>(call, turned.view(), at, head, row, lane);
          }
        }
      }
    }
    call.k = turned.view();
  }
  std::vector<float> norms;
  if constexpr (call.bounds) {
    using norms_of = relpos::key_tile_norms;
    const auto& shape = problem.shape;
    if (norms_of::pays<HeadDim>(shape.query_length) && shape.key_length > 0) {
      call.norm_tiles =
          norms_of::capacity(shape.key_length, relpos::forward_geometry<HeadDim>::keys);
      norms.assign(static_cast<std::size_t>(shape.batch * shape.key_heads * call.norm_tiles),
                   not_a_number);
      call.key_norms = norms.data();
      for (index at = 0; at < shape.batch; ++at) {
        for (index head = 0; head < shape.key_heads; ++head) {
          for (index tile = 0; tile < call.norm_tiles; ++tile) {
            emulated_block::run(relpos::warp_lanes, 16, order, [&](emulated_block::machine& of) {
              relpos::measure_key_tile<HeadDim>(of, call, at, head, tile);
            });
          }
        }
      }
    }
  }
  run_blocks<HeadDim>(call, problem.shape, order);
  return result;
}

template <int HeadDim, class T, class... Policies>
attended<float> attend_on_device(const inputs<T>& in, const relpos::options& choice,
                                 const Policies&... policies) {
  return attend_in_order<HeadDim>(thread_order::up, in, choice, policies...);
}

}  // namespace support
