#pragma once
// Eigen's CPU devices as executors. The threads are the caller's.

#include <unsupported/Eigen/CXX11/Tensor>

#include <algorithm>
#include <atomic>
#include <memory>

#include "relpos/core/executor.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup executors
/// @{

/// The executor of an Eigen::ThreadPoolDevice.
///
/// The calling thread takes part, so there is one worker more than threads. If a thread of the pool
/// calls, it runs all items alone, because the other threads may be waiting for it.
///
/// `Device` is a parameter because Eigen defines ThreadPoolDevice only under EIGEN_USE_THREADS.
template <class Device>
class pool_executor {
 public:
  /// Takes a device, which must outlive it.
  explicit pool_executor(const Device& device) : device_(device) {}

  /// The threads of the pool, and the caller.
  index_t workers() const { return static_cast<index_t>(device_.numThreads()) + 1; }

  /// Runs all items.
  template <class Item>
  void run(index_t count, Item&& item) const {
    if (count <= 1 || device_.currentThreadId() >= 0) {
      serial::run(count, item);
      return;
    }
    // Helpers that the pool starts late, maybe after the call, find no items left. They read
    // `work`, which must outlive the call.
    const auto work = std::make_shared<progress>();
    const auto take_items = [count, &item](progress& shared, index_t worker) {
      for (index_t i = shared.next++; i < count; i = shared.next++) {
        item(i, worker);
        if (++shared.done == count) shared.done.notify_one();
      }
    };
    const index_t helpers = std::min<index_t>(workers() - 1, count - 1);
    for (index_t worker = 1; worker <= helpers; ++worker) {
      device_.enqueueNoNotification([work, count, take_items, worker] {
        if (work->next < count) take_items(*work, worker);
      });
    }
    take_items(*work, 0);
    for (index_t done = work->done; done != count; done = work->done) work->done.wait(done);
  }

 private:
  struct progress {
    std::atomic<index_t> next{0};
    std::atomic<index_t> done{0};
  };

  const Device& device_;
};

/// The executor of the calling thread.
inline serial executor_of(const Eigen::DefaultDevice&) { return {}; }

/// The executor of a pool. Eigen has it under EIGEN_USE_THREADS.
inline pool_executor<Eigen::ThreadPoolDevice> executor_of(const Eigen::ThreadPoolDevice& device) {
  return pool_executor<Eigen::ThreadPoolDevice>(device);
}

/// A device of Eigen that attention can run on: DefaultDevice or ThreadPoolDevice.
template <class Device>
concept eigen_device = requires(const Device& device) { executor_of(device); };

/// @}

}  // namespace relpos::inline RELPOS_ABI
