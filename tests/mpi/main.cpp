// Every rank runs every test, in the same order.

#include <gtest/gtest.h>
#include <mpi.h>

int main(int count, char** values) {
  MPI_Init(&count, &values);
  testing::InitGoogleTest(&count, values);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank != 0) testing::GTEST_FLAG(brief) = true;
  int failed = RUN_ALL_TESTS();
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  MPI_Finalize();
  return failed;
}
