// The same policies on a GPU: a call over device memory, compared with the CPU.

#define EIGEN_USE_GPU
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <relpos/eigen/gpu.hpp>
#include <relpos/relpos.hpp>
#include <vector>

using namespace relpos;

using Tensor = Eigen::Tensor<Eigen::half, 4, Eigen::RowMajor>;
using DeviceTensor = Eigen::TensorMap<Tensor>;

int main() {
  constexpr int nothing_to_run_on = 77;
  int devices = 0;
  const cudaError_t found = cudaGetDeviceCount(&devices);
  if (found != cudaSuccess || devices == 0) {
    std::printf("skipped: no GPU (%s)\n", cudaGetErrorString(found));
    return nothing_to_run_on;
  }

  // [batch, head, position, channel]: 8 heads over 1000 positions, in memory that host and device
  // read.
  constexpr int heads = 8, length = 1000, channels = 64;
  const auto make = [&] {
    void* memory = nullptr;
    if (cudaMallocManaged(&memory, sizeof(Eigen::half) * heads * length * channels) !=
        cudaSuccess) {
      std::abort();
    }
    return DeviceTensor(static_cast<Eigen::half*>(memory), 1, heads, length, channels);
  };
  DeviceTensor q = make(), k = make(), v = make(), out = make();
  for (int i = 0; i < heads * length * channels; ++i) {
    const auto number = [&](int seed) {
      return Eigen::half(std::sin(0.37f * static_cast<float>(i % 1009) + static_cast<float>(seed)));
    };
    q.data()[i] = number(1);
    k.data()[i] = number(2);
    v.data()[i] = number(3);
  }
  const std::vector<float> slopes = alibi_slopes(heads);

  //! [attention]
  Eigen::GpuStreamDevice stream;
  const Eigen::GpuDevice gpu(&stream);
  attention(gpu, out, q, k, v, alibi{slopes}, causal{});
  gpu.synchronize();
  //! [attention]

  Tensor expected(1, heads, length, channels);
  attention(Eigen::DefaultDevice(), expected, q, k, v, alibi{slopes}, causal{});
  float largest = 0.0f;
  for (int i = 0; i < heads * length * channels; ++i) {
    const float difference =
        static_cast<float>(out.data()[i]) - static_cast<float>(expected.data()[i]);
    if (!(std::fabs(difference) <= largest)) largest = std::fabs(difference);
  }
  std::printf("largest difference from the CPU: %g\n", static_cast<double>(largest));
  return largest < 4e-3f ? 0 : 1;
}
