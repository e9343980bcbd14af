#pragma once
// Rotation to implicit positions: its tables, and the rotors between blocks of queries and keys, as
// the host prepares them.

#include <algorithm>
#include <cstddef>

#include "relpos/call/block_rotors.hpp"
#include "relpos/core/workspace.hpp"
#include "relpos/cuda/params.hpp"

namespace relpos::inline RELPOS_ABI {

/// Prepares the rotation of one call. `Problem` rotates and has implicit positions.
template <class Problem>
class implicit_rotation_staging {
 public:
  /// Takes host memory for the data that the device reads.
  implicit_rotation_staging(arena& memory, const Problem& problem) : problem_(problem) {
    with_rotation(problem.policies, [&](const auto& policy) { rows_ = policy.rotations(); });
    offset_rotors_ = memory.take<float>(2 * numbers());
    const index_t rotors = block_rotors::capacity(problem.distances().size());
    rotors_ = memory.take<float>(rotors * 2 * rows_.pairs);
  }

  /// There is no data that only the host reads.
  static void take_host_workspace(arena&) {}

  device_rotation fill(std::ptrdiff_t to_device) const {
    std::copy(rows_.queries, rows_.queries + numbers(), offset_rotors_);
    std::copy(rows_.keys, rows_.keys + numbers(), offset_rotors_ + numbers());
    const block_rotors rotors(rotors_, rows_.channels(), problem_.distances());
    with_rotation(problem_.policies, [&](const auto& policy) {
      for (index_t i = 0; i < rotors.count; ++i) rotors.fill(i, policy);
    });
    device_rotation result{rows_, rotors};
    result.rows.queries = rebase(offset_rotors_, to_device);
    result.rows.keys = rebase(offset_rotors_ + numbers(), to_device);
    result.rotors.data = rebase(rotors_, to_device);
    return result;
  }

 private:
  /// The number of floats of one table.
  index_t numbers() const { return rotation_block * 2 * rows_.pairs; }

  const Problem& problem_;
  rotation_rows rows_{};
  float* offset_rotors_ = nullptr;  // [queries, keys][rotation_block][2][pairs]
  float* rotors_ = nullptr;
};

}  // namespace relpos::inline RELPOS_ABI
