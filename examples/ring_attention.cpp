// Causal attention over a sequence that is spread over the ranks of an MPI program.
//
//   mpirun -n 4 relpos_example_ring_attention [length [heads [head_dim]]]
//
// Each rank prints the plan, which is the rows of keys that it needs of others, the seconds that it
// computed and waited, the bytes that it sent, and the share of the ideal: the time of its scores
// alone, measured on its own rows, over the time of the call.

#include <relpos/mpi.hpp>
#include <relpos/policies.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

using namespace relpos;

namespace {

/// This rank's rows of a tensor [1, heads, position, channel] that has a number for each position.
std::vector<float> rows(const mpi::sequence_shards& shards, int rank, index_t heads, index_t dim,
                        double frequency) {
  std::vector<float> result;
  for (index_t head = 0; head < heads; ++head) {
    for (const key_range& piece : shards.of(rank)) {
      for (index_t i = piece.first * dim; i < piece.last * dim; ++i) {
        result.push_back(static_cast<float>(std::sin(frequency * static_cast<double>(i + head))));
      }
    }
  }
  return result;
}

/// The number of scores that a causal mask shows the queries of a rank.
double scores_of(const mpi::sequence_shards& shards, int rank) {
  double result = 0.0;
  for (const key_range& piece : shards.of(rank)) {
    const auto first = static_cast<double>(piece.first);
    const auto last = static_cast<double>(piece.last);
    result += 0.5 * (last * (last + 1.0) - first * (first + 1.0));
  }
  return result;
}

}  // namespace

int main(int count, char** values) {
  MPI_Init(&count, &values);
  const auto argument = [&](int i, index_t otherwise) {
    return count > i ? static_cast<index_t>(std::strtoll(values[i], nullptr, 10)) : otherwise;
  };
  const index_t length = argument(1, 4096), heads = argument(2, 2), head_dim = argument(3, 64);
  bool succeeded = false;
  {
    int rank = 0, ranks = 1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    const mpi::sequence_shards shards = mpi::zigzag_shards(length, ranks);
    const index_t own = shards.rows(rank);
    const std::array<index_t, 4> shape{1, heads, own, head_dim};
    std::vector<float> q_data = rows(shards, rank, heads, head_dim, 0.53);
    std::vector<float> k_data = rows(shards, rank, heads, head_dim, 0.71);
    std::vector<float> v_data = rows(shards, rank, heads, head_dim, 1.3);
    std::vector<float> out_data(q_data.size());
    const view<const float, 4> q(q_data.data(), shape), k(k_data.data(), shape),
        v(v_data.data(), shape);
    const view<float, 4> out(out_data.data(), shape);

    //! [attention]
    const mpi::group group(MPI_COMM_WORLD, shards);
    status done = mpi::attention(serial{}, group, out, q, k, v, causal{});
    //! [attention]
    auto call = mpi::prepare(serial{}, group, out, q, k, v, causal{});
    for (int other = 0; other < ranks; ++other) {
      if (other == rank) continue;
      std::printf("rank %d needs %lld rows of rank %d\n", rank,
                  static_cast<long long>(call.rows_needed_of(other)), other);
    }
    mpi::traffic traffic;
    if (done) done = call.run(serial{}, &traffic);
    if (!done) std::fprintf(stderr, "%s\n", done.message);

    // The rate of this rank alone: its own rows against themselves, while the others do the same.
    std::vector<std::byte> memory(workspace_bytes(serial{}, q, k, v, causal{}));
    MPI_Barrier(group.communicator());
    const double begin = MPI_Wtime();
    const status alone = attention(serial{}, memory, out, q, k, v, causal{});
    const double own_seconds = MPI_Wtime() - begin;
    const auto of_own = static_cast<double>(std::max(own, index_t{1}));
    const double ideal = own_seconds * scores_of(shards, rank) / (0.5 * of_own * (of_own + 1.0));
    succeeded = done && alone;
    for (int each = 0; each < ranks; ++each) {
      MPI_Barrier(group.communicator());
      if (each != rank) continue;
      std::printf("rank %d: %.3f s computing, %.3f s waiting, %.1f MB sent, %.0f %% of the ideal\n",
                  rank, traffic.seconds - traffic.waiting, traffic.waiting,
                  static_cast<double>(traffic.bytes_sent) / 1e6, 100.0 * ideal / traffic.seconds);
      std::fflush(stdout);
    }
  }
  MPI_Finalize();
  return succeeded ? 0 : 1;
}
