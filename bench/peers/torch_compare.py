"""relpos as an operator of PyTorch against PyTorch's own attention on the CPU, forward only: causal in float32 and in
bfloat16, which both multiply as such, and full over short sequences in float32.

  SDPA             scaled_dot_product_attention, causal by is_causal=True
  SDPA, matrix     the same with a matrix, made beforehand, of the bias and the mask
  FlexAttention    compiled, with the bias as score_mod and, if causal, a block mask

Every result is compared with float64 before it is timed. relpos skips far tiles of keys whose weights are all exactly
zero, which is why its ALiBi is faster than no encoding; "alibi, flat" has slopes under which it skips none.

After `./dev test torch`, which installs PyTorch: build/torch/bin/python bench/peers/torch_compare.py
"""

import argparse
import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

import torch
import torch.utils.cpp_extension
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import relpos_operator
import results_file

LARGEST_ERROR = {torch.float32: 1e-4, torch.bfloat16: 2e-2}


@dataclass
class Shape:
    batch: int
    heads: int
    length: int
    head_dim: int
    mask: str
    dtype: torch.dtype = torch.float32

    @property
    def scale(self):
        """For T5 too, whose own scale of 1 would leave one key in each row."""
        return self.head_dim**-0.5

    def distances(self):
        """query - key, of all keys."""
        return torch.arange(1 - self.length, self.length)


CAUSAL_HEADS = 8
CAUSAL = [Shape(1, CAUSAL_HEADS, length, 64, "causal") for length in (128, 256, 512, 1024, 2048, 4096, 8192)]
QUICK = [Shape(1, CAUSAL_HEADS, 2048, 64, "causal")]
BFLOAT16 = [
    Shape(1, CAUSAL_HEADS, length, head_dim, "causal", torch.bfloat16)
    for head_dim in (64, 128)
    for length in (2048, 8192)
]
# Encoders: text of 32 to 256 tokens, speech (Whisper), an image of patches.
SHORT = [
    Shape(32, 12, 32, 64, "full"),
    Shape(32, 12, 64, 64, "full"),
    Shape(16, 12, 128, 64, "full"),
    Shape(8, 12, 256, 64, "full"),
    Shape(1, 20, 1500, 64, "full"),
    Shape(1, 6, 2040, 72, "full"),
]


@dataclass
class Encoding:
    """`by_distance` [heads, 2 length - 1] is the bias of each of Shape.distances."""

    name: str
    by_distance: Optional[torch.Tensor]
    score_mod: Optional[Callable]
    keywords: dict

    def bias(self, shape, rows):
        """[heads, row, key], the mask folded in."""
        distance = rows[:, None] - torch.arange(shape.length)
        if self.by_distance is None:
            bias = torch.zeros(1, *distance.shape)
        else:
            bias = self.by_distance[:, distance + shape.length - 1]
        return bias.masked_fill_(distance < 0, -math.inf) if shape.mask == "causal" else bias


def no_encoding(shape):
    return Encoding("none", None, None, {"encoding": "none"})


def alibi(shape):
    return alibi_of("alibi", 2.0 ** (-8 * torch.arange(1, shape.heads + 1) / shape.heads), shape)


def flat_alibi(shape):
    """Under which no tile is left out."""
    return alibi_of("alibi, flat", torch.full((shape.heads,), 2.0**-8), shape)


def alibi_of(name, slopes, shape):
    def score_mod(score, batch, head, query, key):
        return score - slopes[head] * (query - key).abs()

    kind = "alibi" if shape.mask == "causal" else "alibi_symmetric"
    by_distance = -slopes[:, None] * shape.distances().abs()
    return Encoding(name, by_distance, score_mod, {"encoding": kind, "slopes": slopes})


def t5(shape):
    """With 32 buckets, one for each near distance; in a full mask half of them are for keys after the query."""
    table = torch.randn(32, shape.heads)
    buckets = 32 if shape.mask == "causal" else 16
    near = buckets // 2
    distance = shape.distances().abs()
    part = torch.log2(distance.clamp(min=near) / near) / math.log2(128 / near)
    bucket = torch.where(distance < near, distance, (near + (part * near).long()).clamp(max=buckets - 1))
    if shape.mask == "full":
        bucket = bucket + torch.where(shape.distances() < 0, buckets, 0)
    by_distance = table[bucket].t().contiguous()

    # Looked up by distance, which is faster than a bucket's logarithm for every score.
    def score_mod(score, batch, head, query, key):
        return score + by_distance[head, query - key + shape.length - 1]

    return Encoding("t5", by_distance, score_mod, {"encoding": "t5", "table": table})


def compiled_flex_attention(shape, q, k, v, encoding):
    def sees(batch, head, query, key):
        return key <= query

    mask = None
    if shape.mask == "causal":
        mask = create_block_mask(sees, None, None, shape.length, shape.length, device="cpu")
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda: compiled(q, k, v, score_mod=encoding.score_mod, block_mask=mask, scale=shape.scale)


def relpos_candidate(shape, q, k, v, encoding):
    return {
        "relpos": lambda: relpos_operator.attention(
            q, k, v, mask=shape.mask, scale=shape.scale, **encoding.keywords
        )
    }


def candidates(shape, q, k, v, encoding):
    """Functions by name, relpos first."""
    result = relpos_candidate(shape, q, k, v, encoding)
    if encoding.by_distance is None:
        is_causal = shape.mask == "causal"
        result["SDPA"] = lambda: scaled_dot_product_attention(q, k, v, is_causal=is_causal, scale=shape.scale)
    else:
        bias = encoding.bias(shape, torch.arange(shape.length))[None]
        result["SDPA, matrix"] = lambda: scaled_dot_product_attention(q, k, v, bias, scale=shape.scale)
    result["FlexAttention"] = compiled_flex_attention(shape, q, k, v, encoding)
    return result


def error_of(shape, out, q, k, v, encoding):
    """Against float64, on rows of all parts of the sequence."""
    length = shape.length
    rows = torch.tensor([0, 1, length // 3, length // 2, length - 2, length - 1])
    bias = encoding.bias(shape, rows).double()
    wanted = scaled_dot_product_attention(
        q[:, :, rows].double(), k.double(), v.double(), bias[None], scale=shape.scale
    )
    return (out[:, :, rows] - wanted).abs().max().item()


def verified(shape, functions, q, k, v, encoding):
    """Those whose result is right; FlexAttention may not compile, and then says why."""
    result = {}
    for name, run in functions.items():
        try:
            out = run()
        except Exception as failure:
            if name != "FlexAttention":
                raise
            why = str(failure).strip().splitlines()[0]
            print(f"FlexAttention is left out of {encoding.name}: {type(failure).__name__}: {why}")
            continue
        error = error_of(shape, out, q, k, v, encoding)
        largest = LARGEST_ERROR[shape.dtype]
        if not error < largest:
            sys.exit(f"{name}, {encoding.name}: error {error:.1e}, must be below {largest}")
        result[name] = run
    return result


def interleaved_seconds(functions, turns):
    """10th percentiles. Others use the machine too: so candidates take turns, A B C A B C, and the slow calls are those
    that were disturbed."""
    times = {name: [] for name in functions}
    for _ in range(turns):
        for name, run in functions.items():
            begin = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begin)
    return {name: sorted(each)[len(each) // 10] for name, each in times.items()}


def compare(shape, setting, encodings, turns, candidates=candidates):
    """A row for each encoding."""
    rows = []
    torch._dynamo.reset()
    for make in encodings:
        sizes = (shape.batch, shape.heads, shape.length, shape.head_dim)
        q, k, v = (torch.randn(sizes).to(shape.dtype) for _ in range(3))
        encoding = make(shape)
        functions = verified(shape, candidates(shape, q, k, v, encoding), q, k, v, encoding)
        seconds = interleaved_seconds(functions, turns)
        own = seconds["relpos"]
        speedup = {name: each / own for name, each in seconds.items() if name != "relpos"}
        ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in speedup.items())
        print(f"{encoding.name:<14}{setting:<14}{shape.length:>8}{1e3 * own:>11.2f} ms  {ratios}", flush=True)
        rows.append(
            {
                "encoding": encoding.name,
                "setting": setting,
                "head_dim": shape.head_dim,
                "length": shape.length,
                "speedup": speedup,
                "milliseconds": {name: 1e3 * each for name, each in seconds.items()},
            }
        )
    return rows


def compiler():
    command = [torch.utils.cpp_extension.get_cxx_compiler(), "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def compare_causal(quick):
    rows = []
    for shape in QUICK if quick else CAUSAL:
        # Lengths between are for the curve of a bias.
        encodings = (no_encoding, alibi, flat_alibi, t5) if shape.length in (2048, 8192) else (alibi, t5)
        turns = 5 if quick else max(8, min(200, 40 * 1024 // shape.length))
        rows += compare(shape, shape.mask, encodings, turns)
    return rows


def compare_bfloat16(quick):
    rows = []
    for shape in BFLOAT16[:1] if quick else BFLOAT16:
        rows += compare(shape, shape.mask, (no_encoding, alibi, flat_alibi), 5 if quick or shape.length > 4096 else 20)
    return rows


def compare_short(quick):
    rows = []
    for shape in SHORT:
        setting = f"{shape.batch} x {shape.heads}"
        rows += compare(shape, setting, (no_encoding, alibi, t5), 5 if quick else 60)
    return rows


def section(arguments, title, setting, rows):
    return {
        "title": title,
        "setting": setting,
        "processor": arguments.processor,
        "commit": arguments.commit,
        "compiler": compiler(),
        "flags": torch.ops.relpos.build_flags(),
        "notes": [f"PyTorch {torch.__version__}"],
        "rows": rows,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="fewer turns, and causal at length 2048 alone")
    results_file.add_options(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(7)
    threads = "one core" if arguments.threads == 1 else f"{arguments.threads} threads"
    print(f"PyTorch {torch.__version__}, relpos for {torch.ops.relpos.instruction_set()}")

    sections = []
    for title, setting, run in (
        (f"PyTorch, {threads}, short sequences, full: its time over relpos's", "batch x heads", compare_short),
        (f"PyTorch, {threads}, {CAUSAL_HEADS} heads: its time over relpos's", "mask", compare_causal),
        (f"PyTorch in bfloat16, {threads}, {CAUSAL_HEADS} heads: its time over relpos's", "mask", compare_bfloat16),
    ):
        print(f"\n{title}\n{'encoding':<14}{setting:<14}{'length':>8}{'relpos':>14}  times as fast as")
        with torch.inference_mode():
            rows = run(arguments.quick)
        sections.append(section(arguments, title, setting, rows))
    if arguments.json:
        results_file.write(Path(arguments.json), sections)


if __name__ == "__main__":
    main()
