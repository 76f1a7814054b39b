"""Uniform numbers and masks on a GPU by one kernel, which tensor arithmetic takes some 400 for, with the same bits."""

from subprocess import CalledProcessError

import torch
from torch import Tensor

from lossact.checks import ran_out_of_memory
from lossact.replicas.draws_native import DrawRequest
from lossact.replicas.draws_philox import MASK, UNIFORM, scale_of_kept, signed, tensor_draw

COUNTERS = 128  # of a program
NUMBERS = 8  # of a counter
TRIED = [
    DrawRequest((11, 2**63 + 5), (7, 2**64 - 3), 2051, *of_kind)
    for of_kind in ((UNIFORM, 0.0, torch.float32), (MASK, 0.3, torch.float32), (MASK, 0.3, torch.float64))
]


class GPUDraws:
    """Numbers of replicas on a GPU: by a kernel where it gives what tensor arithmetic gives, which is tried once."""

    def __init__(self) -> None:
        self._is_right: dict[torch.device, bool] = {}

    def draw(self, replicas: Tensor, request: DrawRequest, batch: Tensor | None) -> Tensor:
        """Return numbers of each replica's stream, (replicas, n).

        Args:
            replicas: (replicas,) int64 on the GPU.
            request: what to draw.
            batch: () int64 on the GPU, added to the stream's second word; None for nothing.
        """
        has_kernel = request.kind == MASK or (request.kind == UNIFORM and request.dtype == torch.float32)
        if has_kernel and request.n and self._is_trusted(replicas.device):
            return draw_in_kernel(replicas, request, batch)
        return draw_in_arithmetic(replicas, request, batch)

    def _is_trusted(self, device: torch.device) -> bool:
        if device not in self._is_right:
            may_look = torch.cuda.get_sync_debug_mode() == 0 and not torch.cuda.is_current_stream_capturing()
            if not may_look:
                return False
            self._is_right[device] = is_right(device)
        return self._is_right[device]


def is_right(device: torch.device) -> bool:
    """Return whether the kernel can be built and draws what tensor arithmetic draws."""
    try:
        from triton import TritonError
    except ImportError:
        return False
    replicas, batch = torch.tensor([0, 1, 2**40], device=device), torch.tensor(5, device=device)
    try:
        return all(
            torch.equal(draw_in_kernel(replicas, tried, place), draw_in_arithmetic(replicas, tried, place))
            for tried in TRIED
            for place in (None, batch)
        )
    except (TritonError, CalledProcessError, OSError):
        return False
    except RuntimeError as error:  # Triton's, where there is no C compiler
        if ran_out_of_memory(error):
            raise
        return False


def draw_in_arithmetic(replicas: Tensor, request: DrawRequest, batch: Tensor | None) -> Tensor:
    """Return numbers by operations on tensors, on any device; arguments as those of `GPUDraws.draw`."""
    second, third = request.stream
    place = (second, third if batch is None else batch + signed(third))
    return tensor_draw(
        replicas, request.key, place, request.n, request.kind, number=request.number, dtype=request.dtype
    )


def draw_in_kernel(replicas: Tensor, request: DrawRequest, batch: Tensor | None) -> Tensor:
    """Return numbers by the kernel; arguments as those of `GPUDraws.draw`.

    Raises:
        TritonError, CalledProcessError, OSError: it cannot be built.
    """
    from lossact.replicas.draws_program import draw_numbers

    numbers = torch.empty((len(replicas), request.n), dtype=torch.float32, device=replicas.device)
    if batch is None:
        batch = torch.zeros((), dtype=torch.int64, device=replicas.device)
    programs = -(-request.n // (COUNTERS * NUMBERS))
    scale = scale_of_kept(request.number) if request.kind == MASK else 1.0
    is_single = request.dtype == torch.float32
    draw_numbers[(programs * len(replicas),)](
        numbers,
        replicas.contiguous(),
        batch,
        *(half for word in (*request.key, *request.stream) for half in _halves(word)),
        request.n,
        programs,
        request.number,
        scale if is_single else 1.0,
        IS_MASK=request.kind == MASK,
        COUNTERS=COUNTERS,
    )
    return numbers if is_single else numbers.to(request.dtype) * scale


def _halves(word: int) -> tuple[int, int]:
    """Return the lower and upper 32 bits of a word of 64, as int32."""
    return tuple((half + 2**31) % 2**32 - 2**31 for half in (word % 2**32, word >> 32))  # type: ignore[return-value]


GPU_DRAWS = GPUDraws()  # of the process
