#pragma once
// Errors of float functions in units in the last place, and inputs that leave no corner of the bit
// space unvisited.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "relpos/simd/pack.hpp"

namespace relpos_test {

/// |result - exact| in units of the last place that a float of exact's magnitude has.
inline double ulp_error(float result, double exact) {
  const int exponent = exact == 0.0 ? -126 : std::max(std::ilogb(exact), -126);
  return std::abs(static_cast<double>(result) - exact) / std::ldexp(1.0, exponent - 23);
}

/// Every `stride`-th float between two of the same sign, by magnitude.
inline void append_sweep(std::vector<float>& xs, float from, float to, std::uint32_t stride) {
  auto bits = static_cast<std::uint64_t>(std::bit_cast<std::uint32_t>(from));
  const auto last = static_cast<std::uint64_t>(std::bit_cast<std::uint32_t>(to));
  for (; bits <= last; bits += stride) {
    xs.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  }
}

/// The floats around x, x among them.
inline void append_around(std::vector<float>& xs, float x, int each_side) {
  float below = x;
  float above = x;
  xs.push_back(x);
  for (int i = 0; i < each_side; ++i) {
    below = std::nextafter(below, -std::numeric_limits<float>::infinity());
    above = std::nextafter(above, std::numeric_limits<float>::infinity());
    xs.push_back(below);
    xs.push_back(above);
  }
}

/// f of each x, by packs; the last pack is filled up with zeros. Not inlined: no part of it may
/// move to where the flush modes of the processor are different.
template <class Isa, class Function>
[[gnu::noinline]] std::vector<float> by_packs(const std::vector<float>& xs, Function f) {
  constexpr std::size_t n = relpos::lanes<Isa>;
  std::vector<float> padded = xs;
  padded.resize((xs.size() + n - 1) / n * n);
  for (std::size_t i = 0; i < padded.size(); i += n) {
    f(relpos::float_pack<Isa>::load(padded.data() + i)).store(padded.data() + i);
  }
  padded.resize(xs.size());
  return padded;
}

}  // namespace relpos_test
