"""Uniform numbers and masks by a program in C++: `numpy_draw` without Python between replicas, and with its bits."""

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class DrawRequest:
    """Numbers to draw for each of some replicas.

    Attributes:
        key, stream, n, kind, number: as `numpy_draw` takes them.
        dtype: float32 or float64.
    """

    key: tuple[int, int]
    stream: tuple[int, int]
    n: int
    kind: str
    number: float
    dtype: torch.dtype

    def by_numpy(self, replicas: Tensor) -> Tensor:
        """Draw (replicas, n) numbers by numpy."""
        dtype = NUMPY_TYPES[self.dtype]
        rows = numpy_draw(
            replicas.tolist(), self.key, self.stream, self.n, self.kind, number=self.number, dtype=dtype
        )  # fmt: skip
        return torch.from_numpy(rows)

    def by_program(self, replicas: Tensor, program: Callable[..., None]) -> Tensor:
        """Draw (replicas, n) numbers by the program in C++."""
        replicas = replicas.contiguous()
        rows = torch.empty((len(replicas), self.n), dtype=self.dtype)
        is_mask = self.kind == MASK
        program(
            replicas.data_ptr(), len(replicas), self.n, *self.key, *self.stream, is_mask, self.dtype == torch.float64,
            self.number, scale_of_kept(self.number) if is_mask else 0.0, rows.data_ptr(),
        )  # fmt: skip
        return rows


# What the program is tried on: all that it draws, and more than it computes together.
TRIED = [
    DrawRequest((11, 2**63 + 5), (7, 2**64 - 3), 513, kind, 0.3, dtype)
    for kind in (UNIFORM, MASK)
    for dtype in NUMPY_TYPES
]


class CPUDraws:
    """Numbers of replicas on a CPU: numpy's, until so many are drawn that a program in C++ is worth building."""

    def __init__(self) -> None:
        self.is_allowed = True  # to build and use a program: whether what trains now may compile
        self.program: Callable[..., None] | None = None
        self.may_build = True
        self.seconds = 0.0  # in what the program could draw
        self._lock = threading.Lock()

    def draw(self, replicas: Tensor, request: DrawRequest) -> Tensor:
        """Return numbers of each replica's stream, (replicas, n).

        Args:
            replicas: (replicas,) int64 on the CPU.
            request: what to draw.
        """
        if not self.is_allowed or request.kind not in (UNIFORM, MASK):
            return request.by_numpy(replicas)
        if self.program is not None:
            return request.by_program(replicas, self.program)
        begin = time.perf_counter()
        rows = request.by_numpy(replicas)
        self.seconds += time.perf_counter() - begin
        if self.may_build and self.seconds > BUILT_AFTER:
            with self._lock:
                self._build()
        return rows

    def _build(self) -> None:
        """Take the program where it can be built and gives what numpy gives."""
        if not self.may_build:
            return
        self.may_build = False
        try:
            program = build(SOURCES / "draws.cpp").draw
        except BuildError:
            return
        program.argtypes, program.restype = ARGUMENTS, None
        replicas = torch.tensor([0, 1, 2**40])
        if all(torch.equal(tried.by_program(replicas, program), tried.by_numpy(replicas)) for tried in TRIED):
            self.program = program


CPU_DRAWS = CPUDraws()  # of the process
