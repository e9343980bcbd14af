#pragma once
// The limit of decode: a loop that only reads the same memory, with additions that never wait.

#include <cstddef>

#include "relpos/simd/pack.hpp"

namespace relpos::bench {

/// Reads `bytes` and returns a sum of some of them, so that the compiler keeps the loop. Prefetches
/// cache lines `ahead` bytes before it reads them; 0 leaves prefetching to the processor.
template <class Isa>
RELPOS_NOINLINE float read_all(const void* data, std::size_t bytes, std::size_t ahead) {
  using real = float_pack<Isa>;
  constexpr int parts = 8;
  constexpr std::size_t step = parts * sizeof(float) * lanes<Isa>;
  const auto* const from = static_cast<const char*>(data);
  real sum[parts];
  RELPOS_UNROLL
  for (int i = 0; i < parts; ++i) sum[i] = real(0.0f);
  for (std::size_t at = 0; at + step <= bytes; at += step) {
    const auto* const floats = reinterpret_cast<const float*>(from + at);
    RELPOS_UNROLL
    for (int i = 0; i < parts; ++i) {
      if (ahead != 0) __builtin_prefetch(floats + i * lanes<Isa> + ahead / sizeof(float));
      sum[i] = sum[i] + real::load(floats + i * lanes<Isa>);
    }
  }
  RELPOS_UNROLL
  for (int i = 0; i < parts - 1; ++i) sum[0] = sum[0] + sum[i + 1];
  float values[lanes<Isa>];
  sum[0].store(values);
  return values[0];
}

}  // namespace relpos::bench
