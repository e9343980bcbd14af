// Calls that are refused before anything is launched or written. They need no GPU, and are the only
// tests here that run without one.

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "relpos/cuda.hpp"

namespace {

using relpos::half;
using relpos::index_t;
using relpos::status_code;

using dims = relpos::head_dims<64>;
using rows = relpos::view<const half, 4>;

constexpr relpos::on_stream stream;

/// A call of two heads, whose memory nothing may touch.
struct call {
  std::vector<half> numbers = std::vector<half>(4 * 64 * 64 + 8);
  std::vector<float> written = std::vector<float>(2 * 4 * 128, 7.0f);
  std::vector<std::byte> device, host;
  rows q = at({1, 2, 4, 64}), k = at({1, 1, 8, 64}), v = k;

  call() {
    const relpos::device_workspace_bytes bytes =
        relpos::workspace_bytes<dims>(stream, q, k, v, relpos::causal{});
    device.resize(bytes.device);
    host.resize(bytes.host);
  }
  rows at(const std::array<index_t, 4>& shape) const {
    return rows(numbers.data(), shape);  // operator new aligns to 16 bytes
  }
  relpos::view<float, 4> out() { return {written.data(), {1, 2, 4, q.shape[3]}}; }

  relpos::status run() {
    return relpos::attention<dims>(stream, relpos::device_workspace{device, host}, out(), q, k, v,
                                   relpos::causal{});
  }
  void expect_untouched() const {
    for (const float x : written) ASSERT_EQ(x, 7.0f);
  }
  void expect_refused(status_code code, const std::string& words) {
    const relpos::status done = run();
    EXPECT_EQ(done.code, code) << done.message;
    EXPECT_NE(std::string(done.message).find(words), std::string::npos) << done.message;
    expect_untouched();
  }
};

TEST(gpu_refusals, head_dims_without_a_kernel) {
  call of;
  of.q = of.at({1, 2, 4, 128});
  of.k = of.v = of.at({1, 1, 8, 128});
  of.expect_refused(status_code::invalid_shape, "head_dim");
}

TEST(gpu_refusals, rows_that_cannot_be_copied) {
  call of;
  of.k.data += 1;
  of.expect_refused(status_code::invalid_stride, "k: data must be aligned to 16 bytes");
  call apart;
  apart.v.strides[3] = 2;
  apart.expect_refused(status_code::invalid_stride, "v: channels must be contiguous");
  call null;
  null.q.data = nullptr;
  null.expect_refused(status_code::null_data, "q");
}

TEST(gpu_refusals, workspace_that_is_too_small) {
  call of;
  of.device.pop_back();
  of.expect_refused(status_code::workspace_too_small, "workspace");
  call on_host;
  on_host.host.pop_back();
  on_host.expect_refused(status_code::workspace_too_small, "workspace");
}

TEST(gpu_refusals, what_the_device_says) {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess && count > 0) GTEST_SKIP() << "there is a GPU";
  call of;
  of.expect_refused(status_code::device, "attention: ");
}

}  // namespace
