#pragma once
// The device of these tests is a GPU. Without one they are skipped, and say why.

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>
#include <type_traits>
#include <vector>

#include "relpos/cuda/attention.hpp"
#include "support/attend.hpp"

namespace support {

class device_test : public testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) GTEST_SKIP() << "no GPU: " << cudaGetErrorString(error);
    if (count == 0) GTEST_SKIP() << "no GPU";
  }
};

inline void expect_success(cudaError_t error) {
  EXPECT_EQ(error, cudaSuccess) << cudaGetErrorString(error);
}

/// Memory that host and device read.
template <class T>
class device_array {
 public:
  explicit device_array(std::size_t size, T value = T{}) : size_(size) {
    expect_success(cudaMallocManaged(&data_, std::max<std::size_t>(size, 1) * sizeof(T)));
    for (std::size_t i = 0; i < size; ++i) data_[i] = value;
  }
  device_array(std::initializer_list<T> values) : device_array(std::vector<T>(values)) {}
  device_array(const std::vector<T>& values) : device_array(values.size()) {
    if (!values.empty()) std::memcpy(data_, values.data(), values.size() * sizeof(T));
  }
  device_array(const device_array&) = delete;
  device_array& operator=(const device_array&) = delete;
  ~device_array() { expect_success(cudaFree(data_)); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  T* data_ = nullptr;
  std::size_t size_;
};

/// Outputs are NaN before.
template <int HeadDim, class Out = float, class T, class... Policies>
attended<Out> attend_on_device(const inputs<T>& in, relpos::options opts,
                               const Policies&... policies) {
  EXPECT_EQ(in.q.shape[3], HeadDim);
  attended<Out> result{tensor<Out>({in.q.shape[0], in.q.shape[1], in.q.shape[2], HeadDim}),
                       tensor<float, 3>({in.q.shape[0], in.q.shape[1], in.q.shape[2]})};
  const device_array<T> q(in.q.values), k(in.k.values), v(in.v.values);
  device_array<Out> out(result.out.values.size(), Out(not_a_number));
  device_array<float> lse(result.lse.values.size(), not_a_number);
  const relpos::view<const T, 4> of_q(q.data(), in.q.shape), of_k(k.data(), in.k.shape),
      of_v(v.data(), in.v.shape);
  opts.lse = relpos::view<float, 3>(lse.data(), result.lse.shape);

  const relpos::on_stream stream;
  const relpos::device_workspace_bytes bytes = relpos::workspace_bytes<relpos::head_dims<HeadDim>>(
      stream, of_q, of_k, of_v, policies..., opts);
  std::vector<std::byte> host(bytes.host);
  void* device = nullptr;
  expect_success(cudaMalloc(&device, bytes.device));
  const relpos::status done = relpos::attention<relpos::head_dims<HeadDim>>(
      stream, relpos::device_workspace{{device, bytes.device}, host},
      relpos::view<Out, 4>(out.data(), result.out.shape), of_q, of_k, of_v, policies..., opts);
  EXPECT_TRUE(done) << done.message;
  expect_success(cudaDeviceSynchronize());
  expect_success(cudaFree(device));
  std::copy(out.data(), out.data() + out.size(), result.out.values.begin());
  std::copy(lse.data(), lse.data() + lse.size(), result.lse.values.begin());
  return result;
}

}  // namespace support
