#!/usr/bin/env python3
"""What a sequence over many ranks costs: measured on hosts of this machine, and by a model of time.

    bench/scale.py PROGRAM [--quick]

PROGRAM is examples/ring_attention.cpp, compiled for this machine. The tables of docs/scale.md are what this prints.
"""

import argparse
import os
import re
import subprocess
from pathlib import Path

HOSTS = Path(__file__).resolve().parent.parent / "tests" / "mpi" / "hosts.sh"
BYTES_PER_CHANNEL = 8  # a float of the key, a float of the value
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                   OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_mpi_yield_when_idle="1")


def run(command):
    """The (computing, waiting, megabytes) of each rank; None where hosts are not permitted."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    if done.returncode == 77:
        return None
    found = re.findall(r"rank \d+: ([\d.]+) s computing, ([\d.]+) s waiting, ([\d.]+) MB sent", done.stdout)
    if done.returncode != 0 or not found:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return [tuple(map(float, rank)) for rank in found]


def parts_of(rank, ranks, length):
    """The two parts of a rank in zigzag shards, as (first, last)."""
    part = length / (2 * ranks)
    return [(i * part, (i + 1) * part) for i in (rank, 2 * ranks - 1 - rank)]


def scores(queries, keys):
    """The number of scores of a causal mask between two parts, of equal size and aligned."""
    rows = queries[1] - queries[0]
    if queries == keys:
        return rows * (rows + 1) / 2
    return rows * rows if keys[0] < queries[0] else 0.0


def needed_rows(receiver, owner, ranks, length):
    """The rows of the owner's keys that some query of the receiver sees."""
    last = parts_of(receiver, ranks, length)[1][1]
    return sum(part[1] - part[0] for part in parts_of(owner, ranks, length) if part[0] < last)


def predict(ranks, length, head_dim, heads, key_heads, rate, memory, bandwidth, latency):
    """(seconds, waiting of the rank that waits longest, efficiency) by the model in docs/scale.md."""
    def compute(rank, step):
        owner = (rank + step) % ranks
        pairs = sum(scores(q, k) for q in parts_of(rank, ranks, length) for k in parts_of(owner, ranks, length))
        # From the second step on, rows are packed for another rank, and two states of the queries become one.
        packed = 2 * needed_rows(owner, rank, ranks, length) * head_dim * key_heads * BYTES_PER_CHANNEL
        merged = 3 * length / ranks * head_dim * heads * 4
        return 4.0 * head_dim * heads * pairs / rate + (packed + merged if step > 0 else 0.0) / memory

    begin = [0.0] * ranks  # of the step at hand
    end = [compute(rank, 0) for rank in range(ranks)]
    waited = [0.0] * ranks
    link_free = [0.0] * ranks  # when the sender's link has sent all before
    for step in range(1, ranks):
        new_begin = [0.0] * ranks
        freed = list(link_free)
        for rank in range(ranks):
            owner = (rank + step) % ranks
            size = needed_rows(rank, owner, ranks, length) * head_dim * key_heads * BYTES_PER_CHANNEL
            sent = max(begin[rank], begin[owner], link_free[owner]) + size / bandwidth
            freed[owner] = sent
            new_begin[rank] = max(end[rank], sent + latency)
            waited[rank] += new_begin[rank] - end[rank]
        link_free = freed
        begin = new_begin
        end = [begin[rank] + compute(rank, step) for rank in range(ranks)]
    seconds = max(end)
    ideal = 4.0 * head_dim * heads * length * (length + 1) / 2 / rate / ranks
    return seconds, max(waited), ideal / seconds


def measured(program, quick):
    length, heads, head_dim = (4096, 1, 64) if quick else (32768, 1, 128)
    one = run(["mpirun", "-n", 1, program, length, heads, head_dim])[0]
    two = run(["mpirun", "-n", 2, program, length, heads, head_dim])
    seconds = max(computing + waiting for computing, waiting, _ in two)
    print(f"Causal, {length} positions, {heads} head of {head_dim} channels, zigzag shards: "
          f"{one[0]:.2f} s on one rank, {seconds:.2f} s on two, {one[0] / seconds:.2f} times as fast.\n")

    length = 8192 if quick else 65536
    ranks = 4
    free = run(["mpirun", "-n", ranks, program, length, heads, head_dim])
    operations = 4.0 * head_dim * heads * length * (length + 1) / 2 / ranks
    rate = operations / (sum(computing for computing, _, _ in free) / ranks)
    print(f"{ranks} hosts, {length} positions. Without a network a rank computes at {rate / 1e9:.1f} GFlop/s.\n")
    print("| rate of a link | computing | waiting | sent by a rank | time | by the model | waiting, by the model |")
    print("|---|---|---|---|---|---|---|")
    for name, bandwidth in (("1 Gbit/s", 1e9), ("200 Mbit/s", 200e6), ("50 Mbit/s", 50e6)):
        found = run([HOSTS, ranks, f"{int(bandwidth)}bit", program, length, heads, head_dim])
        if found is None:
            print("\nHosts of their own are not permitted here.")
            return
        seconds = max(computing + waiting for computing, waiting, _ in found)
        # TCP and Ethernet take about 5 % of a link.
        model, waiting, _ = predict(ranks, length, head_dim, heads, heads, rate, 5e9,
                                    0.95 * bandwidth / 8, 2e-4)
        print(f"| {name} | {max(f[0] for f in found):.2f} s | {max(f[1] for f in found):.2f} s | "
              f"{max(f[2] for f in found):.1f} MB | {seconds:.2f} s | {model:.2f} s | {waiting:.2f} s |")


def predicted():
    print("\n| positions | ranks | 10 Gbit/s | 100 Gbit/s | 400 Gbit/s |")
    print("|---|---|---|---|---|")
    for length in (131072, 1048576, 4194304):
        for ranks in (8, 64, 512):
            efficiencies = [predict(ranks, length, 128, 32, 8, 2e12, 1e11, gigabits * 1e9 / 8, 2e-5)[2]
                            for gigabits in (10, 100, 400)]
            shares = " | ".join(f"{100 * each:.1f} %" for each in efficiencies)
            print(f"| {length // 1024}k | {ranks} | {shares} |")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program")
    arguments.add_argument("--quick", action="store_true", help="short sequences, whose times mean nothing")
    given = arguments.parse_args()
    measured(given.program, given.quick)
    predicted()


if __name__ == "__main__":
    main()
