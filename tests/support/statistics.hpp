#pragma once
// Where a call writes its statistics.

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "relpos/call/row_statistics.hpp"
#include "support/closeness.hpp"
#include "support/naive.hpp"

namespace support {

struct collected {
  tensor<float, 3> max_probability, entropy, logit_count, logit_mean, logit_variance;

  explicit collected(std::array<index_t, 3> rows)
      : max_probability(rows, not_a_number),
        entropy(rows, not_a_number),
        logit_count(rows, not_a_number),
        logit_mean(rows, not_a_number),
        logit_variance(rows, not_a_number) {}

  relpos::row_statistics views() {
    return {max_probability.view(), entropy.view(), logit_count.view(), logit_mean.view(),
            logit_variance.view()};
  }
};

template <class T>
std::array<index_t, 3> rows_of(const inputs<T>& in) {
  return {in.q.shape[0], in.q.shape[1], in.q.shape[2]};
}

/// As good as the same formulas in float32 over one row at a time.
inline void expect_statistics(const collected& got, const naive_statistics<double>& exact,
                              const naive_statistics<float>& naive) {
  const auto expect = [](const tensor<float, 3>& rows, const std::vector<double>& wanted,
                         const std::vector<float>& yardstick, const char* what) {
    expect_close(rows.values, wanted, float_tolerance(wanted, yardstick, true), what);
  };
  expect(got.max_probability, exact.max_probability, naive.max_probability, "max_probability");
  expect(got.entropy, exact.entropy, naive.entropy, "entropy");
  expect(got.logit_count, exact.logit_count, naive.logit_count, "logit_count");
  // One pass: a row's first 128 logits are summed relative to one of them, which may be 3
  // deviations from their mean, and the sum of their squares, 10 times that about the mean, is
  // rounded 128 times.
  double deviation = 1.0;
  for (const double variance : exact.logit_variance) {
    deviation = std::max(deviation, std::sqrt(variance));
  }
  const double one_pass = 128 * 0x1p-24;
  expect_close(got.logit_mean.values, exact.logit_mean,
               float_tolerance(exact.logit_mean, naive.logit_mean, true) + one_pass * deviation,
               "logit_mean");
  expect_close(got.logit_variance.values, exact.logit_variance,
               float_tolerance(exact.logit_variance, naive.logit_variance, true) +
                   one_pass * deviation * deviation,
               "logit_variance");
}

}  // namespace support
