#!/usr/bin/env bash
# ONNX Runtime's GroupQueryAttention with an int8 cache attends to the cache in the prompt too: its output there is of the
# rounded keys and values, not of the ones that are passed in float32. So the output of a prompt depends on the scales of
# the cache, and differs from a prompt without quantisation as a decoded token does. Codes are round(x / scale), ties to
# even, cut to -128 ... 127: with a scale of max |x| / 127 all codes are above -128, with a smaller one they are not.
#
# Whoever compares an engine with it, or fills its cache, must therefore round the rows of the prompt first.
#
# Seen on x86-64 (AVX-512), ONNX Runtime 1.32.0:
#
#   onnxruntime 1.32.0
#   PER_TENSOR   codes 1.000 alike, the least -128; prompt from the rounded rows 0.0000, from the given 0.3295
#   PER_CHANNEL  codes 1.000 alike, the least -128; prompt from the rounded rows 0.0000, from the given 0.3295
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6

"$folder/venv/bin/python" - <<'END'
import sys
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

print("onnxruntime", onnxruntime.__version__)
length, heads, key_heads, channels = 40, 4, 2, 64


def session(kind):
    names = ["q", "k", "v", "past_k", "past_v", "lengths", "total", "", "", "", "", "", "k_scale", "v_scale"]
    node = helper.make_node(
        "GroupQueryAttention", names, ["out", "cache_k", "cache_v"], domain="com.microsoft", num_heads=heads,
        kv_num_heads=key_heads, k_quant_type=kind, v_quant_type=kind, kv_cache_bit_width=8,
    )
    scales = [1] if kind == "PER_TENSOR" else [1, key_heads, 1, channels]
    floats, codes, whole = TensorProto.FLOAT, TensorProto.INT8, TensorProto.INT32
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "attention",
        [value("q", floats, [1, length, heads * channels])]
        + [value(name, floats, [1, length, key_heads * channels]) for name in ("k", "v")]
        + [value(name, codes, [1, key_heads, 0, channels]) for name in ("past_k", "past_v")]
        + [value(name, whole, [1]) for name in ("lengths", "total")]
        + [value(name, floats, scales) for name in ("k_scale", "v_scale")],
        [value("out", floats, [1, length, heads * channels])]
        + [value(name, codes, [1, key_heads, length, channels]) for name in ("cache_k", "cache_v")],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]), scales


def by_head(x):
    return x.reshape(1, length, -1, channels).transpose(0, 2, 1, 3).astype(np.float64)


def causal(q, k, v):
    k, v = (np.repeat(x, heads // key_heads, 1) for x in (k, v))
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(channels)
    scores = np.where(np.tri(length) > 0, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(1, length, -1)


unchanged = True
for kind in ("PER_TENSOR", "PER_CHANNEL"):
    run, shape = session(kind)
    random = np.random.default_rng(3)
    q, k, v = (random.standard_normal((1, length, n * channels)).astype(np.float32) for n in (heads, key_heads, key_heads))
    # The largest number is beyond 127 scales.
    scale = np.full(shape, 3.0 / 127, np.float32)
    none = np.zeros((1, key_heads, 0, channels), np.int8)
    out, cache_k, cache_v = run.run(
        None,
        {"q": q, "k": k, "v": v, "past_k": none, "past_v": none, "lengths": np.array([length - 1], np.int32),
         "total": np.array([length], np.int32), "k_scale": scale, "v_scale": scale},
    )
    spread = scale.reshape((1, 1, 1, 1) if kind == "PER_TENSOR" else shape)
    wanted = np.clip(np.rint(by_head(k) / spread), -128, 127)
    alike = (cache_k == wanted).mean()
    of_rounded = np.abs(out - causal(by_head(q), cache_k * spread.astype(np.float64), cache_v * spread.astype(np.float64))).max()
    of_given = np.abs(out - causal(by_head(q), by_head(k), by_head(v))).max()
    print(f"{kind:12} codes {alike:.3f} alike, the least {cache_k.min()}; "
          f"prompt from the rounded rows {of_rounded:.4f}, from the given {of_given:.4f}")
    unchanged = unchanged and alike > 0.999 and cache_k.min() == -128 and of_rounded < 1e-5 and of_given > 0.01
sys.exit(0 if unchanged else 1)
END
