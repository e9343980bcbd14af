#pragma once
// The ranks that share one sequence.

#include <mpi.h>

#include <cstddef>
#include <utility>

#include "relpos/mpi/shards.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

/// @addtogroup mpi
/// @{

/// The ranks that share one sequence, and the rows that each of them has.
///
/// Its communicator is a duplicate of the caller's, so that its messages meet no others. All ranks
/// construct and destroy a group together, between MPI_Init and MPI_Finalize. A sequence over some
/// of the ranks, or heads over one axis of the ranks and a sequence over the other, is a group of a
/// communicator that MPI_Comm_split made.
class group {
 public:
  /// The largest message, if the constructor is given no other.
  static constexpr std::size_t most_bytes = std::size_t{1} << 30;

  /// Queries and keys are spread in the same way: self-attention.
  ///
  /// Messages of more than `largest_message` bytes, from 1 to 2^30, are sent in parts.
  group(MPI_Comm communicator, const sequence_shards& rows,
        std::size_t largest_message = most_bytes)
      : group(communicator, rows, rows, largest_message) {}

  /// Queries and keys are spread in two ways.
  group(MPI_Comm communicator, sequence_shards queries, sequence_shards keys,
        std::size_t largest_message = most_bytes)
      : queries_(std::move(queries)), keys_(std::move(keys)), largest_message_(largest_message) {
    MPI_Comm_dup(communicator, &communicator_);
    MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_ARE_FATAL);  // no rank goes on alone
    MPI_Comm_rank(communicator_, &rank_);
    MPI_Comm_size(communicator_, &size_);
  }

  group(const group&) = delete;
  group& operator=(const group&) = delete;
  ~group() {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (finalized == 0) MPI_Comm_free(&communicator_);
  }

  /// The duplicate of the communicator.
  MPI_Comm communicator() const { return communicator_; }
  /// The number of this rank.
  int rank() const { return rank_; }
  /// The number of ranks.
  int size() const { return size_; }

  /// The rows of q and out.
  const sequence_shards& queries() const { return queries_; }
  /// The rows of k and v.
  const sequence_shards& keys() const { return keys_; }
  /// The largest message in bytes.
  std::size_t largest_message() const { return largest_message_; }

 private:
  sequence_shards queries_, keys_;
  std::size_t largest_message_;
  MPI_Comm communicator_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 0;
};

/// @}

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
