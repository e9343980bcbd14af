#!/usr/bin/env bash
# The argument n_tasks of ggml's custom operators (ggml_map_custom1, ggml_custom_4d, ...) is no limit: where another node
# of the graph uses all threads, the custom function runs on all of them too. With n_tasks = 1 each thread calls it, all
# at once, and nth is the number of threads instead of 1. n_tasks counts only when ggml plans how many threads the whole
# graph gets.
#
# A function that does all of its work in each call, because it asked for one task, does it on each thread, and threads
# overwrite each other. It has to return at once unless ith is 0.
#
# Seen on x86-64 (AVX2), ggml 0.13.1 of pywhispercpp 1.5.1:
#
#   ggml 0.13.1
#   n_tasks 1, alone:            [(0, 1)]
#   n_tasks 1, behind a mul_mat: [(0, 4), (1, 4), (2, 4), (3, 4)]
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --no-deps --only-binary pywhispercpp pywhispercpp==1.5.1
packages=$("$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
export LD_LIBRARY_PATH=$packages:$packages/pywhispercpp.libs

"$folder/venv/bin/python" - <<'END'
import ctypes
import sys
from ctypes import c_bool, c_int, c_int64, c_size_t, c_void_p

cpu = ctypes.CDLL("libggml-cpu.so")
base = ctypes.CDLL("libggml-base.so")
Function = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_int, c_int, c_void_p)


class InitParams(ctypes.Structure):
    _fields_ = [("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool)]


def function(library, name, result, *arguments):
    found = getattr(library, name)
    found.restype, found.argtypes = result, arguments
    return found


version = function(base, "ggml_version", ctypes.c_char_p)
init = function(base, "ggml_init", c_void_p, InitParams)
free = function(base, "ggml_free", None, c_void_p)
new_tensor = function(base, "ggml_new_tensor_2d", c_void_p, c_void_p, c_int, c_int64, c_int64)
fill = function(cpu, "ggml_set_f32", c_void_p, c_void_p, ctypes.c_float)
multiply = function(base, "ggml_mul_mat", c_void_p, c_void_p, c_void_p, c_void_p)
custom = function(base, "ggml_map_custom1", c_void_p, c_void_p, c_void_p, Function, c_int, c_void_p)
new_graph = function(base, "ggml_new_graph", c_void_p, c_void_p)
build = function(base, "ggml_build_forward_expand", None, c_void_p, c_void_p)
compute = function(cpu, "ggml_graph_compute_with_ctx", c_int, c_void_p, c_void_p, c_int)


def calls(has_product, n_tasks):
    """(thread, threads) of each call of the function, in a graph that four threads compute."""
    seen = []
    record = Function(lambda out, a, thread, threads, data: seen.append((thread, threads)))
    context = init(InitParams(1 << 20, None, False))
    a = fill(new_tensor(context, 0, 64, 64), 1.0)
    graph = new_graph(context)
    build(graph, custom(context, multiply(context, a, a) if has_product else a, record, n_tasks, None))
    if compute(context, graph, 4) != 0:
        sys.exit("ggml has failed")
    free(context)
    return sorted(seen)


print("ggml", version().decode())
alone, beside = calls(False, 1), calls(True, 1)
print("n_tasks 1, alone:           ", alone)
print("n_tasks 1, behind a mul_mat:", beside)
sys.exit(0 if alone == [(0, 1)] and beside == [(i, 4) for i in range(4)] else 1)
END
