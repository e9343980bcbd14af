#pragma once
// Who runs the work. The library never starts a thread: it divides a call into independent items
// and gives them to an executor.

#include <atomic>
#include <concepts>

#include "relpos/core/index.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// `run(count, item)` calls item(i, slot) once for each i in [0, count), in any order and on any
/// thread, and returns when all are done. `slot` < slots() tells apart the items that run at the
/// same time: each has its own workspace. A call makes three runs: prepare (tables), attend, and
/// merge (of split keys).
template <class Executor>
concept executor = requires(const Executor& runner, void (*item)(index_t, index_t)) {
  { runner.slots() } -> std::convertible_to<index_t>;
  runner.run(index_t{}, item);
};

/// Refuses an executor that can run nothing.
template <executor Executor>
status check_slots(const Executor& runner) {
  const auto slots = static_cast<index_t>(runner.slots());
  if (slots >= 1) return {};
  return status::error(status_code::invalid_value, "executor: slots() is %lld, must be at least 1",
                       static_cast<long long>(slots));
}

/// Everything on the calling thread.
struct serial {
  static constexpr index_t slots() { return 1; }

  template <class Item>
  static void run(index_t count, Item&& item) {
    for (index_t i = 0; i < count; ++i) item(i, index_t{0});
  }
};

/// A parallel loop of the caller's, `loop(count, run_item)`, which calls run_item(i) once for each
/// i in [0, count), in any order, and returns when all are done:
///
///   const relpos::on_loop runner{[](relpos::index_t count, auto run_item) { ... }, threads};
///
/// At most `threads` run at the same time.
template <class Loop>
struct on_loop {
  Loop loop;
  index_t threads = 1;

  constexpr on_loop(Loop of, std::integral auto at_once)
      : loop(of), threads(static_cast<index_t>(at_once)) {}

  index_t slots() const { return threads; }

  /// The loop runs one taker of items for each slot: so slots need no lock, and any loop will do.
  template <class Item>
  void run(index_t count, Item&& item) const {
    std::atomic<index_t> next{0};
    loop(threads < count ? threads : count, [&](index_t slot) {
      for (index_t i = next++; i < count; i = next++) item(i, slot);
    });
  }
};

/// One of several threads that each make the same call, with the same arguments and the same
/// workspace; `barrier()` returns when all of them have called it. Thread t takes items
/// t, t + threads, ...: the longest come first.
///
///   relpos::attention(relpos::team_member{thread, threads, barrier}, memory, out, q, k, v, ...);
template <class Barrier>
struct team_member {
  index_t thread;
  index_t threads;
  Barrier barrier;

  constexpr team_member(std::integral auto which, std::integral auto of, Barrier when_all_are_here)
      : thread(static_cast<index_t>(which)),
        threads(static_cast<index_t>(of)),
        barrier(when_all_are_here) {}

  /// None for a thread that is not one of the team, whose calls are refused.
  index_t slots() const { return 0 <= thread && thread < threads ? threads : 0; }

  template <class Item>
  void run(index_t count, Item&& item) const {
    for (index_t i = thread; i < count; i += threads) item(i, thread);
    barrier();
  }
};

/// Whether each of several threads makes the call: what a call allocates is then not shared.
template <class Executor>
inline constexpr bool is_team_member = false;
template <class Barrier>
inline constexpr bool is_team_member<team_member<Barrier>> = true;

}  // namespace relpos::inline RELPOS_ABI
