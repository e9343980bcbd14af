#!/usr/bin/env python3
"""Counts the instructions of calls in an emulator, and compares them with those that were recorded.

usage: count_instructions.py FIGURES COUNTED_CALL EMULATOR...

Exit code 77 if FIGURES has none for the compiler, flags and instruction set of COUNTED_CALL.
"""

import concurrent.futures
import json
import os
import subprocess
import sys

FEW, MANY = 32, 64  # as in cpu/counted_calls.hpp
SKIPPED = 77


def executed(emulator, program, name, keys, times):
    """The instructions of a whole run: the emulator logs each, as a block of its own."""
    command = [*emulator, "-singlestep", "-d", "exec,nochain", "-D", "/dev/stderr", program, name, str(keys), str(times)]
    run = subprocess.run(command, capture_output=True, check=True)
    return run.stderr.count(b"\n"), run.stdout.decode().splitlines()


def main():
    figures, program, *emulator = sys.argv[1:]
    _, (recorded_set, queries) = executed(emulator, program, "none", FEW, 1)
    queries = int(queries)
    recorded = json.load(open(figures))
    if recorded_set not in recorded["per_score"]:
        print(f"nothing is recorded for {recorded_set}")
        return SKIPPED

    def of_call(name, keys):
        once, twice = (executed(emulator, program, name, keys, times)[0] for times in (1, 2))
        return twice - once

    failures = 0

    def compare(name, counted, expected):
        nonlocal failures
        is_near = abs(counted - expected) <= 0.05 * expected
        failures += not is_near
        print(f"{name}: {counted:.2f}, recorded {expected}{'' if is_near else ': FAILED'}")

    calls = [(name, keys) for name in recorded["per_score"][recorded_set] for keys in (FEW, MANY)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        counted = dict(zip(calls, pool.map(lambda call: of_call(*call), calls)))

    print(recorded_set)
    for name, expected in recorded["per_score"][recorded_set].items():
        few, many = counted[name, FEW], counted[name, MANY]
        compare(name, (many - few) / (queries * (MANY - FEW)), expected)
        if name == "causal":
            compare("beside its scores, per row", (2 * few - many) / queries, recorded["per_row"][recorded_set])
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
