"""relpos as an operator of PyTorch against PyTorch's own attention on the CPU, causal, forward only, in float32:

  SDPA             scaled_dot_product_attention(is_causal=True)
  SDPA, matrix     the same with a matrix, made beforehand, of the bias and the mask
  FlexAttention    compiled, with the bias as score_mod and a block mask

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
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "examples" / "pytorch_operator")]
import relpos_operator
import results_file

HEADS = 8
HEAD_DIM = 64
LENGTHS = [128, 256, 512, 1024, 2048, 4096, 8192]
SCALE = HEAD_DIM**-0.5  # for T5 too, whose own scale of 1 would leave one key in each row
LARGEST_ERROR = 1e-4


@dataclass
class Encoding:
    """`by_distance` [heads, length] is the bias of the key so many positions before the query."""

    name: str
    by_distance: Optional[torch.Tensor]
    score_mod: Optional[Callable]
    keywords: dict

    def bias(self, rows, length):
        """[heads, row, key], causal mask folded in."""
        distance = rows[:, None] - torch.arange(length)
        if self.by_distance is None:
            bias = torch.zeros(1, *distance.shape)
        else:
            bias = self.by_distance[:, distance.clamp(min=0)]
        return bias.masked_fill_(distance < 0, -math.inf)


def no_encoding(heads, length):
    return Encoding("none", None, None, {"encoding": "none"})


def alibi(heads, length):
    return alibi_of("alibi", 2.0 ** (-8 * torch.arange(1, heads + 1) / heads), length)


def flat_alibi(heads, length):
    """Under which no tile is left out."""
    return alibi_of("alibi, flat", torch.full((heads,), 2.0**-8), length)


def alibi_of(name, slopes, length):
    def score_mod(score, batch, head, query, key):
        return score + slopes[head] * (key - query)

    by_distance = -slopes[:, None] * torch.arange(length)
    return Encoding(name, by_distance, score_mod, {"encoding": "alibi", "slopes": slopes})


def t5(heads, length):
    table = torch.randn(32, heads)
    distance = torch.arange(length)
    part = torch.log2(distance.clamp(min=16) / 16) / math.log2(128 / 16)
    bucket = torch.where(distance < 16, distance, (16 + (part * 16).long()).clamp(max=31))
    by_distance = table[bucket].t().contiguous()

    # Looked up by distance, which is faster than a bucket's logarithm for every score.
    def score_mod(score, batch, head, query, key):
        return score + by_distance[head, (query - key).clamp(min=0)]

    return Encoding("t5", by_distance, score_mod, {"encoding": "t5", "table": table})


def compiled_flex_attention(q, k, v, encoding):
    def sees(batch, head, query, key):
        return key <= query

    mask = create_block_mask(sees, None, None, q.shape[2], k.shape[2], device="cpu")
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda: compiled(q, k, v, score_mod=encoding.score_mod, block_mask=mask, scale=SCALE)


def candidates(q, k, v, encoding):
    """Functions by name, relpos first."""
    rows = torch.arange(q.shape[2])
    result = {
        "relpos": lambda: relpos_operator.attention(
            q, k, v, mask="causal", scale=SCALE, **encoding.keywords
        )
    }
    if encoding.by_distance is None:
        result["SDPA"] = lambda: scaled_dot_product_attention(q, k, v, is_causal=True, scale=SCALE)
    else:
        bias = encoding.bias(rows, q.shape[2])[None]
        result["SDPA, matrix"] = lambda: scaled_dot_product_attention(q, k, v, bias, scale=SCALE)
    result["FlexAttention"] = compiled_flex_attention(q, k, v, encoding)
    return result


def error_of(out, q, k, v, encoding):
    """Against float64, on rows of all parts of the sequence."""
    length = q.shape[2]
    rows = torch.tensor([0, 1, length // 3, length // 2, length - 2, length - 1])
    bias = encoding.bias(rows, length).double()
    wanted = scaled_dot_product_attention(
        q[:, :, rows].double(), k.double(), v.double(), bias[None], scale=SCALE
    )
    return (out[:, :, rows] - wanted).abs().max().item()


def verified(functions, q, k, v, encoding):
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
        error = error_of(out, q, k, v, encoding)
        if not error < LARGEST_ERROR:
            sys.exit(f"{name}, {encoding.name}: error {error:.1e}, must be below {LARGEST_ERROR}")
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


def compare(length, encodings, turns):
    """A row for each encoding."""
    rows = []
    torch._dynamo.reset()
    for make in encodings:
        q, k, v = (torch.randn(1, HEADS, length, HEAD_DIM) for _ in range(3))
        encoding = make(HEADS, length)
        functions = verified(candidates(q, k, v, encoding), q, k, v, encoding)
        seconds = interleaved_seconds(functions, turns)
        own = seconds["relpos"]
        speedup = {name: each / own for name, each in seconds.items() if name != "relpos"}
        ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in speedup.items())
        print(f"{encoding.name:<14}{length:>8}{1e3 * own:>11.2f} ms  {ratios}", flush=True)
        rows.append(
            {
                "encoding": encoding.name,
                "setting": "causal",
                "head_dim": HEAD_DIM,
                "length": length,
                "speedup": speedup,
                "milliseconds": {name: 1e3 * each for name, each in seconds.items()},
            }
        )
    return rows


def compiler():
    command = [torch.utils.cpp_extension.get_cxx_compiler(), "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="fewer turns, and length 2048 alone")
    results_file.add_options(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(7)
    threads = "one core" if arguments.threads == 1 else f"{arguments.threads} threads"
    title = f"PyTorch, {threads}, {HEADS} heads: its time over relpos's"
    print(f"PyTorch {torch.__version__}, relpos for {torch.ops.relpos.instruction_set()}\n\n{title}")
    print(f"{'encoding':<14}{'length':>8}{'relpos':>14}  times as fast as")

    rows = []
    with torch.inference_mode():
        for length in [2048] if arguments.quick else LENGTHS:
            # Lengths between are for the curve of a bias.
            all_encodings = length in (2048, 8192)
            encodings = (no_encoding, alibi, flat_alibi, t5) if all_encodings else (alibi, t5)
            turns = 5 if arguments.quick else max(8, min(200, 40 * 1024 // length))
            rows += compare(length, encodings, turns)
    if arguments.json:
        section = {
            "title": title,
            "setting": "mask",
            "processor": arguments.processor,
            "commit": arguments.commit,
            "compiler": compiler(),
            "flags": " ".join(relpos_operator.FLAGS),
            "notes": [f"PyTorch {torch.__version__}"],
            "rows": rows,
        }
        results_file.write(Path(arguments.json), [section])


if __name__ == "__main__":
    main()
