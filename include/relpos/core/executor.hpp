#pragma once
// Executors run the work. The library never starts a thread: it divides a call into independent
// items and gives them to an executor.

#include <atomic>
#include <concepts>

#include "relpos/core/index.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup executors
/// @{

/// The number of items that an executor runs at the same time. `slots()`, the old name of
/// `workers()`, works until 0.2.
template <class Executor>
  requires requires(const Executor& runner) { runner.workers(); } ||
           requires(const Executor& runner) { runner.slots(); }
constexpr index_t worker_count(const Executor& runner) {
  if constexpr (requires { runner.workers(); }) {
    return static_cast<index_t>(runner.workers());
  } else {
    return static_cast<index_t>(runner.slots());
  }
}

/// Whatever runs the work items of a call.
///
/// `run(count, item)` calls item(i, worker) once for each i in [0, count), in any order and on any
/// thread, and returns when all are done. Items that run at the same time have different workers,
/// in [0, workers()): each worker has its own workspace. A call of attention makes three runs:
/// prepare (tables), attend, and merge (of split keys).
///
/// @snippet reference.cpp own_executor
template <class Executor>
concept executor = requires(const Executor& runner, void (*item)(index_t, index_t)) {
  worker_count(runner);
  runner.run(index_t{}, item);
};

/// @}

/// Refuses an executor without workers.
template <executor Executor>
status check_workers(const Executor& runner) {
  const index_t workers = worker_count(runner);
  if (workers >= 1) return {};
  return status::error(status_code::invalid_value,
                       "executor: workers() is %lld, must be at least 1",
                       static_cast<long long>(workers));
}

/// @addtogroup executors
/// @{

/// Runs all items on the calling thread.
struct serial {
  /// One.
  static constexpr index_t workers() { return 1; }

  /// Calls item(i, 0) for each i in order.
  template <class Item>
  static void run(index_t count, Item&& item) {
    for (index_t i = 0; i < count; ++i) item(i, index_t{0});
  }
};

/// Runs items on a parallel loop of the caller.
///
/// `loop(count, run_item)` calls run_item(i) once for each i in [0, count), in any order, and
/// returns when all are done:
///
/// @snippet reference.cpp on_loop
///
/// At most `threads` run at the same time.
template <class Loop>
struct on_loop {
  Loop loop;            ///< (count, run_item)
  index_t threads = 1;  ///< at least 1

  /// The loop, and the number of its threads.
  constexpr on_loop(Loop parallel_loop, std::integral auto thread_count)
      : loop(parallel_loop), threads(static_cast<index_t>(thread_count)) {}

  /// The number of threads.
  index_t workers() const { return threads; }

  /// Calls the loop with one iteration per worker. Each iteration takes items until none is left,
  /// so two threads never share a worker, whatever the loop.
  template <class Item>
  void run(index_t count, Item&& item) const {
    std::atomic<index_t> next{0};
    loop(threads < count ? threads : count, [&](index_t worker) {
      for (index_t i = next++; i < count; i = next++) item(i, worker);
    });
  }
};

/// One of several threads that each make the same call, with the same arguments and the same
/// workspace.
///
/// `barrier()` returns when all of them have called it. Thread t takes items t, t + threads, ...:
/// the longest come first.
///
/// @snippet reference.cpp team_member
template <class Barrier>
struct team_member {
  index_t thread;   ///< from 0 to threads - 1
  index_t threads;  ///< of the team
  Barrier barrier;  ///< () -> void

  /// Thread number `thread_index` of `thread_count`.
  constexpr team_member(std::integral auto thread_index, std::integral auto thread_count,
                        Barrier team_barrier)
      : thread(static_cast<index_t>(thread_index)),
        threads(static_cast<index_t>(thread_count)),
        barrier(team_barrier) {}

  /// 0 for a thread outside the team: its calls are refused.
  index_t workers() const { return 0 <= thread && thread < threads ? threads : 0; }

  /// Runs the items of this thread, and waits for the others.
  template <class Item>
  void run(index_t count, Item&& item) const {
    for (index_t i = thread; i < count; i += threads) item(i, thread);
    barrier();
  }
};

/// @}

/// Whether several threads make the same call, so that the call cannot allocate memory for all.
template <class Executor>
inline constexpr bool is_team_member = false;
/// The same.
template <class Barrier>
inline constexpr bool is_team_member<team_member<Barrier>> = true;

}  // namespace relpos::inline RELPOS_ABI
