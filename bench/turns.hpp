#pragma once
// Candidates timed in turns, with the processor's peak among them.

#include <functional>
#include <vector>

#include "candidate.hpp"
#include "fma_peak.hpp"
#include "interleaved.hpp"

namespace relpos::bench {

struct timed_turns {
  std::vector<double> seconds;  // of each candidate
  double peak_rate;  // multiply-add peak of one core in the same minutes, flops per second
};

/// Times the candidates and a loop of nothing but multiply-adds in turns.
inline timed_turns take_turns(const std::vector<candidate>& candidates, int turns) {
  using peak = fma_peak<native>;
  std::vector<std::function<void()>> turn_takers = {[] {
    volatile float keep = peak::run();
    (void)keep;
  }};
  for (const candidate& each : candidates) turn_takers.push_back(each.run);
  std::vector<double> seconds = interleaved_seconds(turn_takers, turns);
  const double peak_rate = peak::flops / seconds[0];
  seconds.erase(seconds.begin());
  return {seconds, peak_rate};
}

}  // namespace relpos::bench
