"""Build programs in C++ for this CPU, and load them."""

import ctypes
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

from lossact.cpp_compiler import find_compiler

SOURCES = Path(__file__).with_name("cpp")
# By torch's name of the CPU's vectors, which is part of the store's key: their bytes, and what compilers call them.
VECTORS = {
    "AVX512": (64, ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma")),
    "AVX2": (32, ("-mavx2", "-mfma")),
}
ANY_CPU: tuple[int, tuple[str, ...]] = (16, ())
# After the flags in $CXX, of which -ffast-math would take away what is not a number.
FLAGS = (
    "-O3", "-std=c++17", "-shared", "-fPIC", "-fno-fast-math", "-fno-math-errno", "-fno-trapping-math",
    "-ffp-contract=fast",
)  # fmt: skip
REAL = {torch.float32: "float", torch.float64: "double"}
LONGEST = 300  # seconds
MOST_TOLD = 500  # characters of what the compiler says


class BuildError(RuntimeError):
    """A program could not be built or loaded here."""


@cache
def build(source: Path, **constants: str | int) -> ctypes.CDLL:
    """Compile a program and load it; once for each set of constants.

    Args:
        source: a file beside this one.
        constants: its macros, beside VECTOR_BYTES.

    Returns:
        the library.

    Raises:
        BuildError: there is no C++ compiler, or it fails.
    """
    compiler = find_compiler()
    if compiler is None:
        raise BuildError("no C++ compiler on PATH")
    vector_bytes, features = VECTORS.get(torch.backends.cpu.get_cpu_capability(), ANY_CPU)
    macros = [f"-D{name}={value}" for name, value in {"VECTOR_BYTES": vector_bytes, **constants}.items()]
    try:
        with tempfile.TemporaryDirectory(prefix="lossact-", ignore_cleanup_errors=True) as folder:
            library = Path(folder) / f"{source.stem}.so"
            command = [*compiler, *FLAGS, *features, *macros, str(source), "-o", str(library)]
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=LONGEST)
            return ctypes.CDLL(str(library))
    except subprocess.CalledProcessError as error:
        raise BuildError(f"{compiler[0]}: {error.stderr.strip()[:MOST_TOLD] or error}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(str(error)) from error
