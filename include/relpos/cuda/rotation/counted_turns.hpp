#pragma once
// Rotation to positions that are counted on from an offset: its tables, and the turns between the origins of queries and
// keys, as the host prepares them.

#include <algorithm>
#include <cstddef>

#include "relpos/call/rotation_gains.hpp"
#include "relpos/core/scratch.hpp"
#include "relpos/cuda/params.hpp"

namespace relpos::inline RELPOS_ABI {

/// For one call of `Problem`, which rotates.
template <class Problem>
class counted_turns {
 public:
  /// Takes what the device reads of host memory.
  counted_turns(scratch_divider& memory, const Problem& problem) : problem_(problem) {
    with_rotation(problem.policies, [&](const auto& policy) { rows_ = policy.rotations(); });
    rests_ = memory.take<float>(2 * numbers());
    const index_t gains = rotation_gains::capacity(problem.distances().size());
    gains_ = memory.take<float>(gains * 2 * rows_.pairs);
  }

  /// The host alone needs nothing.
  static void take_host_workspace(scratch_divider&) {}

  device_rotation fill(std::ptrdiff_t to_device) const {
    std::copy(rows_.queries, rows_.queries + numbers(), rests_);
    std::copy(rows_.keys, rows_.keys + numbers(), rests_ + numbers());
    const rotation_gains gains(gains_, rows_.pairs, problem_.distances());
    with_rotation(problem_.policies, [&](const auto& policy) {
      for (index_t i = 0; i < gains.count; ++i) gains.fill(i, policy);
    });
    device_rotation result{rows_, gains};
    result.rows.queries = rebase(rests_, to_device);
    result.rows.keys = rebase(rests_ + numbers(), to_device);
    result.gains.data = rebase(gains_, to_device);
    return result;
  }

 private:
  /// Of one table.
  index_t numbers() const { return rotation_grid * 2 * rows_.pairs; }

  const Problem& problem_;
  rotation_rows rows_{};
  float* rests_ = nullptr;  // [queries, keys][rotation_grid][2][pairs]
  float* gains_ = nullptr;
};

}  // namespace relpos::inline RELPOS_ABI
