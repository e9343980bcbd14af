#pragma once
// Sequences that are spread over the ranks of an MPI program: attention over rows of all ranks, and
// the merge of what ranks computed over their own caches. Link relpos::mpi, or MPI itself.

#include "relpos/mpi/attention.hpp"
#include "relpos/mpi/merge.hpp"
#include "relpos/mpi/rank_pages.hpp"
