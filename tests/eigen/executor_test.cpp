#define EIGEN_USE_THREADS

#include "relpos/eigen/executor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace {

using relpos::executor_of;
using relpos::index_t;

/// Counts how often each item ran, and catches two items in one worker at the same time.
class watch {
 public:
  watch(index_t count, index_t workers)
      : runs_(static_cast<std::size_t>(count)), busy_(static_cast<std::size_t>(workers)) {}

  void operator()(index_t item, index_t worker) {
    if (item < 0 || item >= static_cast<index_t>(runs_.size()) || worker < 0 ||
        worker >= static_cast<index_t>(busy_.size())) {
      out_of_range_ = true;
      return;
    }
    auto& busy = busy_[static_cast<std::size_t>(worker)];
    if (busy.exchange(true)) shared_ = true;
    ++runs_[static_cast<std::size_t>(item)];
    std::this_thread::yield();  // another one may come in
    busy = false;
  }

  void expect_every_item_once() const {
    for (const auto& runs : runs_) ASSERT_EQ(runs, 1);
    EXPECT_FALSE(out_of_range_);
    EXPECT_FALSE(shared_);
  }

 private:
  std::vector<std::atomic<int>> runs_;
  std::vector<std::atomic<bool>> busy_;
  std::atomic<bool> out_of_range_{false};
  std::atomic<bool> shared_{false};
};

struct pool_of {
  explicit pool_of(int threads) : pool(threads), device(&pool, threads) {}
  Eigen::ThreadPool pool;
  Eigen::ThreadPoolDevice device;
};

TEST(pool_executor, runs_every_item_once_and_never_two_on_one_worker) {
  for (const int threads : {1, 2, 3, 7}) {
    pool_of some(threads);
    const auto runner = executor_of(some.device);
    for (const index_t count : {0, 1, 2, 3, 8, 1000}) {
      for (int repetition = 0; repetition < 20; ++repetition) {
        watch items(count, runner.workers());
        runner.run(count, [&](index_t item, index_t worker) { items(item, worker); });
        items.expect_every_item_once();
      }
    }
  }
}

TEST(pool_executor, has_a_worker_for_each_thread_and_one_for_the_caller) {
  pool_of three(3);
  EXPECT_EQ(executor_of(three.device).workers(), 4);
}

TEST(pool_executor, runs_alone_inside_the_pool) {
  pool_of two(2);
  const auto runner = executor_of(two.device);
  constexpr int runs = 8;
  std::atomic<bool> another_worker{false};
  Eigen::Barrier all_done(runs);
  std::vector<std::unique_ptr<watch>> watches;
  for (int i = 0; i < runs; ++i) watches.push_back(std::make_unique<watch>(100, runner.workers()));
  for (const auto& items : watches) {
    two.device.enqueueNoNotification([&] {
      runner.run(100, [&](index_t item, index_t worker) {
        if (worker != 0) another_worker = true;
        (*items)(item, worker);
      });
      all_done.Notify();
    });
  }
  all_done.Wait();
  EXPECT_FALSE(another_worker);
  for (const auto& items : watches) items->expect_every_item_once();
}

/// Fills memory that was freed with numbers below any count.
void scribble_over_freed_memory() {
  std::vector<std::unique_ptr<std::byte[]>> blocks;
  for (std::size_t bytes = 16; bytes <= 128; bytes += 16) {
    for (int i = 0; i < 20; ++i) {
      blocks.push_back(std::make_unique<std::byte[]>(bytes));
      std::fill_n(blocks.back().get(), bytes, std::byte{0x80});
    }
  }
}

// All threads of the pool are held up by something else: the caller does the work, returns, and
// what the threads find in their queue afterwards is harmless.
TEST(pool_executor, does_not_wait_for_threads_that_are_busy) {
  auto held = std::make_unique<pool_of>(3);
  std::atomic<bool> release{false};
  for (int i = 0; i < 3; ++i) {
    held->device.enqueueNoNotification([&] { release.wait(false); });
  }
  std::atomic<int> runs{0};
  const auto item = [&](index_t, index_t) { ++runs; };
  for (int repetition = 1; repetition <= 10; ++repetition) {
    executor_of(held->device).run(100, item);
    EXPECT_EQ(runs, 100 * repetition);
  }
  scribble_over_freed_memory();
  release = true;
  release.notify_all();
  held.reset();  // joins the threads
  EXPECT_EQ(runs, 1000);
}

TEST(pool_executor, sees_what_the_items_wrote) {
  pool_of seven(7);
  for (int repetition = 0; repetition < 200; ++repetition) {
    std::vector<int> written(64);
    executor_of(seven.device).run(64, [&](index_t item, index_t) {
      written[static_cast<std::size_t>(item)] = static_cast<int>(item) + 1;
    });
    for (std::size_t i = 0; i < written.size(); ++i) ASSERT_EQ(written[i], static_cast<int>(i) + 1);
  }
}

TEST(pool_executor, devices_have_executors) {
  static_assert(std::is_same_v<decltype(executor_of(Eigen::DefaultDevice())), relpos::serial>);
  static_assert(relpos::executor<relpos::pool_executor<Eigen::ThreadPoolDevice>>);
  static_assert(relpos::eigen_device<Eigen::DefaultDevice>);
  static_assert(relpos::eigen_device<Eigen::ThreadPoolDevice>);
  static_assert(!relpos::eigen_device<int>);
}

}  // namespace
