#pragma once
// The timing of candidates on a machine that others use too. They take turns (A B C A B C) in short
// segments, and each reports its 10th percentile, or another one. Only ratios of figures from one
// run mean anything.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <vector>

namespace relpos::bench {

/// Seconds of one call of each candidate, after a warm-up of one turn.
inline std::vector<double> interleaved_seconds(const std::vector<std::function<void()>>& candidates,
                                               int turns, std::size_t percentile = 10) {
  using clock = std::chrono::steady_clock;
  std::vector<std::vector<double>> times(candidates.size());
  for (int turn = -1; turn < turns; ++turn) {
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const auto begin = clock::now();
      candidates[i]();
      const std::chrono::duration<double> elapsed = clock::now() - begin;
      if (turn >= 0) times[i].push_back(elapsed.count());
    }
  }
  std::vector<double> result;
  for (auto& each : times) {
    std::sort(each.begin(), each.end());
    result.push_back(each[each.size() * percentile / 100]);
  }
  return result;
}

}  // namespace relpos::bench
