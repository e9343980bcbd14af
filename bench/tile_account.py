"""What the instructions of one tile of prefill cost, beside what they are measured to take.

  tile_account.py PROGRAM [--json FILE] ...

PROGRAM is relpos_bench_tile. Its inner loops are disassembled and counted, and it is run. All figures are for one
vector of scores; times are multiples of the time of one vector multiply-add at the peak. A bound is the time of the
busiest resource if nothing else delayed the loop. It supposes

  two 256-bit multiply-add pipes (Zen 4): a vector of 512 bits takes a multiply-add pipe for one multiply-add, each of
      four pipes shares other arithmetic, one vector is loaded and half a vector stored at a time, two broadcasts
  two 512-bit pipes (Golden Cove): all arithmetic shares them, and each time one vector or broadcast is loaded and half
      a vector stored
"""

import argparse
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import results_file

PIECES = {  # the symbol that has the inner loop; how many loop turns one vector of scores takes
    "q k": ("score_tile(", lambda channels, rows, vectors: channels / (rows * vectors)),
    "exp2 and sum": ("tile_weights", lambda channels, rows, vectors: 1 / vectors),
    "p v": ("value_product<", lambda channels, rows, vectors: channels / (rows * vectors)),
}


def functions(program):
    """(address, instruction, operands) lists by name."""
    listing = subprocess.run(
        ["objdump", "-dC", "--no-show-raw-insn", program], capture_output=True, text=True, check=True
    ).stdout
    found, current = {}, None
    for line in listing.splitlines():
        head = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        code = re.match(r" *([0-9a-f]+):\s+(\S+)\s*(.*)", line)
        if head:
            current = found.setdefault(head.group(1), [])
        elif code and current is not None:
            current.append((int(code.group(1), 16), code.group(2), code.group(3)))
    return found


def inner_loops(code):
    """Runs of instructions that end with a jump to their beginning and contain no other."""
    addresses = [address for address, _, _ in code]
    loops = []
    for end, (address, name, operands) in enumerate(code):
        target = re.match(r"([0-9a-f]+)\b", operands)
        if name.startswith("j") and target and addresses[0] <= int(target.group(1), 16) < address:
            loops.append((addresses.index(int(target.group(1), 16)), end))
    return [code[a : b + 1] for a, b in loops if not any(a <= c and d <= b and (a, b) != (c, d) for c, d in loops)]


def kind(name, operands):
    """What an instruction is, and whether it loads or stores a vector."""
    parts = re.split(r",(?![^(]*\))", operands.split("#")[0].strip())
    memory = ["(" in part for part in parts]
    if not name.startswith("v"):
        return "scalar", None
    stores = memory[-1]
    loads = any(memory) and not stores
    access = "stores" if stores else None
    if loads:
        access = "broadcasts" if "broadcast" in name or "{1to" in operands else "loads"
    if re.match(r"vfn?m(add|sub)", name):
        return "multiply-adds", access
    if re.match(r"v(mov|broadcast|pbroadcast)", name):
        return ("moves" if access is None else None), access
    return "other arithmetic", access


def counted(loop):
    counts = Counter()
    for _, name, operands in loop:
        counts.update(each for each in kind(name, operands) if each)
    return counts


def bound_of_256_bit_pipes(each):
    arithmetic = each["multiply-adds"] + each["other arithmetic"]
    return max(each["multiply-adds"], arithmetic / 2, each["loads"] + each["broadcasts"] / 2, 2 * each["stores"])


def bound_of_512_bit_pipes(each):
    arithmetic = each["multiply-adds"] + each["other arithmetic"]
    return max(arithmetic, each["loads"] + each["broadcasts"], 2 * each["stores"])


def account(program, measurements):
    """Rows of the table."""
    code = functions(program)
    rows = []
    for line in measurements:
        channels, keys, vectors, *measured = line.split()
        channels, keys, vectors = int(channels), int(keys), int(vectors)
        bounds = [0.0, 0.0]
        for (piece, (symbol, turns)), time in zip(PIECES.items(), measured):
            loops = [loop for name, body in code.items() if symbol in name for loop in inner_loops(body)]
            if not loops:
                sys.exit(f"{program}: no loop in '{symbol}'")
            counts = max((counted(loop) for loop in loops), key=lambda each: each["multiply-adds"])
            each = Counter({name: count * turns(channels, keys, vectors) for name, count in counts.items()})
            bounds = [bounds[0] + bound_of_256_bit_pipes(each), bounds[1] + bound_of_512_bit_pipes(each)]
            shown = [each[name] for name in ("multiply-adds", "other arithmetic", "loads", "broadcasts", "stores", "scalar")]
            shown += [bound_of_256_bit_pipes(each), bound_of_512_bit_pipes(each), float(time)]
            rows.append([str(channels), piece, *(f"{value:.1f}" for value in shown)])
        total = sum(float(time) for time in measured)
        rows.append([str(channels), "sum", "", "", "", "", "", "", *(f"{value:.1f}" for value in (*bounds, total))])
    return rows


HEADS = [
    "head_dim", "piece", "multiply-adds", "other arithmetic", "loads", "broadcasts", "stores", "scalar",
    "bound, 256-bit pipes", "bound, 512-bit pipes", "measured",
]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("program")
    results_file.add_options(parser)
    arguments = parser.parse_args()
    output = subprocess.run([arguments.program], capture_output=True, text=True, check=True).stdout
    compiler, flags, *measurements = output.splitlines()
    rows = account(arguments.program, measurements)
    for row in [HEADS, *rows]:
        print("  ".join(f"{cell:>16}" for cell in row))
    if arguments.json:
        section = {
            "title": "one tile, instruction by instruction",
            "processor": arguments.processor,
            "commit": arguments.commit,
            "compiler": compiler,
            "flags": flags,
            "notes": ["Figures are for one vector of scores", "Times are multiples of one vector multiply-add"],
            "table": {"heads": HEADS, "rows": rows},
            "rows": [],
        }
        results_file.write(Path(arguments.json), [section])


if __name__ == "__main__":
    main()
