"""Uniform numbers and masks by a program in C++: `numpy_draw` without Python between replicas, and with its bits."""

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossact.replicas.draws_philox import MASK, UNIFORM, numpy_draw, scale_of_kept
from lossact.replicas.native import SOURCES, BuildError, build

NUMPY_TYPES: dict[torch.dtype, type[np.float32] | type[np.float64]] = {
    torch.float32: np.float32,
    torch.float64: np.float64,
}
BUILT_AFTER = 0.5  # seconds in numpy's draws: about what building takes
ARGUMENTS: tuple[Any, ...] = (
    ctypes.c_void_p,
    *[ctypes.c_int64] * 2,
    *[ctypes.c_uint64] * 4,
    *[ctypes.c_bool] * 2,
    *[ctypes.c_double] * 2,
    ctypes.c_void_p,
)


class CPUDraws:
    """Numbers of replicas on a CPU: numpy's, until so many are drawn that a program in C++ is worth building."""

    def __init__(self) -> None:
        self.program: Callable[..., None] | None = None
        self.may_build = True
        self.seconds = 0.0  # in what the program could draw
        self._lock = threading.Lock()

    def draw(
        self,
        replicas: Tensor,
        key: tuple[int, int],
        stream: tuple[int, int],
        n: int,
        kind: str,
        *,
        number: float,
        dtype: torch.dtype,
    ) -> Tensor:
        """Return numbers of each replica's stream, (replicas, n), as `numpy_draw`.

        Args:
            replicas: (replicas,) int64 on the CPU.
            key, stream, n, kind, number: as `numpy_draw` takes them.
            dtype: float32 or float64.
        """
        arguments = replicas, key, stream, n, kind, number, dtype
        if self.program is not None and kind in (UNIFORM, MASK):
            return _by_program(self.program, *arguments)
        begin = time.perf_counter()
        rows = _by_numpy(*arguments)
        if self.may_build and kind in (UNIFORM, MASK):
            self.seconds += time.perf_counter() - begin
            if self.seconds > BUILT_AFTER:
                with self._lock:
                    self._build(arguments, rows)
        return rows

    def _build(self, arguments: Any, expected: Tensor) -> None:
        """Take the program where it can be built and gives what numpy gave."""
        if not self.may_build:
            return
        self.may_build = False
        try:
            program = build(SOURCES / "draws.cpp").draw
        except BuildError:
            return
        program.argtypes, program.restype = ARGUMENTS, None
        if torch.equal(_by_program(program, *arguments), expected):
            self.program = program


def _by_numpy(
    replicas: Tensor,
    key: tuple[int, int],
    stream: tuple[int, int],
    n: int,
    kind: str,
    number: float,
    dtype: torch.dtype,
) -> Tensor:
    rows = numpy_draw(replicas.tolist(), key, stream, n, kind, number=number, dtype=NUMPY_TYPES[dtype])
    return torch.from_numpy(rows)


def _by_program(
    program: Callable[..., None],
    replicas: Tensor,
    key: tuple[int, int],
    stream: tuple[int, int],
    n: int,
    kind: str,
    number: float,
    dtype: torch.dtype,
) -> Tensor:
    replicas = replicas.contiguous()
    rows = torch.empty((len(replicas), n), dtype=dtype)
    probability, kept = (number, scale_of_kept(number)) if kind == MASK else (0.0, 0.0)
    program(
        replicas.data_ptr(), len(replicas), n, *key, *stream, kind == MASK, dtype == torch.float64, probability, kept,
        rows.data_ptr(),
    )  # fmt: skip
    return rows


CPU_DRAWS = CPUDraws()  # of the process
