#pragma once
// The code that the benchmarks of single pieces share.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <random>
#include <vector>

#include "relpos/core/index.hpp"

namespace relpos::bench {

inline std::vector<float> normal_numbers(index_t count) {
  std::mt19937 generator(7);
  std::normal_distribution<float> normal;
  std::vector<float> result(static_cast<std::size_t>(count));
  for (float& x : result) x = normal(generator);
  return result;
}

/// For a benchmark whose items are multiply-adds: reports their rate, and the rate of
/// floating-point operations, two for each.
inline void count_multiply_adds(benchmark::State& state, index_t of_iteration) {
  const auto count = static_cast<std::int64_t>(state.iterations()) * of_iteration;
  state.SetItemsProcessed(count);
  state.counters["FLOP"] =
      benchmark::Counter(2.0 * static_cast<double>(count), benchmark::Counter::kIsRate);
}

}  // namespace relpos::bench
