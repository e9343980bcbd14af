"""torch.ops.relpos.attention against scaled_dot_product_attention in float64, on biases and rotations that are written
here from the papers' formulas."""

import math
import sys
import unittest

import torch
from torch.nn.functional import scaled_dot_product_attention

from relpos_operator import append, attention, cached_attention

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


def hidden(mask, queries=LENGTH, keys=LENGTH, size=None):
    of_queries, of_keys = (x[:, None] for x in positions(queries, keys))
    of_keys = of_keys.T
    later = of_keys > of_queries
    return {
        "full": lambda: torch.zeros_like(later),
        "causal": lambda: later,
        "sliding_window": lambda: later | (of_keys <= of_queries - size),
        "blockwise_causal": lambda: later | (of_keys // size < of_queries // size - 1),
        "chunked_causal": lambda: later | (of_keys // size != of_queries // size),
        "prefix": lambda: later & (of_keys >= size),
    }[mask]()


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
    def compare(self, q, k, v, mask, bias=0.0, rotate=None, wanted_scale=None, result=None, **keywords):
        """With float64, on keys repeated for their queries. The tolerance is twice the error of PyTorch's own attention
        in the precision of q, and some roundings of the largest value. `result` was computed by another call."""
        hides = hidden(mask, q.shape[2], k.shape[2], keywords.get("mask_size"))
        bias = (torch.zeros(hides.shape, dtype=torch.float64) + bias).masked_fill(hides, -math.inf)
        repeated = [x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (q, k, v)]
        if rotate:
            repeated[:2] = rotate(*repeated[:2])
        scale = keywords.get("scale", wanted_scale)

        def reference(dtype):
            tensors = (x.to(dtype) for x in repeated)
            return scaled_dot_product_attention(*tensors, bias.to(dtype), scale=scale).double()

        with self.subTest(mask=mask, dtype=q.dtype):
            out = attention(q, k, v, mask=mask, **keywords) if result is None else result
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

    def test_masks_of_a_size(self):
        for mask in "sliding_window", "blockwise_causal", "chunked_causal", "prefix":
            bias = alibi_slopes(HEADS)[:, None, None] * distances()
            self.compare(*inputs(), mask, bias, mask_size=150, encoding="alibi")

    def test_left_padding(self):
        """A padded sequence has the rows of the same sequence alone, and nothing reads its padding."""
        q, k, v = inputs()
        counts = torch.tensor([0, 123])
        alone = attention(*(x[1:, :, 123:] for x in (q, k, v)), mask="chunked_causal", mask_size=50)
        for x in (k, v):
            x[1, :, :123] = math.nan
        out = attention(q, k, v, mask="chunked_causal", mask_size=50, left_padding=counts)
        self.assertTrue(out[1, :, :123].eq(0).all())
        torch.testing.assert_close(out[1:, :, 123:], alone, rtol=0, atol=1e-6)

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
            (r"equal those in k, v is \[2, 6, 699, 40\], k is \[2, 6, 700, 32\]", (q, k, v[:, :, 1:]), {}),
            (r"v: shape is \[2, 3, 4\], must be \[batch, heads, length, channels\]", (q, k, no), {}),
            (r"one dtype, are \[Float, Double, Float\]", (q, k.double(), v), {}),
            (r"q, k, v: dtype is Double", (q.double(), k.double(), v.double()), {}),
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
            (r"mask_size: must be given with the mask 'prefix'", (q, k, v), {"mask": "prefix"}),
            (r"mask_size: the mask 'causal' has none", (q, k, v), {"mask": "causal", "mask_size": 8}),
            (r"blockwise_causal: block is 0", (q, k, v), {"mask": "blockwise_causal", "mask_size": 0}),
            (r"left_padding: 3 counts for a batch of 2", (q, k, v), {"left_padding": torch.ones(3).int()}),
            (r"left_padding: dtype is Float", (q, k, v), {"left_padding": torch.ones(2)}),
            (r"options.scale: is nan, must be finite", (q, k, v), {"scale": math.nan}),
        ]  # fmt: skip
        for message, tensors, keywords in refused:
            with self.subTest(message=message), self.assertRaisesRegex(ValueError, message):
                attention(*tensors, **keywords)

    def caches(self, capacity, dtype, page=16):
        """Keywords of empty caches for the inputs: a contiguous one, and a paged one whose pages lie in any order."""
        pages = -(-capacity // page)
        table = torch.randperm(2 * pages, generator=torch.Generator().manual_seed(6)).int().view(2, pages)
        for slabs, rows, keywords in (2, capacity, {}), (2 * pages, page, {"block_table": table}):
            nan = [torch.full((slabs, 2, rows, d), math.nan, dtype=dtype) for d in (HEAD_DIM, HEAD_DIM + 8)]
            yield (*nan, torch.zeros(2, dtype=torch.int64)), keywords

    def test_caches_give_what_tensors_give(self):
        """A prompt, a chunk and single tokens, through a cache of two key heads."""
        rope, alibi = {"encoding": "rope", "base": 500.0}, {"encoding": "alibi"}
        for dtype in torch.float32, torch.float16, torch.bfloat16:
            q, k, v = (x.to(dtype) for x in inputs(600, 600, key_heads=2))
            for encoding in rope, alibi:
                together = attention(q, k, v, mask="causal", **encoding)
                for cache, keywords in self.caches(610, dtype):
                    with self.subTest(dtype=dtype, **encoding, **keywords):
                        rotation = encoding if encoding is rope else {}
                        parts = []
                        for rows in (500, 98, 1, 1):
                            first = cache[2][0].item()
                            new = slice(first, first + rows)
                            append(*cache, k[:, :, new], v[:, :, new], **keywords, **rotation)
                            step = {**keywords, **encoding, "mask": "causal"}
                            parts.append(cached_attention(q[:, :, new], *cache, **step))
                        self.assertEqual(cache[2].tolist(), [600, 600])
                        eps = torch.finfo(dtype).eps
                        torch.testing.assert_close(torch.cat(parts, 2), together, rtol=4 * eps, atol=8 * eps)

    def test_sequences_of_a_cache_have_lengths_of_their_own(self):
        q, k, v = inputs(40, 40, key_heads=2)
        for cache, keywords in self.caches(50, torch.float32):
            append(*cache, k, v, **keywords)
            cache[2][1] = 30  # the user takes ten rows back
            out = cached_attention(q[:, :, -1:], *cache, mask="causal", **keywords)
            for i, length in enumerate((40, 30)):
                self.compare(
                    q[i : i + 1, :, -1:],
                    k[i : i + 1, :, :length],
                    v[i : i + 1, :, :length],
                    "causal",
                    result=out[i : i + 1],
                )

    def test_refusals_of_caches(self):
        q, k, v = inputs(40, 40, key_heads=2)
        (cache, _), (paged, keywords) = self.caches(50, torch.float32)
        refused = [
            (r"cache: sequence 0 would have 80 rows", lambda: append(*cache, *(torch.cat([x, x], 2) for x in (k, v)))),
            (r"lengths: is Int \[2\], must be int64", lambda: append(*cache[:2], cache[2].int(), k, v)),
            (r"block_table: is Long", lambda: append(*paged, k, v, block_table=keywords["block_table"].long())),
            (r"one dtype, are \[Float, Float, Half, Float\]", lambda: append(*cache, k.half(), v)),
            (r"encoding: is 'yarn'", lambda: append(*cache, k, v, encoding="yarn")),
            (r"cache.keys: head_dim differs", lambda: cached_attention(q[..., 1:], *cache)),
        ]
        for message, call in refused:
            with self.subTest(message=message), self.assertRaisesRegex(ValueError, message):
                call()
        self.assertTrue(cache[0].isnan().all() and cache[2].eq(0).all())

    def test_autograd_knows_that_append_changes_a_cache(self):
        _, k, v = inputs(40, 40, key_heads=2)
        cache = next(self.caches(50, torch.float32))[0]
        before = [x._version for x in cache]
        append(*cache, k, v)
        self.assertEqual([x._version for x in cache], [version + 1 for version in before])

    def test_a_compiled_step_of_decode(self):
        """The default backend of torch.compile, with a cache that the step changes and a length that grows."""
        q, k, v = inputs(40, 40, key_heads=2)
        rope = {"encoding": "rope"}

        def step(q, k, v, keys, values, lengths, **keywords):
            append(keys, values, lengths, 2 * k, v, **rope, **keywords)
            out = cached_attention(q.sin(), keys, values, lengths, mask="causal", **rope, **keywords)
            return out.relu()

        compiled = torch.compile(step, fullgraph=True)
        for (cache, keywords), (other, _) in zip(self.caches(50, torch.float32), self.caches(50, torch.float32)):
            for new in slice(0, 37), slice(37, 38), slice(38, 39), slice(39, 40):
                rows = [x[:, :, new] for x in (q, k, v)]
                torch.testing.assert_close(compiled(*rows, *cache, **keywords), step(*rows, *other, **keywords))
            self.assertEqual(cache[2].tolist(), [40, 40])

    def test_tracing(self):
        q, k, v = inputs(queries=40, keys=50)
        keywords = {"encoding": "t5", "table": torch.ones(32, HEADS), "mask": "causal"}
        torch.library.opcheck(torch.ops.relpos.attention.default, (q, k, v), keywords)
        for cache, where in self.caches(50, torch.float32):
            ops = torch.ops.relpos
            torch.library.opcheck(ops.append.default, (*cache, k[:, :2], v[:, :2]), where)
            torch.library.opcheck(ops.cached_attention.default, (q, *cache), {**keywords, **where})
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
