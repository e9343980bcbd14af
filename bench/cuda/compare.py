"""relpos's attention on a GPU against PyTorch's attention, in bfloat16:

  torch_sdpa        scaled_dot_product_attention with the kernel that PyTorch chooses, which is named
  torch_cudnn       the same with the kernel of cuDNN
  torch_sdpa_bias   the same with a matrix, made beforehand, of the bias and the mask
  torch_flex        FlexAttention, compiled, with the bias as score_mod and a block mask

XPOS is relpos's alone: none of these rotates queries and keys within its kernel. One query over many keys, as in
generation, has torch_sdpa and torch_flex beside it, without a mask, as the last query sees every key.

Every result is compared with float64, on rows of all parts of the sequence, before it is timed. The matrix of a bias is
in bfloat16, as PyTorch wants it, and is compared with the attention of what it holds.

A time is a median, between events on the device: the copy that relpos begins with is in it, what a call does on the
host is not. Candidates take turns, A B C A B C, on several inputs. So does what is the ceiling: a product of matrices,
whose operations are counted, or for one query a copy, whose bytes are. Only the work of keys that the mask leaves is
counted, and all of it, however small a bias makes their weights; a kernel may leave some of that out.

`extra` is the time beyond that of relpos's own call without the encoding, which takes turns too; the aim is 5 %.

Exit code 2: there is no GPU, or no PyTorch.
"""

import argparse
import ctypes
import itertools
import math
import os
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import library
import results_file

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
MATRIX = 8192  # of the product that is a ceiling
COPIED = 2**30  # bytes
FLEX_BLOCK = 128
SMALL = 1000  # keys of a small call, which no tile divides
LARGEST_ERROR = 3  # of a row: about 0.6 as the output is rounded, as much for the weights, and for XPOS's rotated rows


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

    def visible_pairs(self, rows, length):
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
    """`by_distance` [heads, length], in float64, is the bias of the key so many positions before the query.
    `rotated(rows, positions, side)` are queries, of side 1, or keys, of side -1, in float64, for the product of both."""

    name: str
    by_distance: Any = None
    rotated: Optional[Callable] = None
    score_mod: Optional[Callable] = None  # as FlexAttention's, of positions
    data: Any = None  # of the host: slopes or table
    two_sided: bool = False


def no_encoding(heads, length):
    return Encoding("none")


def alibi(heads, length):
    data = (2.0 ** (-8 * torch.arange(1, heads + 1) / heads)).float()
    slopes = data.to(DEVICE)

    def score_mod(score, batch, head, query, key):
        return score + slopes[head] * (key - query)

    by_distance = -slopes.double()[:, None] * torch.arange(length, device=DEVICE)
    return Encoding("alibi", by_distance, score_mod=score_mod, data=data)


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

    return Encoding("t5", by_distance.double(), score_mod=score_mod, data=data, two_sided=two_sided)


def xpos(heads, length):
    """By the definition (Sun et al., arXiv 2212.10554), of channels i and i + head_dim / 2. The powers are of positions
    themselves, which float64 holds up to 280000."""

    def rotated(rows, positions, side):
        first, second = rows.double().chunk(2, -1)
        part = torch.arange(first.shape[-1], device=DEVICE).double() / first.shape[-1]
        positions = positions.double()[:, None]
        angle = positions * 10000.0**-part
        size = ((part + 0.4) / 1.4) ** (side * positions / 512)
        cosine, sine = size * angle.cos(), size * angle.sin()
        return torch.cat([first * cosine - second * sine, first * sine + second * cosine], -1)

    return Encoding("xpos", rotated=rotated)


@dataclass
class Problem:
    """Queries are the last `query_length` rows of `length`. What is called a row is a position among all of these."""

    encoding: Encoding
    mask: Mask
    head_dim: int
    batch: int
    query_length: int
    length: int
    heads: int
    key_heads: int
    type: str = "bfloat16"

    @property
    def dtype(self):
        return {"bfloat16": torch.bfloat16, "half": torch.float16}[self.type]

    @property
    def scale(self):
        return self.head_dim**-0.5  # for T5 too, whose own scale of 1 would leave one key in each row

    @property
    def is_decode(self):
        return self.query_length == 1

    @property
    def shares_keys(self):
        return self.heads != self.key_heads

    @property
    def first_row(self):
        return self.length - self.query_length

    @property
    def rows(self):
        return torch.arange(self.first_row, self.length, device=DEVICE)

    @property
    def operations(self):
        pairs = self.mask.visible_pairs(self.rows, self.length)
        return 4 * self.head_dim * pairs * self.heads * self.batch

    @property
    def bytes_read(self):
        """Of keys and values, once."""
        return 2 * self.dtype.itemsize * self.head_dim * self.length * self.key_heads * self.batch

    def random_inputs(self):
        """q, k and v."""
        keys = (self.key_heads, self.length)
        shapes = [(self.heads, self.query_length), keys, keys]
        return [torch.randn(self.batch, *of, self.head_dim, device=DEVICE, dtype=self.dtype) for of in shapes]

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
        q, k, v = (each.double() for each in inputs)
        q = q[:, :, rows - self.first_row]
        if self.encoding.rotated is not None:
            q = self.encoding.rotated(q, rows, 1)
            k = self.encoding.rotated(k, torch.arange(self.length, device=DEVICE), -1)

        # Heads that share keys lie one below the other: keys need not be repeated.
        def product(of_heads, shared):
            of_key_heads = of_heads.reshape(self.batch, self.key_heads, -1, of_heads.shape[-1])
            return (of_key_heads @ shared).reshape(self.batch, self.heads, len(rows), -1)

        return product((product(q, k.mT) * self.scale + bias.double()).softmax(-1), v)

    def sampled_rows(self):
        edges = [0, 1, 63, 64, 2047, 2048, 4096, self.length // 3, self.length // 2, self.length - 2, self.length - 1]
        edges += torch.randint(self.length, (8,)).tolist()
        return torch.tensor(sorted({row for row in edges if self.first_row <= row < self.length}), device=DEVICE)


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
            query_length=problem.query_length,
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
        device_bytes, host_bytes = self._loaded.workspace_bytes(ctypes.byref(call))
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
    options |= {"scale": problem.scale, "enable_gqa": problem.shares_keys}

    def run(i):
        return scaled_dot_product_attention(*inputs[i], **options)

    choice = torch._fused_sdp_choice(*inputs[0], **options)
    run.kernel = SDPBackend(choice).name.lower().removesuffix("_attention")
    return run


def torch_sdpa(problem, inputs):
    # PyTorch's causal mask takes the one query for the first.
    return sdpa(problem, inputs, is_causal=problem.mask.is_causal and not problem.is_decode)


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


def score_mod_of(problem):
    """FlexAttention counts queries from 0, wherever they are."""
    of_positions, first = problem.encoding.score_mod, problem.first_row
    if of_positions is None or first == 0:
        return of_positions
    return lambda score, batch, head, query, key: of_positions(score, batch, head, query + first, key)


def torch_flex(problem, inputs):
    torch._dynamo.reset()
    compiled = torch.compile(flex_attention, dynamic=False)
    options = {"score_mod": score_mod_of(problem), "scale": problem.scale, "enable_gqa": problem.shares_keys}
    if not problem.is_decode:
        options["block_mask"] = block_mask(problem.mask, problem.length)
    return lambda i: compiled(*inputs[i], **options)


def peers_of(problem):
    if problem.encoding.name == "xpos":
        return []
    if problem.is_decode:
        return [torch_sdpa, torch_flex] if problem.encoding.name == "none" else [torch_flex]
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
        self._at = rows - problem.first_row
        self._wanted = [problem.reference(each, rows, bias) for each in inputs]
        if torch_sdpa_bias in peers_of(problem):  # whose matrix is rounded
            self._wanted_of_matrix = [problem.reference(each, rows, bias.to(problem.dtype)) for each in inputs]

    def error(self, name, run):
        wanted = self._wanted_of_matrix if name == "torch_sdpa_bias" else self._wanted
        return max(relative_error(run(i)[:, :, self._at], each) for i, each in enumerate(wanted))


def refuse_if_wrong(name, problem, error):
    if not error < LARGEST_ERROR:
        sys.exit(
            f"{name}, {problem.encoding.name}, {problem.mask.name}, {problem.type}, head_dim {problem.head_dim}, "
            f"queries {problem.query_length}, keys {problem.length}: error {error:.2f} units, must be below "
            f"{LARGEST_ERROR}: nothing is timed"
        )


def small_problems():
    """Of every kernel that is compiled in, with heads that share keys. One query takes the kernel of few, and so do
    five, whose fifteen rows of a key head nearly fill it."""
    pairs = [(no_encoding, mask) for mask in (causal(), full(), band(100), blockwise_causal(128))]
    pairs += [(make, causal()) for make in (alibi, t5, lambda *of: t5(*of, two_sided=True), xpos)]
    shape = {"batch": 2, "length": SMALL, "heads": 6, "key_heads": 2}
    for head_dim, name, queries in itertools.product((64, 128), ("bfloat16", "half"), (SMALL, 5, 1)):
        for make, mask in pairs:
            yield Problem(make(6, SMALL), mask, head_dim, query_length=queries, type=name, **shape)


def verify_relpos(loaded):
    count, largest = 0, 0.0
    for problem in small_problems():
        inputs = problem.random_inputs()
        wanted = problem.reference(inputs, problem.rows, problem.bias(problem.rows))
        error = relative_error(Relpos(loaded, problem, [inputs])(0), wanted)
        refuse_if_wrong("relpos", problem, error)
        count, largest = count + 1, max(largest, error)
    print(f"{count} small calls of relpos are right: largest error of a row {largest:.2f} units of rounding")


class Product:
    """Of matrices, the ceiling of many queries; it also keeps the device busy while the host prepares what is timed."""

    unit = "teraflops"
    columns = f"{'TFLOP/s':>8}{'of matmul':>10}"
    work = 2 * MATRIX**3

    @staticmethod
    def work_of(problem):
        return problem.operations

    def __init__(self):
        self._factors = [torch.randn(MATRIX, MATRIX, device=DEVICE, dtype=torch.bfloat16) for _ in range(2)]
        self._product = torch.empty_like(self._factors[0])

    def __call__(self, i):
        torch.matmul(*self._factors, out=self._product)


class Copy:
    """On the device, the ceiling of one query. Its rate counts the bytes that it reads and those that it writes, as both
    take the memory's time. What is compared with it are the keys and values that a call reads; what that writes is
    next to nothing. Memory that need not turn from reads to writes may be faster: above 100 % is no error."""

    unit = "terabytes"
    columns = f"{'TB/s':>8}{'of a copy':>10}"
    work = 2 * COPIED

    @staticmethod
    def work_of(problem):
        return problem.bytes_read

    def __init__(self):
        self._source, self._target = (torch.zeros(COPIED, dtype=torch.uint8, device=DEVICE) for _ in range(2))

    def __call__(self, i):
        self._target.copy_(self._source)


def per_second(work, milliseconds):
    """In units of 10^12."""
    return work / milliseconds / 1e9


def interleaved_milliseconds(candidates, turns, product):
    """Medians."""
    times = {name: [] for name in candidates}
    for turn in range(1 + turns):  # the first is to warm up
        for name, run in candidates.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            product(turn)
            begin.record()
            run(turn % INPUTS)
            end.record()
            torch.cuda.synchronize()
            if turn > 0:
                times[name].append(begin.elapsed_time(end))
    return {name: statistics.median(each) for name, each in times.items()}


def print_ceilings(turns, product, copy):
    times = interleaved_milliseconds({"product": product, "copy": copy}, turns, product)
    teraflops = per_second(product.work, times["product"])
    terabytes = per_second(copy.work, times["copy"])
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


@dataclass
class Result:
    """Of a problem. Rates are in the ceiling's unit."""

    milliseconds: float
    rate: float
    peak: float
    extra_percent: Optional[float]
    speedup: dict
    kernels: dict
    missing: dict


def measure(loaded, problem, turns, product, ceiling):
    inputs = [problem.random_inputs() for _ in range(INPUTS)]
    candidates, missing = right_candidates(loaded, problem, inputs)
    others = {"ceiling": ceiling}
    if problem.encoding.name != "none":  # verified on the line that it has of its own
        others["without"] = Relpos(loaded, replace(problem, encoding=Encoding("none")), inputs)
    times = interleaved_milliseconds({**others, **candidates}, turns, product)
    peak = per_second(ceiling.work, times.pop("ceiling"))
    own = times.pop("relpos")
    return Result(
        milliseconds=own,
        rate=per_second(ceiling.work_of(problem), own),
        peak=peak,
        extra_percent=100 * (own / times.pop("without") - 1) if "without" in others else None,
        speedup={name: each / own for name, each in times.items()},
        kernels={name: run.kernel for name, run in candidates.items() if hasattr(run, "kernel")},
        missing=missing,
    )


def print_line(problem, found):
    def peer(name):
        return f"{name} ({found.kernels[name]})" if name in found.kernels else name

    ratios = [f"{peer(name)} {each:.2f}x" for name, each in found.speedup.items()]
    ratios += [f"{name}: {why}" for name, why in found.missing.items()]
    title = f"{problem.encoding.name}, {problem.mask.name}"
    rate = f"{found.rate:>8.2f}" if problem.is_decode else f"{found.rate:>8.0f}"
    extra = "" if found.extra_percent is None else f"{found.extra_percent:+.1f}%"
    columns = f"{title:<24}{found.milliseconds:>9.3f} ms{rate}{found.rate / found.peak:>10.1%}{extra:>9}"
    print(f"{columns}  {', '.join(ratios)}".rstrip(), flush=True)


def as_object(problem, found, unit):
    return {
        "extra_time_percent": found.extra_percent,
        "type": problem.type,
        "head_dim": problem.head_dim,
        "batch": problem.batch,
        "heads": problem.heads,
        "key_heads": problem.key_heads,
        "query_length": problem.query_length,
        "length": problem.length,
        "encoding": problem.encoding.name,
        "setting": problem.mask.name,
        "extent": problem.mask.extent,
        "milliseconds": found.milliseconds,
        unit: found.rate,
        f"ceiling_{unit}": found.peak,
        "fraction_of_peak": found.rate / found.peak,
        "kernels": found.kernels,
        "speedup": found.speedup,
        "missing": found.missing,
    }


def many_queries(head_dim, batch, length):
    return {
        "head_dim": head_dim,
        "batch": batch,
        "query_length": length,
        "length": length,
        "heads": HEADS,
        "key_heads": HEADS,
    }


def one_query(head_dim, heads):
    """Keys and values of each input are more than the second cache holds, and the product comes between two calls."""
    return {
        "head_dim": head_dim,
        "batch": 8,
        "query_length": 1,
        "length": 32768,
        "heads": heads,
        "key_heads": 8,
    }


def sections():
    """What Problem is given but for encoding and mask, and pairs of these. There may be no time for the last."""
    pairs = [(no_encoding, mask) for mask in (causal(), full(), band(1024))]
    pairs += [(encoding, causal()) for encoding in (alibi, t5, xpos)]
    for length in (8192, 2048, 32768):
        for head_dim in (128, 64):
            yield many_queries(head_dim, ROWS // length, length), pairs
        if length == 8192:
            for head_dim, heads in itertools.product((128, 64), (8, 32)):
                yield one_query(head_dim, heads), [(encoding, causal()) for encoding in (no_encoding, alibi)]
            for head_dim in (128, 64):
                yield many_queries(head_dim, 1, 16384), [(no_encoding, causal())]
                yield many_queries(head_dim, 1, 131072), [(no_encoding, blockwise_causal(2048))]


def print_heading(shape, columns):
    print("\n" + ", ".join(f"{name} {value}" for name, value in shape.items()) + ", bfloat16")
    print(f"{'encoding, mask':<24}{'relpos':>12}{columns}{'extra':>9}  ratios to it")


def compare_all(loaded, turns, deadline):
    product, copy = Product(), Copy()
    print_ceilings(turns, product, copy)
    rows = []
    for shape, pairs in sections():
        ceiling = copy if shape["query_length"] == 1 else product
        print_heading(shape, ceiling.columns)
        for make, mask in pairs:
            if time.monotonic() > deadline:
                print(f"{make.__name__}, {mask.name}: skipped, out of time")
                continue
            problem = Problem(make(shape["heads"], shape["length"]), mask, **shape)
            found = measure(loaded, problem, turns, product, ceiling)
            print_line(problem, found)
            rows.append(as_object(problem, found, ceiling.unit))
            torch.cuda.empty_cache()
    return rows


def main():
    deadline = time.monotonic() + SECONDS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build-only", action="store_true", help=f"for sm_{', sm_'.join(ARCHITECTURES)}, and stop")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    results_file.add_options(parser)
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
        rows = compare_all(loaded, 5 if arguments.quick else 15, deadline)
    if arguments.json:
        section = {
            "title": f"{torch.cuda.get_device_name()}, bfloat16",
            "setting": "mask",
            "processor": torch.cuda.get_device_name(),
            "commit": arguments.commit,
            "compiler": f"CUDA {torch.version.cuda}",
            "flags": f"sm_{architecture()}",
            "notes": [f"PyTorch {torch.__version__}"],
            "rows": rows,
        }
        results_file.write(Path(arguments.json), [section])


if __name__ == "__main__":
    main()
