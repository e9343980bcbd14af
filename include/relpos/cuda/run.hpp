#pragma once
// A call on a device, from the problem to its kernels.

#include <cstddef>

#include "relpos/cuda/launch.hpp"
#include "relpos/cuda/staging.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup gpu
/// @{

/// The caller's workspace of a call on a GPU: device memory, and host memory.
///
/// Host memory is preferably page-locked. It must not change until the stream has passed the call.
/// Any alignment.
struct device_workspace {
  workspace device;  ///< of the GPU
  workspace host;    ///< of the CPU, preferably page-locked
};
/// The bytes that a call on a GPU needs on the device and on the host.
struct device_workspace_bytes {
  std::size_t device = 0;  ///< of device_workspace::device
  std::size_t host = 0;    ///< of device_workspace::host
};

/// @}

/// Counts the bytes.
template <class Problem>
device_workspace_bytes measure_device_workspace(const Problem& problem) {
  arena host, device;
  call_staging<Problem> data(host, problem);
  static_cast<void>(device.take<std::byte>(static_cast<index_t>(host.bytes_taken())));
  static_cast<void>(data.take_intermediates(device));
  data.take_host_workspace(host);
  return {device.bytes_taken(), host.bytes_taken()};
}

/// Runs a checked problem. `memory` has at least the bytes of measure_device_workspace.
template <class Dims, class Device, class Problem>
status run_device_call(const Device& device, const Problem& problem,
                       const device_workspace& memory) {
  arena host_memory(memory.host), device_memory(memory.device);
  // The prepared data has the same layout on the host and on the device. On the device the
  // intermediates follow it.
  const auto* const source = host_memory.take<std::byte>(0);
  call_staging<Problem> data(host_memory, problem);
  const std::size_t bytes = host_memory.bytes_taken() - (arena::alignment - 1);
  data.take_host_workspace(host_memory);
  auto* const destination = device_memory.take<std::byte>(static_cast<index_t>(bytes));
  const device_intermediates intermediates = data.take_intermediates(device_memory);
  const auto call = data.fill(destination - source);
  const auto rotation = data.fill_token_rotation(destination - source);
  if (status done = device.copy(destination, source, bytes); !done) return done;
  status result;
  Dims::with(problem.shape.head_dim, [&](auto head_dim) {
    result = launch_kernels<head_dim>(device, call, rotation, problem.shape, data.extent(),
                                      intermediates);
  });
  return result;
}

}  // namespace relpos::inline RELPOS_ABI
