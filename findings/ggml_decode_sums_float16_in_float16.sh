#!/usr/bin/env bash
# flash_attn_ext of ggml's CPU backend, one query over keys and values in float16, which is llama.cpp's usual cache: the
# weighted values are added up in float16 and divided at the end by the sum of the weights, in float32. A float16 of 2048
# does not change if 1 is added. So the mean of n ones is 2048 / n for more than 2048 keys of equal score, 0.25 for 8192,
# and the mean of 800 hundreds is infinite, beyond 65504. GGML_PREC_F32, which asks for sums in float32, changes nothing.
# With two threads each adds up half of the keys, so the result depends on the number of threads. float32 and bfloat16
# are right.
#
# A head that attends evenly to thousands of tokens gives too small an output in decode; 64 queries together get the
# right one.
#
# Seen on x86-64 (AVX2), ggml 0.13.1 of pywhispercpp 1.5.1:
#
#   ggml 0.13.1
#   float32   mean of 2048 times   1, 1 thread: 1
#   float32   mean of 4096 times   1, 1 thread: 1
#   float32   mean of 8192 times   1, 1 thread: 1
#   float32   mean of 8192 times   1, 2 threads: 1
#   float32   mean of 800 times 100, 1 thread: 100
#   bfloat16  mean of 2048 times   1, 1 thread: 1
#   bfloat16  mean of 4096 times   1, 1 thread: 1
#   bfloat16  mean of 8192 times   1, 1 thread: 1
#   bfloat16  mean of 8192 times   1, 2 threads: 1
#   bfloat16  mean of 800 times 100, 1 thread: 100
#   float16   mean of 2048 times   1, 1 thread: 1
#   float16   mean of 4096 times   1, 1 thread: 0.5
#   float16   mean of 8192 times   1, 1 thread: 0.25
#   float16   mean of 8192 times   1, 2 threads: 0.5
#   float16   mean of 800 times 100, 1 thread: inf
#   float16   mean of 8192 times   1, 1 thread, 64 queries: 1
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --no-deps --only-binary pywhispercpp pywhispercpp==1.5.1
packages=$("$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
export LD_LIBRARY_PATH=$packages:$packages/pywhispercpp.libs

"$folder/venv/bin/python" - <<'END'
import ctypes
import math
import sys
from ctypes import c_bool, c_float, c_int, c_int64, c_size_t, c_void_p

F32, F16, BF16 = 0, 1, 30
cpu = ctypes.CDLL("libggml-cpu.so")
base = ctypes.CDLL("libggml-base.so")


class InitParams(ctypes.Structure):
    _fields_ = [("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool)]


def function(library, name, result, *arguments):
    found = getattr(library, name)
    found.restype, found.argtypes = result, arguments
    return found


version = function(base, "ggml_version", ctypes.c_char_p)
init = function(base, "ggml_init", c_void_p, InitParams)
free = function(base, "ggml_free", None, c_void_p)
new_tensor = function(base, "ggml_new_tensor_3d", c_void_p, c_void_p, c_int, c_int64, c_int64, c_int64)
fill = function(cpu, "ggml_set_f32", c_void_p, c_void_p, c_float)
attention = function(base, "ggml_flash_attn_ext", c_void_p, *[c_void_p] * 5, *[c_float] * 3)
set_precision = function(base, "ggml_flash_attn_ext_set_prec", None, c_void_p, c_int)
new_graph = function(base, "ggml_new_graph", c_void_p, c_void_p)
build = function(base, "ggml_build_forward_expand", None, c_void_p, c_void_p)
compute = function(cpu, "ggml_graph_compute_with_ctx", c_int, c_void_p, c_void_p, c_int)
first_number = function(cpu, "ggml_get_f32_1d", c_float, c_void_p, c_int)


def mean(kind, keys, value, threads, queries=1):
    """The result of a query that has the same score with all keys, whose values are all the same."""
    context = init(InitParams(64 << 20, None, False))
    q = fill(new_tensor(context, F32, 64, queries, 1), 0.0)
    k, v = (fill(new_tensor(context, kind, 64, keys, 1), number) for number in (0.0, value))
    out = attention(context, q, k, v, None, 0.125, 0.0, 0.0)
    set_precision(out, 10)  # GGML_PREC_F32
    graph = new_graph(context)
    build(graph, out)
    if compute(context, graph, threads) != 0:
        sys.exit("ggml has failed")
    result = first_number(out, 0)
    free(context)
    return result


print("ggml", version().decode())
seen = []
for name, kind in (("float32", F32), ("bfloat16", BF16), ("float16", F16)):
    for keys, value, threads in ((2048, 1, 1), (4096, 1, 1), (8192, 1, 1), (8192, 1, 2), (800, 100, 1)):
        seen.append(mean(kind, keys, value, threads))
        print(f"{name:8}  mean of {keys} times {value:3}, {threads} thread{'s' if threads > 1 else ''}: {seen[-1]:g}")
prefill = mean(F16, 8192, 1, 1, queries=64)
print(f"float16   mean of 8192 times   1, 1 thread, 64 queries: {prefill:g}")
sys.exit(0 if prefill == 1 and seen == 2 * [1, 1, 1, 1, 100] + [1, 0.5, 0.25, 0.5, math.inf] else 1)
END
