"""relpos's forward pass on a GPU against PyTorch's attention, in bfloat16:

  torch_sdpa        scaled_dot_product_attention with the kernel that PyTorch chooses, which is named
  torch_cudnn       the same with the kernel of cuDNN
  torch_sdpa_bias   the same with a matrix, made beforehand, of the bias and the mask
  torch_flex        FlexAttention, compiled, with the bias as score_mod and a block mask

Every result is compared with float64, on rows of all parts of the sequence, before it is timed. The matrix of a bias is
in bfloat16, as PyTorch wants it, and is compared with the attention of what it holds.

A time is a median, between events on the device: the copy that relpos begins with is in it, what a call does on the
host is not. Candidates take turns, A B C A B C, on several inputs; a product of matrices takes turns too, and its
rate is the ceiling. Only the work of keys that the mask leaves is counted, and all of it, however small a bias makes
their weights; a kernel may leave some of that out.

Exit code 2: there is no GPU, or no PyTorch.
"""

import argparse
import ctypes
import json
import math
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

import library

os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # starting more takes longer than they save

try:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.attention.flex_attention import BlockMask, flex_attention
    from torch.nn.functional import scaled_dot_product_attention
except ImportError:
    torch = None

ARCHITECTURES = ["80", "90a", "100"]
DEVICE = "cuda"
SECONDS = 450  # after which nothing new begins
INPUTS = 3  # of each problem: more than the second cache holds
HEADS = 16
ROWS = 32768  # of a batch
MATRIX = 8192  # of the product that is the ceiling
FLEX_BLOCK = 128
LARGEST_ERROR = 3  # the output is rounded, and the weights before: about 0.6 each of a row


def architecture():
    major, minor = torch.cuda.get_device_capability()
    return f"{major}{minor}{'a' if major == 9 else ''}"


@dataclass
class Mask:
    """`sees(batch, head, query, key)`, as FlexAttention asks. A query sees keys from `first(query)` on, which never falls
    as queries go on: up to itself, or all that follow."""

    name: str
    sees: Callable
    first: Callable
    is_causal: bool = True
    extent: int = 0

    def visible_pairs(self, length):
        rows = torch.arange(length)
        after_last = rows + 1 if self.is_causal else length
        return (after_last - self.first(rows).clamp(min=0)).sum().item()


def full():
    return Mask("full", lambda batch, head, query, key: key >= 0, lambda row: 0 * row, is_causal=False)


def causal():
    return Mask("causal", lambda batch, head, query, key: key <= query, lambda row: 0 * row)


def band(window):
    def sees(batch, head, query, key):
        return (key <= query) & (key > query - window)

    return Mask("band", sees, lambda row: row - window + 1, extent=window)


def blockwise_causal(block):
    def sees(batch, head, query, key):
        return (key <= query) & (key >= (query // block - 1) * block)

    return Mask("blockwise_causal", sees, lambda row: (row // block - 1) * block, extent=block)


@dataclass
class Encoding:
    """`by_distance` [heads, length], in float64, is the bias of the key so many positions before the query."""

    name: str
    by_distance: Any = None
    score_mod: Optional[Callable] = None
    data: Any = None  # of the host: slopes or table
    two_sided: bool = False


def no_encoding(heads, length):
    return Encoding("none")


def alibi(heads, length):
    data = (2.0 ** (-8 * torch.arange(1, heads + 1) / heads)).float()
    slopes = data.to(DEVICE)

    def score_mod(score, batch, head, query, key):
        return score + slopes[head] * (key - query)

    return Encoding("alibi", -slopes.double()[:, None] * torch.arange(length, device=DEVICE), score_mod, data)


def t5(heads, length, two_sided=False):
    """Of a causal model. `two_sided`: with a table of which half is for keys after the query."""
    data = torch.randn(32, heads)
    buckets = 16 if two_sided else 32
    exact = buckets // 2
    distance = torch.arange(length)
    part = torch.log2(distance.clamp(min=exact).double() / exact) / math.log2(128 / exact)
    logarithmic = (exact + (part * exact).long()).clamp(max=buckets - 1)
    bucket = torch.where(distance < exact, distance, logarithmic)
    by_distance = data[bucket].t().contiguous().to(DEVICE)
    near = by_distance[:, :129].contiguous()  # from 128 on they are the same

    # Looked up by distance, which is faster than a bucket's logarithm for every score.
    def score_mod(score, batch, head, query, key):
        return score + near[head, (query - key).clamp(min=0, max=128)]

    return Encoding("t5", by_distance.double(), score_mod, data, two_sided)


@dataclass
class Problem:
    encoding: Encoding
    mask: Mask
    head_dim: int
    batch: int
    length: int
    heads: int = HEADS
    key_heads: int = HEADS
    type: str = "bfloat16"

    @property
    def dtype(self):
        return {"bfloat16": torch.bfloat16, "half": torch.float16}[self.type]

    @property
    def scale(self):
        return self.head_dim**-0.5  # for T5 too, whose own scale of 1 would leave one key in each row

    @property
    def operations(self):
        pairs = self.mask.visible_pairs(self.length)
        return 4 * self.head_dim * pairs * self.heads * self.batch

    def random_inputs(self):
        """q, k and v."""
        heads = (self.heads, self.key_heads, self.key_heads)
        return [torch.randn(self.batch, n, self.length, self.head_dim, device=DEVICE, dtype=self.dtype) for n in heads]

    def bias(self, rows):
        """[heads, row, key] in float64, mask folded in."""
        keys = torch.arange(self.length, device=DEVICE)
        hidden = ~self.mask.sees(None, None, rows[:, None], keys[None])
        by_distance = self.encoding.by_distance
        if by_distance is None:
            bias = torch.zeros(1, len(rows), self.length, device=DEVICE, dtype=torch.float64)
        else:
            bias = by_distance[:, (rows[:, None] - keys).clamp(min=0)]
        return bias.masked_fill_(hidden, -math.inf)

    def reference(self, inputs, rows, bias):
        """[batch, heads, row, channel] in float64."""
        q, k, v = inputs
        group = self.heads // self.key_heads
        scores = q[:, :, rows].double() @ k.repeat_interleave(group, 1).double().mT
        weights = (scores * self.scale + bias.double()).softmax(-1)
        return weights @ v.repeat_interleave(group, 1).double()

    def sampled_rows(self):
        edges = [0, 1, 63, 64, 2047, 2048, 4096, self.length // 3, self.length // 2, self.length - 2, self.length - 1]
        edges += torch.randint(self.length, (8,)).tolist()
        return torch.tensor(sorted({row for row in edges if row < self.length}), device=DEVICE)


def relative_error(out, wanted):
    """The largest of a row, in units of the rounding of `out`."""
    rows = (out.double() - wanted).norm(dim=-1) / wanted.norm(dim=-1)
    return rows.max().item() / (torch.finfo(out.dtype).eps / 2)


class Relpos:
    def __init__(self, loaded, problem, inputs):
        self._loaded = loaded
        self._data = problem.encoding.data  # kept alive
        self._calls = [self._prepare(problem, *each) for each in inputs]

    def _prepare(self, problem, q, k, v):
        out = torch.full_like(q, math.nan)
        call = library.Call(
            out=out.data_ptr(),
            q=q.data_ptr(),
            k=k.data_ptr(),
            v=v.data_ptr(),
            batch=problem.batch,
            heads=problem.heads,
            key_heads=problem.key_heads,
            length=problem.length,
            head_dim=problem.head_dim,
            type=problem.type.encode(),
            encoding=problem.encoding.name.encode(),
            mask=problem.mask.name.encode(),
            extent=problem.mask.extent,
            data=None if self._data is None else self._data.data_ptr(),
            two_sided=problem.encoding.two_sided,
            scale=problem.scale,
        )
        device_bytes, host_bytes = self._loaded.scratch_bytes(ctypes.byref(call))
        device = torch.empty(device_bytes, dtype=torch.uint8, device=DEVICE)
        host = torch.empty(host_bytes, dtype=torch.uint8, pin_memory=True)
        return call, out, device, host

    def __call__(self, i):
        call, out, device, host = self._calls[i]
        stream = torch.cuda.current_stream().cuda_stream
        memory = (device.data_ptr(), device.numel(), host.data_ptr(), host.numel())
        self._loaded.attention(ctypes.byref(call), *memory, stream)
        return out


def sdpa(problem, inputs, **options):
    def run(i):
        return scaled_dot_product_attention(*inputs[i], scale=problem.scale, **options)

    choice = torch._fused_sdp_choice(*inputs[0], scale=problem.scale, **options)
    run.kernel = SDPBackend(choice).name.lower().removesuffix("_attention")
    return run


def torch_sdpa(problem, inputs):
    return sdpa(problem, inputs, is_causal=problem.mask.is_causal)


def torch_cudnn(problem, inputs):
    attend = torch_sdpa(problem, inputs)

    def run(i):
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return attend(i)

    return run


def bias_matrix(problem):
    size = (1, problem.heads, problem.length, problem.length)
    needed = math.prod(size) * problem.dtype.itemsize
    torch.cuda.empty_cache()
    if needed > 0.8 * torch.cuda.mem_get_info()[0]:
        raise MemoryError(f"a matrix of {needed / 2**30:.0f} GiB does not fit")
    matrix = torch.empty(size, dtype=problem.dtype, device=DEVICE)
    for rows in torch.arange(problem.length, device=DEVICE).split(256):
        matrix[0, :, rows[0] : rows[-1] + 1] = problem.bias(rows).to(problem.dtype)
    return matrix


def torch_sdpa_bias(problem, inputs):
    return sdpa(problem, inputs, attn_mask=bias_matrix(problem))


def block_mask(mask, length):
    """What create_block_mask makes of a causal mask, without a matrix of length x length."""
    first = FLEX_BLOCK * torch.arange(length // FLEX_BLOCK, device=DEVICE)
    last = first + FLEX_BLOCK - 1
    row, key = (first[:, None], last[:, None]), (first[None], last[None])
    some = (key[0] <= row[1]) & (key[1] >= mask.first(row[0]))
    every = (key[1] <= row[0]) & (key[0] >= mask.first(row[1]))

    def ordered(blocks):
        """How many there are in a row, and which, those first."""
        blocks = blocks.int()[None, None]
        count = blocks.sum(-1, dtype=torch.int32)
        return count, blocks.argsort(dim=-1, descending=True, stable=True).int().contiguous()

    return BlockMask.from_kv_blocks(*ordered(some & ~every), *ordered(every), BLOCK_SIZE=FLEX_BLOCK, mask_mod=mask.sees)


def torch_flex(problem, inputs):
    torch._dynamo.reset()
    compiled = torch.compile(flex_attention, dynamic=False)
    mask = block_mask(problem.mask, problem.length)
    score_mod = problem.encoding.score_mod
    return lambda i: compiled(*inputs[i], score_mod=score_mod, block_mask=mask, scale=problem.scale)


def peers_of(problem):
    if problem.encoding.name != "none":
        return [torch_sdpa_bias, torch_flex]
    if problem.mask.name == "full":
        return [torch_sdpa, torch_cudnn]
    if problem.mask.name == "causal":
        return [torch_sdpa, torch_cudnn, torch_flex]
    return [torch_flex]


class Verifier:
    """Of the results of one problem."""

    def __init__(self, problem, inputs):
        rows = problem.sampled_rows()
        bias = problem.bias(rows)
        self._rows = rows
        self._wanted = [problem.reference(each, rows, bias) for each in inputs]
        # Of the matrix, which is rounded.
        self._wanted_of_matrix = self._wanted
        if problem.encoding.name != "none":
            self._wanted_of_matrix = [problem.reference(each, rows, bias.to(problem.dtype)) for each in inputs]

    def error(self, name, run):
        wanted = self._wanted_of_matrix if name == "torch_sdpa_bias" else self._wanted
        return max(relative_error(run(i)[:, :, self._rows], each) for i, each in enumerate(wanted))


def refuse_if_wrong(name, problem, error):
    if not error < LARGEST_ERROR:
        sys.exit(
            f"{name}, {problem.encoding.name}, {problem.mask.name}, {problem.type}, head_dim {problem.head_dim}, "
            f"length {problem.length}: error {error:.2f} units, must be below {LARGEST_ERROR}: nothing is timed"
        )


def verify_relpos(loaded):
    """Every kernel that is compiled in, at a length that no tile divides, with heads that share keys."""
    count, largest = 0, 0.0
    shape = {"batch": 2, "length": 1000, "heads": 6, "key_heads": 2}
    for head_dim in (64, 128):
        for name in ("bfloat16", "half"):
            pairs = [(no_encoding, mask) for mask in (causal(), full(), band(100), blockwise_causal(128))]
            pairs += [(make, causal()) for make in (alibi, t5, lambda *of: t5(*of, two_sided=True))]
            for make, mask in pairs:
                problem = Problem(make(6, 1000), mask, head_dim, type=name, **shape)
                inputs = problem.random_inputs()
                rows = torch.arange(1000, device=DEVICE)
                wanted = problem.reference(inputs, rows, problem.bias(rows))
                error = relative_error(Relpos(loaded, problem, [inputs])(0), wanted)
                refuse_if_wrong("relpos", problem, error)
                count, largest = count + 1, max(largest, error)
    print(f"{count} small calls of relpos are right: largest error of a row {largest:.2f} units of rounding")


class Ceiling:
    """A product of matrices; also what keeps the device busy while the host prepares what is timed."""

    def __init__(self):
        self._factors = [torch.randn(MATRIX, MATRIX, device=DEVICE, dtype=torch.bfloat16) for _ in range(2)]
        self._product = torch.empty_like(self._factors[0])

    operations = 2 * MATRIX**3

    def __call__(self, i):
        torch.matmul(*self._factors, out=self._product)


def interleaved_milliseconds(candidates, turns, ceiling):
    """Medians."""
    times = {name: [] for name in candidates}
    for turn in range(1 + turns):  # the first is to warm up
        for name, run in candidates.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            ceiling(turn)
            begin.record()
            run(turn % INPUTS)
            end.record()
            torch.cuda.synchronize()
            if turn > 0:
                times[name].append(begin.elapsed_time(end))
    return {name: statistics.median(each) for name, each in times.items()}


def print_ceilings(turns, ceiling):
    source, target = (torch.zeros(2**30, dtype=torch.uint8, device=DEVICE) for _ in range(2))
    candidates = {"product": ceiling, "copy": lambda i: target.copy_(source)}
    times = interleaved_milliseconds(candidates, turns, ceiling)
    teraflops = ceiling.operations / times["product"] / 1e9
    terabytes = 2 * source.numel() / times["copy"] / 1e9  # read and written
    print(f"a product of matrices: {teraflops:.0f} TFLOP/s, a copy on the device: {terabytes:.2f} TB/s")


def right_candidates(loaded, problem, inputs):
    """Functions by name, relpos first, and of what is missing, why."""
    verifier = Verifier(problem, inputs)
    candidates, missing = {"relpos": Relpos(loaded, problem, inputs)}, {}
    refuse_if_wrong("relpos", problem, verifier.error("relpos", candidates["relpos"]))
    for make in peers_of(problem):
        name = make.__name__
        try:
            run = make(problem, inputs)
            error = verifier.error(name, run)
        except Exception as failure:
            why = f"{type(failure).__name__}: {failure}".splitlines()[0][:70]
            missing[name] = "out of memory" if isinstance(failure, torch.OutOfMemoryError) else why
            torch.cuda.empty_cache()
            continue
        if error < LARGEST_ERROR:
            candidates[name] = run
        else:
            missing[name] = f"wrong: error {error:.2f} units"
    return candidates, missing


def compare(loaded, problem, turns, ceiling):
    """Prints a line and returns an object of the results."""
    inputs = [problem.random_inputs() for _ in range(INPUTS)]
    candidates, missing = right_candidates(loaded, problem, inputs)
    times = interleaved_milliseconds({"ceiling": ceiling, **candidates}, turns, ceiling)
    peak = ceiling.operations / times.pop("ceiling") / 1e9
    own = times.pop("relpos")
    rate = problem.operations / own / 1e9
    speedup = {name: each / own for name, each in times.items()}
    kernels = {name: run.kernel for name, run in candidates.items() if hasattr(run, "kernel")}

    ratios = [f"{name}{f' ({kernels[name]})' if name in kernels else ''} {each:.2f}x" for name, each in speedup.items()]
    ratios += [f"{name}: {why}" for name, why in missing.items()]
    title = f"{problem.encoding.name}, {problem.mask.name}"
    print(f"{title:<24}{own:>9.3f} ms {rate:>7.0f} {rate / peak:>9.1%}  {', '.join(ratios)}", flush=True)
    return {
        "name": "cuda",
        "isa": f"sm_{architecture()}",
        "threads": None,
        "extra_time_percent": None,
        "gpu": torch.cuda.get_device_name(),
        "type": problem.type,
        "head_dim": problem.head_dim,
        "batch": problem.batch,
        "heads": problem.heads,
        "length": problem.length,
        "encoding": problem.encoding.name,
        "mask": problem.mask.name,
        "extent": problem.mask.extent,
        "milliseconds": own,
        "teraflops": rate,
        "ceiling_teraflops": peak,
        "fraction_of_peak": rate / peak,
        "kernels": kernels,
        "speedup": speedup,
        "missing": missing,
    }


def sections():
    """Head dimension, batch, length, and pairs of encoding and mask."""
    pairs = [(no_encoding, mask) for mask in (causal(), full(), band(1024))]
    pairs += [(encoding, causal()) for encoding in (alibi, t5)]
    for length in (8192, 2048, 32768):
        for head_dim in (128, 64):
            yield head_dim, ROWS // length, length, pairs
        if length == 8192:
            for head_dim in (128, 64):
                yield head_dim, 1, 16384, [(no_encoding, causal())]
                yield head_dim, 1, 131072, [(no_encoding, blockwise_causal(2048))]


def compare_all(loaded, turns, deadline):
    ceiling = Ceiling()
    print_ceilings(turns, ceiling)
    results = []
    for head_dim, batch, length, pairs in sections():
        print(f"\nhead_dim {head_dim}, batch {batch}, length {length}, {HEADS} heads, bfloat16")
        print(f"{'encoding, mask':<24}{'relpos':>12} TFLOP/s of matmul  ratios to it")
        for make, mask in pairs:
            if time.monotonic() > deadline:
                print(f"{make.__name__}, {mask.name}: left out, for want of time")
                continue
            problem = Problem(make(HEADS, length), mask, head_dim, batch, length)
            results.append(compare(loaded, problem, turns, ceiling))
            torch.cuda.empty_cache()
    return results


def write(path, results):
    before = json.loads(path.read_text()) if path.exists() else []
    before = [each for each in before if each["name"] != "cuda"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(before + results, indent=1) + "\n")


def main():
    deadline = time.monotonic() + SECONDS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build-only", action="store_true", help=f"for sm_{', sm_'.join(ARCHITECTURES)}, and stop")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results into the array in it")
    arguments = parser.parse_args()
    if arguments.build_only:
        for each in ARCHITECTURES:
            print(library.build(each).name, flush=True)
        return
    if torch is None or not torch.cuda.is_available():
        print("no PyTorch" if torch is None else "no GPU that PyTorch can use", file=sys.stderr)
        sys.exit(2)

    loaded = library.Library(library.build(architecture()))
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}")
    torch.manual_seed(7)
    with torch.inference_mode():
        verify_relpos(loaded)
        results = compare_all(loaded, 5 if arguments.quick else 15, deadline)
    if arguments.json:
        write(arguments.json, results)


if __name__ == "__main__":
    main()
