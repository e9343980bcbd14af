#pragma once
// Attention on the device against the reference in double. The folder on the include path says
// which device: emulated/ or gpu/.

#include <algorithm>
#include <cmath>

#include "device.hpp"
#include "support/reference.hpp"

namespace support {

/// Expects the reference within the error of weights rounded to T before they meet the values (a
/// part of the largest value) and of scores that are wrong by `score_error`.
template <class T, class... Policies>
void expect_device_reference(const attended<float>& got, const inputs<T>& in, double score_error,
                             const relpos::options& opts, const Policies&... policies) {
  std::vector<double> exact_out, exact_lse;
  std::vector<float> naive_out, naive_lse;
  const auto refer = [&](auto& out, auto& lse) {
    run_reference(out, lse, in.q.view(), in.k.view(), in.v.view(), opts, policies...);
  };
  refer(exact_out, exact_lse);
  refer(naive_out, naive_lse);
  double largest = 0.0;
  for (const T value : in.v.values) {
    const auto magnitude = std::abs(static_cast<double>(static_cast<float>(value)));
    if (std::isfinite(magnitude)) largest = std::max(largest, magnitude);
  }
  const double of_weights = storage_rounding<T>() + 2.0 * score_error;
  expect_close(got.out.values, exact_out,
               float_tolerance(exact_out, naive_out) + of_weights * largest, "out");
  expect_close(got.lse.values, exact_lse, float_tolerance(exact_lse, naive_lse, true) + score_error,
               "lse");
}

template <int HeadDim, class T, class... Policies>
void expect_device(const inputs<T>& in, const relpos::options& opts, const Policies&... policies) {
  // Tensor cores truncate sums, here of scores up to 4, about once in eight products. float32 takes
  // three products each and omits a fourth.
  constexpr double sums = HeadDim / 8 * 0x1p-23 * 4.0;
  constexpr double cut_off = std::is_same_v<T, float> ? 3.0 * sums + 0x1p-21 * 4.0 : sums;
  expect_device_reference(attend_on_device<HeadDim>(in, opts, policies...), in, cut_off, opts,
                          policies...);
}

}  // namespace support
