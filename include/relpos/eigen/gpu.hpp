#pragma once
// Attention over Eigen tensors in device memory, on the stream of an Eigen::GpuDevice
// (define EIGEN_USE_GPU before any header of Eigen is included).
//
// out, q, k and v are TensorMaps of device memory, of float, Eigen::half or Eigen::bfloat16; out
// may have another type. cuda/attention.hpp describes the computation. Workspace is allocated and
// freed in stream order. To capture calls into a graph, use the view form, whose workspace is
// the caller's and stays allocated.

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>

#include "relpos/cuda/attention.hpp"
#include "relpos/eigen/attention.hpp"

#if RELPOS_COMPILES_CUDA

namespace relpos::inline RELPOS_ABI {

/// @addtogroup gpu
/// @{

/// Attention over Eigen tensors in device memory, on the stream of an Eigen::GpuDevice.
///
/// Throws std::invalid_argument if the call is refused, and std::runtime_error if the device
/// reports an error.
///
/// @copydoc gpu.hpp
/// @snippet gpu.cu attention
template <class Dims = all_head_dims, eigen_expression Out, eigen_expression Query,
          eigen_expression Key, eigen_expression Value, class... Arguments>
void attention(const Eigen::GpuDevice& device, Out&& out, const Query& q, const Key& k,
               const Value& v, const Arguments&... arguments) {
  static_assert(check_tensors<Out, const Query, const Key, const Value>());
  const on_stream stream{device.stream()};
  const auto throw_error = [](const status& done) {
    if (done.code == status_code::device) {
      throw std::runtime_error(std::string("relpos: ") + done.message);
    }
    throw_unless(done);
  };
  const device_workspace_bytes bytes =
      workspace_bytes<Dims>(stream, view_of(q), view_of(k), view_of(v), arguments...);
  // libc++ 14 has no std::make_unique_for_overwrite.
  std::unique_ptr<std::byte[]> host(new std::byte[bytes.host]);
  void* memory = nullptr;
  if (bytes.device > 0) {
    throw_error(device_status(cudaMallocAsync(&memory, bytes.device, stream.stream),
                              "attention: workspace of the device"));
  }
  const status done =
      attention<Dims>(stream, device_workspace{{memory, bytes.device}, {host.get(), bytes.host}},
                      view_of(out), view_of(q), view_of(k), view_of(v), arguments...);
  if (memory != nullptr) {
    // The host workspace is needed until the stream has copied it.
    const auto release = [](void* data) { delete[] static_cast<std::byte*>(data); };
    if (cudaLaunchHostFunc(stream.stream, release, host.get()) == cudaSuccess) {
      static_cast<void>(host.release());
    } else {
      static_cast<void>(cudaStreamSynchronize(stream.stream));
    }
    throw_error(device_status(cudaFreeAsync(memory, stream.stream), "attention: workspace"));
  }
  throw_error(done);
}

/// @}

}  // namespace relpos::inline RELPOS_ABI

#endif
