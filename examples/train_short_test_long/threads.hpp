#pragma once

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace extrapolation {

/// Calls item(i) for i from 0 to count - 1 on `threads` threads, and throws their first exception.
template <class Item>
void for_each_item(long count, unsigned threads, const Item& item) {
  std::atomic<long> next = 0;
  std::exception_ptr failure;
  std::mutex failing;
  const auto work = [&] {
    try {
      for (long i = next++; i < count; i = next++) item(i);
    } catch (...) {
      const std::scoped_lock lock(failing);
      if (!failure) failure = std::current_exception();
      next = count;
    }
  };
  {
    std::vector<std::jthread> others;
    for (unsigned i = 1; i < threads; ++i) others.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

/// The executor of calls whose heads are computed on several threads.
struct several_threads {
  unsigned count;

  long workers() const { return static_cast<long>(count); }

  template <class Item>
  void run(long items, const Item& item) const {
    std::atomic<long> next = 0;
    for_each_item(workers(), count, [&](long worker) {
      for (long i = next++; i < items; i = next++) item(i, worker);
    });
  }
};

}  // namespace extrapolation
