"""torch.ops.relpos.attention against scaled_dot_product_attention in float64, on biases and rotations that are written
here from the papers' formulas."""

import math
import sys
import unittest

import torch
from torch.nn.functional import scaled_dot_product_attention

from relpos_operator import attention

# Longer than the blocks of 512 positions that rotations have, and no multiple of a tile.
LENGTH = 700
HEADS = 6  # no power of two: ALiBi has a rule of its own for those
HEAD_DIM = 32
MASKS = ("full", "causal")


def waves(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def inputs(queries=LENGTH, keys=LENGTH, heads=HEADS, key_heads=HEADS):
    return (
        waves(2, heads, queries, HEAD_DIM, seed=1),
        waves(2, key_heads, keys, HEAD_DIM, seed=2),
        waves(2, key_heads, keys, HEAD_DIM + 8, seed=3),
    )


def positions(queries, keys):
    """Of the rows: the queries are the last of the keys."""
    return torch.arange(keys - queries, keys), torch.arange(keys)


def distances(queries=LENGTH, keys=LENGTH):
    """k_pos - q_pos, [query, key]."""
    of_queries, of_keys = positions(queries, keys)
    return of_keys[None, :] - of_queries[:, None]


def hidden(mask, queries=LENGTH, keys=LENGTH, block=None):
    of_queries, of_keys = positions(queries, keys)
    later = distances(queries, keys) > 0
    if mask == "full":
        return torch.zeros_like(later)
    if mask == "causal":
        return later
    return later | (of_keys[None, :] // block < of_queries[:, None] // block - 1)


def alibi_slopes(heads):
    """2^(-8 i / n), and the authors' rule for other numbers of heads (arXiv 2108.12409)."""
    below = 2 ** math.floor(math.log2(heads))
    slopes = [2.0 ** (-8 * (i + 1) / below) for i in range(below)]
    if below < heads:
        slopes += alibi_slopes(2 * below)[0::2][: heads - below].tolist()
    return torch.tensor(slopes, dtype=torch.float64)


def t5_bucket(distance, bidirectional, buckets=32, max_distance=128):
    """arXiv 1910.10683, section 2.1. log2, because it is exact where a bucket begins at a power of two."""
    first = 0
    if bidirectional:
        buckets //= 2
        first = buckets if distance > 0 else 0
        distance = abs(distance)
    else:
        distance = max(-distance, 0)
    exact = buckets // 2
    if distance < exact:
        return first + distance
    part = math.log2(distance / exact) / math.log2(max_distance / exact)
    return first + min(buckets - 1, exact + int(part * (buckets - exact)))


def t5_bias(table, bidirectional):
    buckets = distances().apply_(lambda distance: t5_bucket(distance, bidirectional))
    return table.double()[buckets].permute(2, 0, 1)


def rotated(rows, at, interleaved=False, base=10000.0, decay=0):
    """Pairs of channels as complex numbers times e^(i position theta) zeta^(decay position / 512) (arXiv 2104.09864,
    2212.10554)."""
    pairs = rows.shape[-1] // 2
    i = torch.arange(pairs, dtype=torch.float64)
    zeta = (i / pairs + 0.4) / 1.4
    size = zeta ** (decay * at[:, None] / 512)
    turn = torch.polar(size, at[:, None] * base ** (-i / pairs))
    split = (pairs, 2) if interleaved else (2, pairs)
    real, imaginary = rows.double().unflatten(-1, split).unbind(-1 if interleaved else -2)
    turned = torch.complex(real, imaginary) * turn
    parts = torch.stack([turned.real, turned.imag], -1 if interleaved else -2)
    return parts.flatten(-2)


class OperatorTest(unittest.TestCase):
    def compare(self, q, k, v, mask, bias=0.0, rotate=None, wanted_scale=None, **keywords):
        """With float64, on keys repeated for their queries. The tolerance is twice the error of PyTorch's own attention
        in the precision of q, and some roundings of the largest value."""
        hides = hidden(mask, q.shape[2], k.shape[2], keywords.get("block"))
        bias = (torch.zeros(hides.shape, dtype=torch.float64) + bias).masked_fill(hides, -math.inf)
        repeated = [x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (q, k, v)]
        if rotate:
            repeated[:2] = rotate(*repeated[:2])
        scale = keywords.get("scale", wanted_scale)

        def reference(dtype):
            tensors = (x.to(dtype) for x in repeated)
            return scaled_dot_product_attention(*tensors, bias.to(dtype), scale=scale).double()

        with self.subTest(mask=mask, dtype=q.dtype):
            out = attention(q, k, v, mask=mask, **keywords)
            wanted = reference(torch.float64)
            self.assertEqual((out.shape, out.dtype), (wanted.shape, q.dtype))
            self.assertTrue(out.isfinite().all())
            roundings = 16 * torch.finfo(torch.float32).eps * v.abs().max().item()
            naive = (reference(q.dtype) - wanted).abs().max().item()
            error = (out.double() - wanted).abs().max().item()
            self.assertLessEqual(error, 2 * naive + roundings)

    def test_no_encoding(self):
        for mask in MASKS:
            self.compare(*inputs(), mask)

    def test_alibi_with_standard_slopes(self):
        bias = alibi_slopes(HEADS)[:, None, None] * distances()
        for mask in MASKS:
            self.compare(*inputs(), mask, bias, encoding="alibi")

    def test_alibi_with_given_slopes(self):
        slopes = torch.linspace(0.01, 0.2, 2 * HEADS, dtype=torch.float64)[::2]
        bias = slopes[:, None, None] * distances()
        for mask in MASKS:
            self.compare(*inputs(), mask, bias, encoding="alibi", slopes=slopes)

    def test_symmetric_alibi(self):
        bias = -alibi_slopes(HEADS)[:, None, None] * distances().abs()
        for mask in MASKS:
            self.compare(*inputs(), mask, bias, encoding="alibi_symmetric")

    def test_t5(self):
        table = waves(32, HEADS, seed=4)
        for mask in MASKS:
            bias = t5_bias(table, bidirectional=mask == "full")
            self.compare(*inputs(), mask, bias, wanted_scale=1.0, encoding="t5", table=table)

    def test_rope(self):
        at = torch.arange(LENGTH)
        for mask in MASKS:
            for layout, base in ("half_split", 10000.0), ("interleaved", 500.0):

                def rotate(*rows):
                    return [rotated(x, at, layout == "interleaved", base) for x in rows]

                keywords = {"encoding": "rope", "pair_layout": layout, "base": base}
                self.compare(*inputs(), mask, rotate=rotate, **keywords)

    def test_xpos(self):
        at = torch.arange(LENGTH)

        def rotate(q, k):
            return rotated(q, at, decay=1), rotated(k, at, decay=-1)

        for mask in MASKS:
            self.compare(*inputs(), mask, rotate=rotate, encoding="xpos")

    def test_blockwise_causal(self):
        self.compare(*inputs(), "blockwise_causal", block=150)

    def test_queries_are_the_last_rows_of_the_keys(self):
        bias = alibi_slopes(HEADS)[:, None, None] * distances(queries=33)
        self.compare(*inputs(queries=33), "causal", bias, encoding="alibi")

    def test_grouped_queries(self):
        bias = alibi_slopes(HEADS)[:, None, None] * distances()
        for mask in MASKS:
            self.compare(*inputs(key_heads=2), mask, bias, encoding="alibi")

    def test_strides(self):
        packed = waves(2, LENGTH, 3, HEADS, HEAD_DIM, seed=5)
        q, k, v = (x.transpose(1, 2) for x in packed.unbind(2))
        k = k[:, :1].expand(-1, HEADS, -1, -1)
        v = v.transpose(2, 3).contiguous().transpose(2, 3)  # channels far apart
        self.assertFalse(any(x.is_contiguous() for x in (q, k, v)))
        for mask in MASKS:
            self.compare(q, k, v, mask)

    def test_sixteen_bits(self):
        for dtype in (torch.bfloat16, torch.float16):
            for mask in MASKS:
                self.compare(*(x.to(dtype) for x in inputs()), mask)

    def test_scale(self):
        self.compare(*inputs(), "full", scale=0.5)

    def test_threads_do_not_change_a_bit(self):
        q, k, v = inputs()
        before = torch.get_num_threads()
        self.addCleanup(torch.set_num_threads, before)
        torch.set_num_threads(1)
        alone = attention(q, k, v, encoding="rope", mask="causal")
        torch.set_num_threads(3)
        self.assertTrue(attention(q, k, v, encoding="rope", mask="causal").equal(alone))

    def test_refusals(self):
        q, k, v = inputs()
        no, many = torch.ones(2, 3, 4), torch.ones(HEADS + 1)
        refused = [
            (r"k: head_dim differs, k is \[2, 6, 700, 31\], q is \[2, 6, 700, 32\]", (q, k[..., 1:], v), {}),
            (r"multiple of key heads, k is \[2, 4, 700, 32\]", (q, k[:, 2:], v[:, 2:]), {}),
            (r"those of k, v is \[2, 6, 699, 40\], k is \[2, 6, 700, 32\]", (q, k, v[:, :, 1:]), {}),
            (r"v: shape is \[2, 3, 4\], must be \[batch, heads, length, channels\]", (q, k, no), {}),
            (r"one dtype, are Float, Double, Float", (q, k.double(), v), {}),
            (r"q: dtype is Double", (q.double(), k.double(), v.double()), {}),
            (r"encoding: is 'ALiBi', must be 'none', 'alibi'", (q, k, v), {"encoding": "ALiBi"}),
            (r"mask: is 'casual', must be 'full'", (q, k, v), {"mask": "casual"}),
            (r"7 slopes for a query of 6 heads", (q, k, v), {"encoding": "alibi", "slopes": many}),
            (r"slopes: the encoding 'none' has none", (q, k, v), {"slopes": many}),
            (r"table: must be given", (q, k, v), {"encoding": "t5"}),
            (r"table: must be given", (q, k, v), {"encoding": "rope", "table": many}),
            (r"table: shape is \[7\], must be \[buckets, heads\]", (q, k, v), {"encoding": "t5", "table": many}),
            (
                r"table is \[6, 32\], must be \[num_buckets, heads\] = \[6, 6\]",
                (q, k, v),
                {"encoding": "t5", "table": torch.ones(HEADS, 32)},
            ),
            (r"rotary: .* out of range", (q[..., 1:], k[..., 1:], v), {"encoding": "rope"}),
            (r"base: is nan, must be finite", (q, k, v), {"encoding": "rope", "base": math.nan}),
            (r"pair_layout: is 'neox'", (q, k, v), {"encoding": "rope", "pair_layout": "neox"}),
            (r"block: must be given", (q, k, v), {"mask": "blockwise_causal"}),
            (r"block: must be given", (q, k, v), {"mask": "causal", "block": 8}),
            (r"blockwise_causal: block is 0", (q, k, v), {"mask": "blockwise_causal", "block": 0}),
            (r"options.scale: is nan, must be finite", (q, k, v), {"scale": math.nan}),
        ]  # fmt: skip
        for message, tensors, keywords in refused:
            with self.subTest(message=message), self.assertRaisesRegex(ValueError, message):
                attention(*tensors, **keywords)

    def test_tracing(self):
        q, k, v = inputs(queries=40, keys=50)
        keywords = {"encoding": "t5", "table": torch.ones(32, HEADS), "mask": "causal"}
        torch.library.opcheck(torch.ops.relpos.attention.default, (q, k, v), keywords)
        traced = torch.compile(attention, fullgraph=True, backend="aot_eager")
        self.assertTrue(traced(q, k, v, **keywords).equal(attention(q, k, v, **keywords)))

    def test_a_backward_pass_is_refused(self):
        q, k, v = inputs(queries=40, keys=50)
        out = attention(q.requires_grad_(), k, v)
        with self.assertRaisesRegex(RuntimeError, "relpos::attention is not implemented"):
            out.sum().backward()


if __name__ == "__main__":
    result = unittest.main(verbosity=2, exit=False).result
    failed = len({test.id().split(" ")[0] for test, _ in result.failures + result.errors})
    print(f"{result.testsRun - failed} passed, {failed} failed")
    sys.exit(0 if result.testsRun and not failed else 1)
