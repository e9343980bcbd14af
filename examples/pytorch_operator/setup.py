"""Compiles the operators for the processor of this machine, or with the flags in RELPOS_OPERATOR_FLAGS."""

import os
from pathlib import Path

from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CppExtension

here = Path(__file__).resolve().parent
root = here.parents[1]
build = root / "build" / "torch_operator"
build.mkdir(parents=True, exist_ok=True)
flags = os.environ.get("RELPOS_OPERATOR_FLAGS", "-O3 -march=native").split()

setup(
    packages=["relpos_operator"],
    package_dir={"": "src"},
    ext_modules=[
        CppExtension(
            "relpos_operator._operators",
            sources=[f"src/relpos_operator/{name}.cpp" for name in ("attention", "cache", "call")],
            depends=[str(header) for folder in (here, root / "include") for header in folder.rglob("*.hpp")],
            include_dirs=[str(root / "include")],
            define_macros=[("RELPOS_OPERATOR_FLAGS", f'"{" ".join(flags)}"')],
            extra_compile_args=["-std=c++20", "-fopenmp", *flags],
            extra_link_args=["-fopenmp"],
        )
    ],
    cmdclass={"build_ext": BuildExtension},
    options={"build": {"build_base": str(build)}, "egg_info": {"egg_base": str(build)}},
)
