#!/usr/bin/env bash
# A row whose every key is masked by the lowest number of the model's type: in float32 and bfloat16 the row is the mean of
# all values, in float16 it is the softmax as if there were no mask. PyTorch adds the mask in float32: there -65504 rounds
# the scores to multiples of 2^-8 and hides none, as softmax does not see what all keys have in common.
#
# A model that masks with torch.finfo(dtype).min therefore has other numbers in its padded rows in float16 than in
# bfloat16: they attend to what the mask should hide.
#
# Seen on x86-64 (AVX-512), PyTorch 2.15.0:
#
#   torch 2.15.0
#   float32  math   from the mean 0.000, from no mask 0.188
#   float32  fused  from the mean 0.000, from no mask 0.188
#   bfloat16 math   from the mean 0.000, from no mask 0.188
#   bfloat16 fused  from the mean 0.000, from no mask 0.188
#   float16  math   from the mean 0.188, from no mask 0.000
#   float16  fused  from the mean 0.188, from no mask 0.000
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.15.0 numpy==2.4.6

"$folder/venv/bin/python" - <<'END'
import sys
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as attention

print("torch", torch.__version__.split("+")[0])
torch.manual_seed(0)
keys = 300
q, k, v = torch.randn(1, 1, 4, 64), torch.randn(1, 1, keys, 64), torch.randn(1, 1, keys, 64)
mean = v.mean(2, keepdim=True)
unmasked = attention(q, k, v)
unchanged = True
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    mask = torch.full((1, 1, 4, keys), torch.finfo(dtype).min, dtype=dtype)
    for name, backend in (("math", SDPBackend.MATH), ("fused", SDPBackend.FLASH_ATTENTION)):
        with sdpa_kernel(backend):
            out = attention(q.to(dtype), k.to(dtype), v.to(dtype), attn_mask=mask).float()
        from_mean = (out - mean).abs().max().item()
        from_unmasked = (out - unmasked).abs().max().item()
        print(f"{str(dtype)[6:]:8} {name:5}  from the mean {from_mean:.3f}, from no mask {from_unmasked:.3f}")
        is_mean = from_mean < 0.01
        unchanged = unchanged and is_mean == (dtype != torch.float16) and (is_mean or from_unmasked < 0.01)
sys.exit(0 if unchanged else 1)
END
