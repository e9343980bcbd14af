#include <relpos/mpi.hpp>
#include <relpos/policies.hpp>

#include <cstdio>

int main(int count, char** values) {
  MPI_Init(&count, &values);
  int ranks = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  relpos::status done;
  {
    const relpos::mpi::group group(MPI_COMM_WORLD, relpos::mpi::contiguous_shards(ranks, ranks));
    float q = 1.0f, out = 0.0f;
    const relpos::view<float, 4> row(&q, {1, 1, 1, 1});
    done = relpos::mpi::attention(relpos::serial{}, group, relpos::view<float, 4>(&out, row.shape),
                                  row, row, row, relpos::causal{});
    std::printf("%g\n", static_cast<double>(out));
  }
  MPI_Finalize();
  return done ? 0 : 1;
}
