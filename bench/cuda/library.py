"""relpos_gpu.cu as a library that Python loads: nvcc builds it for one architecture, ctypes calls it. Importing this
needs neither PyTorch nor a GPU. The name of a library holds the digest of what it is made of, so none is out of date."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

_root = Path(__file__).resolve().parents[2]
_source = Path(__file__).with_name("relpos_gpu.cu")
_flags = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", "-shared", "-Xcompiler", "-fPIC"]


class Call(ctypes.Structure):
    """`relpos_gpu_call`."""

    _fields_ = [
        ("out", ctypes.c_void_p),
        ("q", ctypes.c_void_p),
        ("k", ctypes.c_void_p),
        ("v", ctypes.c_void_p),
        ("batch", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("key_heads", ctypes.c_int64),
        ("query_length", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("head_dim", ctypes.c_int64),
        ("type", ctypes.c_char_p),
        ("encoding", ctypes.c_char_p),
        ("mask", ctypes.c_char_p),
        ("extent", ctypes.c_int64),
        ("data", ctypes.c_void_p),
        ("two_sided", ctypes.c_int32),
        ("scale", ctypes.c_float),
    ]


class Library:
    def __init__(self, path):
        loaded = ctypes.CDLL(str(path))
        size = ctypes.c_size_t
        self._workspace_bytes = loaded.relpos_gpu_workspace_bytes
        self._workspace_bytes.argtypes = [ctypes.POINTER(Call)] + 2 * [ctypes.POINTER(size)]
        self._workspace_bytes.restype = None
        self._attention = loaded.relpos_gpu_attention
        memory = [ctypes.c_void_p, size]
        self._attention.argtypes = [ctypes.POINTER(Call), *memory, *memory, ctypes.c_void_p, ctypes.c_char_p, size]
        self._attention.restype = ctypes.c_int

    def workspace_bytes(self, call):
        """Of the device and of the host."""
        device, host = ctypes.c_size_t(), ctypes.c_size_t()
        self._workspace_bytes(call, device, host)
        return device.value, host.value

    def attention(self, call, device, device_bytes, host, host_bytes, stream):
        message = ctypes.create_string_buffer(512)
        if self._attention(call, device, device_bytes, host, host_bytes, stream, message, len(message)) != 0:
            raise RuntimeError(message.value.decode())


def find_nvcc():
    places = [os.path.join(os.environ[name], "bin") for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    path = os.pathsep.join([*places, os.environ.get("PATH", ""), "/usr/local/cuda/bin"])
    return shutil.which("nvcc", path=path) or sys.exit("no nvcc: set CUDA_HOME to the folder of the CUDA toolkit")


def build(architecture):
    """The path of the library for an architecture such as 90a."""
    digest = hashlib.sha256(" ".join([architecture, *_flags]).encode())
    for file in [_source, *sorted((_root / "include").rglob("*.hpp"))]:
        digest.update(str(file.relative_to(_root)).encode() + b"\0" + file.read_bytes())
    folder = _root / "build" / "bench_cuda"
    path = folder / f"relpos_gpu_sm_{architecture}_{digest.hexdigest()[:16]}.so"
    if path.exists():
        return path

    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    begin = time.monotonic()
    command = [find_nvcc(), f"-arch=sm_{architecture}", *_flags, "-I", str(_root / "include")]
    if subprocess.run([*command, str(_source), "-o", str(unfinished)]).returncode != 0:
        sys.exit(f"nvcc failed for sm_{architecture}")
    for old in folder.glob(f"relpos_gpu_sm_{architecture}_*.so"):
        old.unlink()
    unfinished.rename(path)
    print(f"built relpos for sm_{architecture} in {time.monotonic() - begin:.0f} s", flush=True)
    return path
