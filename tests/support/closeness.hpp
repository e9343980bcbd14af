#pragma once
// A float32 result is right if its error against float64 is at most twice the error of the naive
// implementation in float32, plus a few roundings of the largest value.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <vector>

#include "relpos/core/float8.hpp"
#include "relpos/core/storage.hpp"

namespace support {

/// Half a unit in the last place of what is stored, in parts of the value: the rounding on the way
/// out.
template <class Out>
double storage_rounding() {
  if constexpr (std::same_as<Out, relpos::bfloat16>) return 0x1p-8;
  if constexpr (std::same_as<Out, relpos::half>) return 0x1p-11;
  if constexpr (std::same_as<Out, relpos::float8_e4m3>) return 0x1p-4;
  if constexpr (std::same_as<Out, relpos::float8_e5m2>) return 0x1p-3;
  return 0.0;
}

/// Twice the largest error of `naive`, and eight roundings of the largest value (of 1 if
/// `at_least_one`).
inline double float_tolerance(const std::vector<double>& exact, const std::vector<float>& naive,
                              bool at_least_one = false) {
  double largest_error = 0.0;
  double largest = at_least_one ? 1.0 : 0.0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    if (!std::isfinite(exact[i])) continue;
    largest = std::max(largest, std::abs(exact[i]));
    largest_error = std::max(largest_error, std::abs(static_cast<double>(naive[i]) - exact[i]));
  }
  return 2.0 * largest_error + 8.0 * 0x1p-24 * largest;
}

/// Infinities must be equal, and nothing may be NaN.
template <class Out>
void expect_close(const std::vector<Out>& got, const std::vector<double>& exact, double tolerance,
                  const char* what) {
  ASSERT_EQ(got.size(), exact.size()) << what;
  ASSERT_TRUE(std::isfinite(tolerance)) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto value = static_cast<double>(static_cast<float>(got[i]));
    ASSERT_FALSE(std::isnan(exact[i])) << what << ", the oracle at element " << i;
    if (std::isfinite(exact[i]) && std::isfinite(value)) {
      ASSERT_LE(std::abs(value - exact[i]),
                tolerance + storage_rounding<Out>() * std::abs(exact[i]))
          << what << ", element " << i << ": is " << value << ", must be " << exact[i];
    } else {
      ASSERT_EQ(value, exact[i]) << what << ", element " << i;
    }
  }
}

}  // namespace support
