#pragma once
// A stream of a GPU, on which the kernels of a call run.

#include <cstddef>

#include "relpos/core/status.hpp"
#include "relpos/cuda/arch/sm80.hpp"
#include "relpos/cuda/kernels.hpp"

#if RELPOS_COMPILES_CUDA

#include <cuda_runtime.h>

namespace relpos::inline RELPOS_ABI {

inline status device_status(cudaError_t error, const char* operation) {
  if (error == cudaSuccess) return {};
  static_cast<void>(cudaGetLastError());  // reported here, so clear it for the caller's next call
  return status::error(status_code::device, "%s: %s", operation, cudaGetErrorString(error));
}

template <class Kernel>
__global__ void __launch_bounds__(Kernel::threads)
    run_kernel(const __grid_constant__ Kernel kernel) {
  sm80 arch;
  kernel(arch, block_grid{blockIdx.x, blockIdx.y, blockIdx.z});
}

class stream_device {
 public:
  explicit stream_device(cudaStream_t stream) : stream_(stream) {}

  /// Refuses a kernel whose blocks take more shared memory than the GPU has.
  template <class Kernel>
  static status admit() {
    return device_status(
        cudaFuncSetAttribute(run_kernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(Kernel::shared_bytes)),
        "attention: cannot reserve the shared memory of a block");
  }

  template <class Kernel>
  status launch(const Kernel& kernel, const block_grid& blocks) const {
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(blocks.x), static_cast<unsigned>(blocks.y),
                          static_cast<unsigned>(blocks.z));
    config.blockDim = dim3(static_cast<unsigned>(Kernel::threads));
    config.dynamicSmemBytes = Kernel::shared_bytes;
    config.stream = stream_;
    return device_status(cudaLaunchKernelEx(&config, run_kernel<Kernel>, kernel),
                         "attention: kernel launch");
  }

  status copy(void* destination, const void* source, std::size_t bytes) const {
    return device_status(
        cudaMemcpyAsync(destination, source, bytes, cudaMemcpyHostToDevice, stream_),
        "attention: copy to the device");
  }

 private:
  cudaStream_t stream_;
};

}  // namespace relpos::inline RELPOS_ABI

#endif
