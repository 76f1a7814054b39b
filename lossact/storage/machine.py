"""What the store's key holds of the process that computes, without importing torch where it can be known without."""

import hashlib
import os
import platform
import sys
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lossact.cpp_compiler import compiler_version
from lossact.fingerprint import syntax_digest

COMPUTING_ROOMS = ("functional", "data", "models", "replicas", "training", "conditions", "running")
SOURCES = (".py", ".cpp", ".h")
PACKAGES = ("torch", "numpy", "lightning")
# What torch asks of a CPU for its vector kernels (ATen/native/DispatchStub.cpp), as Linux names it.
AVX2 = {"avx2", "fma"}
AVX512 = {"avx512f", "avx512vl", "avx512bw", "avx512dq", "fma"}


def machine_content(device: str = "cpu", *, compiles: bool = False) -> dict[str, Any]:
    """Return versions, the default dtype, how products are rounded, the CPU's capability and lossact's own source.

    Args:
        device: on which replicas train; on "cuda" the GPU counts, and triton's version or that it is missing.
        compiles: whether something may be compiled for this CPU; then the C++ compiler's version is among them.
    """
    torch = sys.modules.get("torch")
    return {
        # Modules draw their weights in it; no process that has not imported torch has changed it.
        "default dtype": "torch.float32" if torch is None else str(torch.get_default_dtype()),
        "float32 products": "highest" if torch is None else float32_products(torch),
        "cpu": cpu_capability(),
        "versions": {package: installed_version(package) for package in PACKAGES} | _versions_for(device, compiles),
        "source": source_digest(),
        **_gpu(device),
    }


def installed_version(package: str) -> str:
    """Return a package's version, also where it runs from a folder on the path without being installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return str(import_module(package).__version__)


def _versions_for(device: str, compiles: bool) -> dict[str, str]:
    if device != "cuda":
        return {"c++": compiler_version()} if compiles else {}
    try:
        return {"triton": installed_version("triton")}
    except ImportError:
        return {"triton": "missing"}


def _gpu(device: str) -> dict[str, Any]:
    """Return the kind of GPU and the version of cuDNN, by which kernels are chosen; nothing where there is no GPU."""
    if device != "cuda":
        return {}
    import torch

    if not torch.cuda.is_available():  # replicas train elsewhere
        return {}
    return {"gpu": {"name": torch.cuda.get_device_name(), "cudnn": torch.backends.cudnn.version()}}  # type: ignore[no-untyped-call]


def float32_products(torch: Any) -> str:
    """Return how exactly torch multiplies matrices of float32: "highest", unless someone chose tf32 or bf16.

    Args:
        torch: the module.
    """
    try:
        return str(torch.get_float32_matmul_precision())
    except RuntimeError:  # chosen for one kind of device alone
        backends = torch.backends
        return f"cuda {backends.cuda.matmul.fp32_precision}, cpu {backends.mkldnn.matmul.fp32_precision}"


def cpu_capability() -> str:
    """Return the name of the vector kernels that torch takes on this CPU, such as "AVX2".

    torch itself is asked where it was imported, or where Linux does not list an x86 CPU's features.
    """
    if "torch" not in sys.modules:
        expected = expected_capability(platform.machine(), Path("/proc/cpuinfo"))
        if expected is not None:
            return expected
    import torch

    return str(torch.backends.cpu.get_cpu_capability())


def expected_capability(machine: str, cpu_info: Path) -> str | None:
    """Return what torch will say of an x86 CPU under Linux, or None for others.

    Args:
        machine: as platform.machine() names it.
        cpu_info: Linux's list of the CPU's features.
    """
    if machine not in ("x86_64", "AMD64") or not cpu_info.is_file() or "ATEN_CPU_CAPABILITY" in os.environ:
        return None
    for line in cpu_info.read_text().splitlines():
        name, _, features = line.partition(":")
        if name.strip() == "flags":
            known = set(features.split())
            return "AVX512" if known >= AVX512 else "AVX2" if known >= AVX2 else "DEFAULT"
    return None


@cache
def source_digest(root: Path = Path(__file__).parents[1]) -> str:
    """Return the digest of the source of lossact's computing rooms, without comments and docstrings.

    Args:
        root: the folder that holds the rooms.
    """
    digest = hashlib.sha256()
    files = sorted(file for room in COMPUTING_ROOMS for file in (root / room).rglob("*") if file.suffix in SOURCES)
    for file in files:
        text = syntax_digest(file.read_bytes()) if file.suffix == ".py" else file.read_text("utf-8")
        digest.update(f"{file.relative_to(root).as_posix()}\0{text}\0".encode())
    return digest.hexdigest()
