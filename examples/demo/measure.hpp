#pragma once
// Times of two programs, taken in turns, so that a disturbance of the machine affects both.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

namespace demo {

struct pair_of_times {
  double first;
  double second;
};

/// Median seconds of each, in the order A B A B ..., for about `budget` seconds, but 3 to 101
/// times. The caller has run both before.
template <class First, class Second>
pair_of_times time_in_turns(double budget, const First& first, const Second& second) {
  using clock = std::chrono::steady_clock;
  const auto seconds = [](const auto& run) {
    const clock::time_point start = clock::now();
    run();
    return std::chrono::duration<double>(clock::now() - start).count();
  };
  const auto median = [](std::vector<double>& times) {
    const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
    std::nth_element(times.begin(), middle, times.end());
    return *middle;
  };
  std::vector<double> times_of_first, times_of_second;
  double spent = 0.0;
  while (times_of_first.size() < 3 || (spent < budget && times_of_first.size() < 101)) {
    times_of_first.push_back(seconds(first));
    times_of_second.push_back(seconds(second));
    spent += times_of_first.back() + times_of_second.back();
  }
  return {median(times_of_first), median(times_of_second)};
}

}  // namespace demo
