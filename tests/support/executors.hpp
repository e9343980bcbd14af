#pragma once
// Executors that do not do one thing after the other.

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "support/random_tensors.hpp"

namespace support {

/// In another order than `serial`, on several workers in turn.
struct shuffled {
  index_t worker_count = 3;
  std::uint32_t seed = 1;

  index_t workers() const { return worker_count; }

  template <class Item>
  void run(index_t count, Item&& item) const {
    std::vector<index_t> order(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), index_t{0});
    random_numbers random(seed);
    for (index_t i = count - 1; i > 0; --i) {
      std::swap(order[static_cast<std::size_t>(i)],
                order[static_cast<std::size_t>(random.between(0, i))]);
    }
    for (const index_t i : order) item(i, random.between(0, worker_count - 1));
  }
};

/// A thread for each worker.
struct threaded {
  index_t worker_count = 4;

  index_t workers() const { return worker_count; }

  template <class Item>
  void run(index_t count, Item&& item) const {
    std::atomic<index_t> next{0};
    std::vector<std::thread> threads;
    for (index_t worker = 0; worker < worker_count; ++worker) {
      threads.emplace_back([&next, &item, count, worker] {
        for (index_t i = next++; i < count; i = next++) item(i, worker);
      });
    }
    for (std::thread& each : threads) each.join();
  }
};

}  // namespace support
