"""Importing this builds and loads torch.ops.relpos.attention; README.md describes its arguments."""

from pathlib import Path

import torch
from torch.utils import cpp_extension

_here = Path(__file__).resolve().parent
_root = _here.parents[1]

# A folder for each version of PyTorch: what was built for one cannot be loaded into another.
_build = _root / "build" / "torch_operator" / torch.__version__
_build.mkdir(parents=True, exist_ok=True)

FLAGS = ["-O3", "-march=native"]

cpp_extension.load(
    name="relpos_operator",
    sources=[str(_here / "relpos_operator.cpp")],
    extra_include_paths=[str(_root / "include")],
    extra_cflags=[*FLAGS, "-std=c++20", "-fopenmp"],
    extra_ldflags=["-fopenmp"],
    build_directory=str(_build),
    is_python_module=False,
)

attention = torch.ops.relpos.attention


@torch.library.register_fake("relpos::attention")
def _shape_of_attention(q, k, v, **_):
    return q.new_empty((*q.shape[:3], v.shape[3]))
