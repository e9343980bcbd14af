#pragma once
// The rows of keys and values that travel between two ranks in one step.
//
// A message has, for each piece of the sender's keys: the rows of keys [batch][key head][row][d],
// then the rows of values [batch][key head][row][d_v], each part on a multiple of 64 bytes. A head
// has the rows that the receiver needs of it.

#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <thread>
#include <vector>

#include "relpos/core/executor.hpp"
#include "relpos/mpi/needs.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

/// The sizes of rows.
struct row_sizes {
  index_t batch = 0;
  index_t head_dim = 0;
  index_t value_dim = 0;
};

/// Calls use(piece, offset of keys, offset of values), in bytes, for each piece of a
/// message between this rank and `rank`; returns the bytes of the message.
template <class Key, class Value, class Use>
std::size_t for_each_part(const range_table& table, int rank, const row_sizes& sizes,
                          const Use& use) {
  const auto rounded = [](std::size_t bytes) { return (bytes + 63) / 64 * 64; };
  std::size_t bytes = 0;
  for (index_t piece = 0; piece < table.pieces; ++piece) {
    index_t rows = 0;
    for (index_t head = 0; head < table.key_heads; ++head) {
      rows += rows_of(table.at(rank, piece, head));
    }
    if (rows == 0) continue;
    const auto all_rows = static_cast<std::size_t>(rows * sizes.batch);
    const std::size_t keys = bytes;
    bytes += rounded(all_rows * static_cast<std::size_t>(sizes.head_dim) * sizeof(Key));
    const std::size_t values = bytes;
    bytes += rounded(all_rows * static_cast<std::size_t>(sizes.value_dim) * sizeof(Value));
    use(piece, keys, values);
  }
  return bytes;
}

/// The rows of a message before the rows of a head of a batch entry.
inline index_t rows_before(const range_table& table, int rank, index_t piece, index_t batch,
                           index_t head) {
  index_t of_entry = 0, of_heads = 0;
  for (index_t i = 0; i < table.key_heads; ++i) {
    const index_t rows = rows_of(table.at(rank, piece, i));
    of_entry += rows;
    of_heads += i < head ? rows : 0;
  }
  return batch * of_entry + of_heads;
}

/// Copies the rows that a message has of a piece, which begins at position `start` of row 0 of
/// `from`, to consecutive memory.
template <executor Executor, class T>
void pack(const Executor& runner, T* to, const view<const T, 4>& from, const range_table& table,
          int rank, index_t piece, index_t start) {
  runner.run(from.shape[0] * from.shape[1], [&](index_t item, index_t) {
    const index_t batch = item / from.shape[1];
    const index_t head = item % from.shape[1];
    T* row_to = to + rows_before(table, rank, piece, batch, head) * from.shape[3];
    const key_range& range = table.at(rank, piece, head);
    for (index_t row = range.first; row < range.last; ++row, row_to += from.shape[3]) {
      const T* const source = from.address(batch, head, row - start, 0);
      for (index_t c = 0; c < from.shape[3]; ++c) row_to[c] = source[c * from.strides[3]];
    }
  });
}

/// Copies consecutive rows to [batch, head, row of `all`, channel]; rows that did not travel are 0.
template <executor Executor, class T>
void unpack(const Executor& runner, const view<T, 4>& to, const T* from, const range_table& table,
            int rank, index_t piece, const key_range& all) {
  runner.run(to.shape[0] * to.shape[1], [&](index_t item, index_t) {
    const index_t batch = item / to.shape[1];
    const index_t head = item % to.shape[1];
    const key_range& range = table.at(rank, piece, head);
    std::fill_n(to.address(batch, head, 0, 0), to.shape[2] * to.shape[3], T(0.0f));
    if (is_empty(range)) return;
    std::copy_n(from + rows_before(table, rank, piece, batch, head) * to.shape[3],
                rows_of(range) * to.shape[3], to.address(batch, head, range.first - all.first, 0));
  });
}

/// The rows that a message has of a piece: in place if all heads have the same, else in `memory`.
template <executor Executor, class T>
view<const T, 4> received_rows(const Executor& runner, const T* from, std::vector<T>& memory,
                               const std::array<index_t, 3>& rows, index_t channels,
                               const range_table& table, int rank, index_t piece) {
  const std::array<index_t, 4> shape{rows[0], rows[1], rows[2], channels};
  const key_range all = table.of_all_heads(rank, piece);
  bool all_heads = true;
  for (index_t head = 0; head < rows[1]; ++head) {
    all_heads = all_heads && table.at(rank, piece, head) == all;
  }
  if (all_heads) return view<const T, 4>(from, shape);
  unpack(runner, view<T, 4>(memory.data(), shape), from, table, rank, piece, all);
  return view<const T, 4>(memory.data(), shape);
}

/// One message out and one in, on their way.
class exchange {
 public:
  /// The bytes to send, to be filled before `start`, and the bytes received after `wait`.
  std::vector<std::byte> outgoing{};
  std::vector<std::byte> incoming{};

  /// Room for messages of so many bytes.
  void reserve(const group& ranks, std::size_t sent, std::size_t received) {
    outgoing.resize(sent);
    incoming.resize(received);
    const std::size_t largest = ranks.largest_message();
    requests_.reserve((sent + largest - 1) / largest + (received + largest - 1) / largest);
  }

  /// Begins to send to one rank and to receive from another; messages of 0 bytes do not travel.
  void start(const group& ranks, int receiver, std::size_t sent, int sender, std::size_t received) {
    requests_.clear();
    for_each_message(ranks, received, [&](std::size_t first, int bytes) {
      MPI_Irecv(incoming.data() + first, bytes, MPI_BYTE, sender, 0, ranks.communicator(),
                &requests_.emplace_back());
    });
    for_each_message(ranks, sent, [&](std::size_t first, int bytes) {
      MPI_Isend(outgoing.data() + first, bytes, MPI_BYTE, receiver, 0, ranks.communicator(),
                &requests_.emplace_back());
    });
  }

  /// Lets MPI move messages on: many implementations do so only inside calls.
  void progress() {
    if (requests_.empty()) return;
    int done = 0;
    MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE);
    if (done != 0) requests_.clear();
  }

  /// Returns when both have arrived.
  void wait() {
    MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
    requests_.clear();
  }

 private:
  template <class Use>
  static void for_each_message(const group& ranks, std::size_t bytes, const Use& use) {
    for (std::size_t first = 0; first < bytes; first += ranks.largest_message()) {
      use(first, static_cast<int>(std::min(ranks.largest_message(), bytes - first)));
    }
  }

  std::vector<MPI_Request> requests_{};
};

/// An executor that moves messages on after each item of the calling thread.
template <executor Executor>
struct progressing {
  const Executor& runner;
  exchange& messages;

  index_t workers() const { return worker_count(runner); }

  template <class Item>
  void run(index_t count, Item&& item) const {
    runner.run(count, [&, caller = std::this_thread::get_id()](index_t i, index_t worker) {
      item(i, worker);
      if (std::this_thread::get_id() == caller) messages.progress();
    });
  }
};

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
