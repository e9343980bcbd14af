#!/usr/bin/env python3
"""A function that uses wide vectors has the name of an instruction set in its own: those of several sets never meet.

usage: shared_functions.py OBJDUMP PROGRAM
"""

import re
import subprocess
import sys


def main():
    objdump, program = sys.argv[1:]
    text = subprocess.run([objdump, "-d", "--no-show-raw-insn", program], capture_output=True, check=True, text=True)
    function, wide, wrong = "", 0, set()
    for line in text.stdout.splitlines():
        begins = re.match(r"[0-9a-f]+ <(.+)>:", line)
        if begins:
            function = begins[1]
        elif "%ymm" in line or "%zmm" in line:
            wide += 1
            if not re.search(r"(avx2|avx512)[a-z0-9_]*_abi", function):
                wrong.add(function)
    if wide < 1000:
        sys.exit(f"{program} has only {wide} instructions of wide vectors")
    if wrong:
        sys.exit("these functions use wide vectors on any processor:\n" + "\n".join(sorted(wrong)))


if __name__ == "__main__":
    main()
