// Decode over a cache that is spread over the ranks of an MPI program: each rank has some of the
// rows, and computes with those alone; the results of all ranks are merged.

#include <relpos/caches.hpp>
#include <relpos/mpi.hpp>
#include <relpos/policies.hpp>

#include <array>
#include <cmath>
#include <cstdio>
#include <vector>

using namespace relpos;

int main(int count, char** values) {
  MPI_Init(&count, &values);
  int rank = 0, ranks = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  constexpr index_t heads = 8, head_dim = 64, rows = 500;  // of each rank
  const auto waves = [](index_t length, double frequency, int from) {
    std::vector<float> result(static_cast<std::size_t>(heads * length * head_dim));
    for (float& each : result) each = static_cast<float>(std::sin(frequency * from++));
    return result;
  };
  const std::array<index_t, 4> of_query{1, heads, 1, head_dim}, of_rows{1, heads, rows, head_dim};
  std::vector<float> q_data = waves(1, 0.53, 0), out_data(q_data.size()), lse_data(heads);
  std::vector<float> k_data = waves(rows, 0.71, rank), v_data = waves(rows, 1.3, rank);
  std::vector<float> keys(k_data.size()), cached_values(k_data.size());
  std::vector<index_t> lengths{0};
  const view<const float, 4> q(q_data.data(), of_query), k(k_data.data(), of_rows),
      v(v_data.data(), of_rows);
  const view<float, 4> out(out_data.data(), of_query);
  const view<float, 3> lse(lse_data.data(), {1, heads, 1});
  const contiguous_cache<float> cache{
      {view<float, 4>(keys.data(), of_rows), view<float, 4>(cached_values.data(), of_rows)},
      lengths};
  const std::vector<float> slopes = alibi_slopes(heads);
  const alibi bias{slopes};

  //! [decode]
  // The rows of this rank are at positions from rank * rows on. The query comes after all rows.
  status done = append(serial{}, cache, k, v);
  const options opts{.lse = lse, .query_offset = ranks * rows, .key_offset = rank * rows};
  std::vector<std::byte> memory(workspace_bytes(serial{}, q, cache, bias, causal{}, opts));
  if (done) done = attention(serial{}, memory, out, q, cache, bias, causal{}, opts);
  done = mpi::merge(MPI_COMM_WORLD, done, {out, lse});
  //! [decode]

  if (!done) std::fprintf(stderr, "%s\n", done.message);
  if (rank == 0) {
    std::printf("%d ranks with %lld rows of keys each: out[0] = %.4f\n", ranks,
                static_cast<long long>(lengths[0]), static_cast<double>(out_data[0]));
  }
  MPI_Finalize();
  return done ? 0 : 1;
}
