"""What calls cost a compiler: seconds of its processor, memory, and bytes of code, for one call, for each further one,
and with the kernels of relpos::kernels linked instead of compiled.

Times are the least of some runs, beside Eigen's tensor header alone, which every user of tensors pays for.

    ./dev compile-times [--runs N]
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Signatures as models have them. The first is the one that is compiled alone.
CALLS = [
    "relpos::alibi{slopes}, relpos::causal{}",
    "relpos::causal{}",
    "relpos::causal{}, relpos::alibi{slopes}",
    "relpos::alibi{slopes}, relpos::band{128, 0}",
    "relpos::rotary{rope}, relpos::causal{}",
    "relpos::rotary{rope}, relpos::band{4096, 0}, relpos::sink_logits{sinks}",
    "relpos::t5_bias{table, relpos::bidirectional}",
    "relpos::relative_bias{wave}, relpos::causal{}",
]

SOURCE = """#include <relpos/relpos.hpp>
using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;
inline double wave(relpos::index_t head, relpos::index_t distance) {
  return 0.001 * static_cast<double>(head * distance);
}
"""
CALL = """tensor call_%d(const tensor& q, const tensor& k, const tensor& v, const Eigen::VectorXf& slopes,
              const Eigen::VectorXf& sinks, const Eigen::VectorXf& table,
              const relpos::rotary_table& rope) {
  static_cast<void>(slopes), static_cast<void>(sinks), static_cast<void>(table), static_cast<void>(rope);
  return relpos::attention(q, k, v, %s);
}
"""


def call_source(calls):
    return SOURCE + "".join(CALL % (i, call) for i, call in enumerate(calls))


class Compiler:
    def __init__(self, command, folder, runs):
        self.command = command
        self.folder = folder
        self.runs = runs

    def cost(self, name, source, flags=()):
        """Seconds of the processor, MiB of memory, bytes of code."""
        path = self.folder / (name + ".cpp")
        path.write_text(source)
        result = path.with_suffix(".o")
        times = []
        for _ in range(self.runs):
            process = subprocess.Popen([*self.command, *flags, "-c", path, "-o", result])
            _, status, used = os.wait4(process.pid, 0)
            if status != 0:
                sys.exit(f"{path} does not compile")
            times.append((used.ru_utime + used.ru_stime, used.ru_maxrss / 1024))
        sizes = subprocess.run(["size", result], check=True, capture_output=True, text=True).stdout
        seconds, memory = min(times)
        return seconds, memory, int(sizes.splitlines()[1].split()[0])

    def kernels_flag(self):
        """Says that relpos::kernels is linked, compiled for these flags."""
        probe = self.folder / "abi.cpp"
        probe.write_text('#include "relpos/config.hpp"\nabi: RELPOS_ABI\n')
        text = subprocess.run([*self.command, "-E", "-P", probe], check=True, capture_output=True, text=True).stdout
        return "-DRELPOS_KERNELS_%s=1" % re.search(r"abi: (\w+)", text).group(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="of each source (default: 3)")
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--eigen", default="/usr/include/eigen3", help="folder of its headers")
    parser.add_argument("--include", default=ROOT / "include", help="headers to measure")
    chosen = parser.parse_args()

    folder = ROOT / "build" / "compile_times"
    folder.mkdir(parents=True, exist_ok=True)
    command = [chosen.compiler, "-std=c++20", "-O2", "-march=native", "-I", chosen.include, "-isystem", chosen.eigen]
    compiler = Compiler(command, folder, chosen.runs)

    tensors, _, _ = compiler.cost("eigen", "#include <unsupported/Eigen/CXX11/Tensor>\n")
    rows = [("Eigen's tensor header", tensors, None, None)]

    def beyond_tensors(name, seconds, memory, size):
        rows.append((name, seconds - tensors, memory, size))

    linked = (compiler.kernels_flag(),)
    for suffix, flags in (("", ()), (", kernels linked", linked)):
        one = compiler.cost("one", call_source(CALLS[:1]), flags)
        beyond_tensors("one call, beyond it" + suffix, *one)
        all_calls = compiler.cost("all", call_source(CALLS), flags)
        further = len(CALLS) - 1
        rows.append((f"each of {further} further signatures" + suffix, (all_calls[0] - one[0]) / further, None,
                     (all_calls[2] - one[2]) // further))
    rows.append(("relpos::kernels, for one set of flags",
                 *compiler.cost("kernels", (ROOT / "src" / "kernels.cpp").read_text(), linked)))

    version = subprocess.run([chosen.compiler, "--version"], check=True, capture_output=True, text=True).stdout
    print(f"{version.splitlines()[0]}, -O2 -march=native")
    print(f"{'':48}{'CPU s':>8}{'MiB':>8}{'code, bytes':>14}")
    for name, seconds, memory, size in rows:
        print(f"{name:48}{seconds:8.1f}{'' if memory is None else round(memory):>8}{'' if size is None else size:>14}")


if __name__ == "__main__":
    main()
