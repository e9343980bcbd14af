#pragma once
// The device of these tests is the CPU: the kernels of the GPU, block by block. gpu/device.hpp has
// the same functions.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <vector>

#include "block.hpp"
#include "relpos/cuda/check.hpp"
#include "relpos/cuda/run.hpp"
#include "support/attend.hpp"

namespace support {

class device_test : public testing::Test {};

/// A policy's data where kernels read it.
template <class T>
using device_array = std::vector<T>;

/// Runs blocks one after another.
class emulated_device {
 public:
  explicit emulated_device(thread_order order) : order_(order) {}

  template <class Kernel>
  static relpos::status admit() {
    return {};
  }
  template <class Kernel>
  relpos::status launch(const Kernel& kernel, const relpos::block_grid& blocks) const {
    for (index_t z = 0; z < blocks.z; ++z) {
      for (index_t y = 0; y < blocks.y; ++y) {
        for (index_t x = 0; x < blocks.x; ++x) {
          emulated_block::run(
              Kernel::threads, Kernel::shared_bytes, order_,
              [&](emulated_block::arch& of) { kernel(of, relpos::block_grid{x, y, z}); });
        }
      }
    }
    return {};
  }
  /// The source of the copy is gone after it.
  static relpos::status copy(void* to, const void* from, std::size_t bytes) {
    std::memcpy(to, from, bytes);
    std::memset(const_cast<void*>(from), 0xff, bytes);
    return {};
  }

 private:
  thread_order order_;
};

/// Outputs are NaN before. The head dimension is a template argument: each takes the compiler some
/// seconds.
template <int HeadDim, class Out = float, class T, class... Policies>
attended<Out> attend_in_order(thread_order order, const inputs<T>& in, relpos::options opts,
                              const Policies&... policies) {
  const auto& q = in.q;
  EXPECT_EQ(q.shape[3], HeadDim);
  const index_t rows = q.shape[2];
  attended<Out> result{
      tensor<Out>({q.shape[0], q.shape[1], rows, in.v.shape[3]}, Out(not_a_number)),
      tensor<float, 3>({q.shape[0], q.shape[1], rows}, not_a_number)};
  opts.lse = result.lse.view();
  EXPECT_TRUE(relpos::check_device_call(q.view(), in.k.view(), in.v.view(), opts));
  const relpos::tensor_views<T, T> source{in.k.view(), in.v.view(), opts.key_starts};
  const auto problem =
      relpos::make_problem(result.out.view(), relpos::view<const T, 4>(q.view()), source, opts.lse,
                           opts, std::tuple<Policies...>(policies...));
  if (q.view().size() == 0) return result;
  const relpos::device_workspace_bytes bytes = relpos::measure_device_workspace(problem);
  std::vector<std::byte> device(bytes.device, std::byte{0xff}), host(bytes.host);
  EXPECT_TRUE(relpos::run_device_call<relpos::head_dims<HeadDim>>(emulated_device(order), problem,
                                                                  {device, host}));
  return result;
}

template <int HeadDim, class Out = float, class T, class... Policies>
attended<Out> attend_on_device(const inputs<T>& in, const relpos::options& opts,
                               const Policies&... policies) {
  return attend_in_order<HeadDim, Out>(thread_order::up, in, opts, policies...);
}

}  // namespace support
