"""A byte-level decoder-only Transformer; the encoding is all that differs between models."""

import math

import torch
import torch.nn.functional as F
from torch import nn

LAYERS, WIDTH, HEADS, HEAD_DIM, HIDDEN = 4, 128, 4, 32, 320
TRAINED_LENGTH = 256
RANK = 16  # of the mixed bias
ENCODINGS = ("nope", "sinusoidal", "rope", "xpos", "alibi", "t5", "mixed")


def sinusoidal(length):
    angles = torch.arange(length)[:, None] * 10000 ** (-torch.arange(0, WIDTH, 2) / WIDTH)
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)


def rotated(x, interleaved, scale):
    """Rotates [batch, head, row, HEAD_DIM] by RoPE; `scale`: XPOS's factor per row and pair."""
    frequency = 10000 ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    angle = torch.arange(x.shape[2])[:, None] * frequency
    cos, sin = angle.cos() * scale, angle.sin() * scale
    if interleaved:
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(3)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


def xpos_scale(length):
    """zeta ** (position / 512), as the authors' code: gamma 0.4."""
    zeta = (torch.arange(0, HEAD_DIM, 2) / HEAD_DIM + 0.4) / 1.4
    return zeta ** (torch.arange(length)[:, None] / 512)


def distances(length):
    """query - key, not below 0."""
    at = torch.arange(length)
    return (at[:, None] - at[None]).clamp(min=0)


def t5_buckets(distance, buckets=32, max_distance=128):
    exact = buckets // 2
    log = torch.log(distance.clamp(min=1) / exact) / math.log(max_distance / exact)
    far = exact + (log * (buckets - exact)).long()
    return torch.where(distance < exact, distance, far.clamp(max=buckets - 1))


class Layer(nn.Module):
    def __init__(self, encoding):
        super().__init__()
        self.encoding = encoding
        self.attention_norm = nn.RMSNorm(WIDTH, eps=1e-5)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.projection = nn.Linear(WIDTH, WIDTH, bias=False)
        self.hidden_norm = nn.RMSNorm(WIDTH, eps=1e-5)
        self.up = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.down = nn.Linear(HIDDEN, WIDTH, bias=False)
        if encoding == "mixed":
            self.mix = nn.Linear(HEAD_DIM, RANK, bias=False)  # of each head's query
            self.tables = nn.Parameter(0.1 * torch.randn(RANK, TRAINED_LENGTH))

    def bias_and_mask(self, q, table):
        """Added to the scores after the scale."""
        length = q.shape[2]
        distance = distances(length)
        hidden = torch.full((length, length), -math.inf).triu(1)
        if self.encoding == "alibi":
            slopes = 2.0 ** (-8 / HEADS * torch.arange(1, HEADS + 1))
            return hidden - slopes[:, None, None] * distance
        if self.encoding == "t5":
            return hidden + table[t5_buckets(distance)].permute(2, 0, 1)
        if self.encoding == "mixed":
            # by_distance[..., row, d] for distance d, then by key.
            by_distance = self.mix(q) @ self.tables
            nearest = distance.clamp(max=TRAINED_LENGTH - 1)
            return hidden + by_distance.gather(-1, nearest.expand(*by_distance.shape[:3], length))
        return None

    def attend(self, x, table):
        batch, length, _ = x.shape
        q, k, v = (part.view(batch, length, HEADS, HEAD_DIM).transpose(1, 2)
                   for part in self.qkv(x).chunk(3, -1))
        if self.encoding == "rope":
            q, k = rotated(q, False, 1.0), rotated(k, False, 1.0)
        elif self.encoding == "xpos":
            scale = xpos_scale(length)
            q, k = rotated(q, True, scale), rotated(k, True, 1 / scale)
        mask = self.bias_and_mask(q, table)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.projection(out.transpose(1, 2).flatten(2))

    def forward(self, x, table):
        x = x + self.attend(self.attention_norm(x), table)
        return x + self.down(F.gelu(self.up(self.hidden_norm(x))))


class Model(nn.Module):
    def __init__(self, encoding):
        super().__init__()
        self.encoding = encoding
        self.embedding = nn.Embedding(256, WIDTH)  # its transpose gives the logits
        self.layers = nn.ModuleList(Layer(encoding) for _ in range(LAYERS))
        self.norm = nn.RMSNorm(WIDTH, eps=1e-5)
        if encoding == "t5":
            self.table = nn.Parameter(torch.zeros(32, HEADS))  # of all layers
        for name, weight in self.named_parameters():
            if weight.dim() == 2 and name not in ("table",) and "tables" not in name:
                nn.init.normal_(weight, std=0.02 if "embedding" in name else weight.shape[1] ** -0.5)
        for layer in self.layers:
            for weight in (layer.projection.weight, layer.down.weight):
                weight.data /= math.sqrt(2 * LAYERS)

    def forward(self, tokens):
        """Logits [batch, row, byte] of the byte behind each row."""
        x = self.embedding(tokens) * math.sqrt(WIDTH)
        if self.encoding == "sinusoidal":
            x = x + sinusoidal(tokens.shape[1])
        for layer in self.layers:
            x = layer(x, getattr(self, "table", None))
        return self.norm(x) @ self.embedding.weight.T
