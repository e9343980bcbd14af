#pragma once
// Who runs the work. The library never starts a thread: it divides a call into independent items
// and gives them to an executor.

#include <concepts>

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// `run(count, item)` calls item(i, slot) once for each i in [0, count), in any order and on any
/// thread, and returns when all are done. `slot` < slots() tells apart the items that run at the
/// same time: each has its own scratch. A call makes two runs, `prepare` (tables) and `attend`.
template <class Executor>
concept executor = requires(const Executor& runner, void (*item)(index, index)) {
  { runner.slots() } -> std::convertible_to<index>;
  runner.run(index{}, item);
};

/// Everything on the calling thread.
struct serial {
  static constexpr index slots() { return 1; }

  template <class Item>
  static void run(index count, Item&& item) {
    for (index i = 0; i < count; ++i) item(i, index{0});
  }
};

}  // namespace relpos::inline RELPOS_ABI
