"""Draws by one kernel on a GPU have the bits of numpy's."""

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from lossact.replicas import draws_triton
from lossact.replicas.draws_native import DrawRequest
from lossact.replicas.draws_philox import MASK, NORMAL, UNIFORM
from lossact.replicas.draws_triton import GPUDraws, draw_in_arithmetic, is_right
from tests.replicas.interpreter import run_interpreted

CPU = torch.device("cpu")
REPLICAS = torch.tensor([0, 9, 2**40])


@pytest.mark.slow
def test_the_kernel_gives_the_bits_of_numpy() -> None:
    assert run_interpreted("tests.replicas.interpreted_draws") == {"different": [], "is_right": True}


class BuildFailedError(Exception):
    """Stands for Triton's own."""


def fails(*_: object) -> Tensor:
    raise BuildFailedError


def finds_no_compiler(*_: object) -> Tensor:
    raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable")


def has_no_memory(*_: object) -> Tensor:
    raise RuntimeError("CUDA error: out of memory")


def one_off(replicas: Tensor, request: DrawRequest, batch: Tensor | None) -> Tensor:
    numbers = draw_in_arithmetic(replicas, request, batch)
    numbers[-1, -1] += 1
    return numbers


@pytest.mark.parametrize(
    ("kernel", "right"),
    [(draw_in_arithmetic, True), (one_off, False), (fails, False), (finds_no_compiler, False)],
)
def test_a_kernel_is_taken_where_it_can_be_built_and_its_bits_are_right(
    kernel: Callable[..., Tensor], right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace(TritonError=BuildFailedError))
    monkeypatch.setattr(draws_triton, "draw_in_kernel", kernel)
    assert is_right(CPU) == right


def test_a_full_memory_says_nothing_about_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace(TritonError=BuildFailedError))
    monkeypatch.setattr(draws_triton, "draw_in_kernel", has_no_memory)
    with pytest.raises(RuntimeError, match="out of memory"):
        is_right(CPU)


def test_without_triton_no_kernel_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    assert not is_right(CPU)


def test_what_the_kernel_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[DrawRequest] = []

    def kernel(replicas: Tensor, request: DrawRequest, batch: Tensor | None) -> Tensor:
        drawn.append(request)
        return draw_in_arithmetic(replicas, request, batch)

    monkeypatch.setattr(draws_triton, "draw_in_kernel", kernel)
    draws = GPUDraws()
    for is_trusted in (True, False):
        draws._is_right[CPU] = is_trusted
        for kind, n, dtype in (
            (UNIFORM, 5, torch.float32),
            (MASK, 5, torch.float64),
            (UNIFORM, 5, torch.float64),  # of 53 bits
            (NORMAL, 5, torch.float32),
            (MASK, 0, torch.float32),
        ):
            request = DrawRequest((11, 12), (7, 8), n, kind, 0.3, dtype)
            assert torch.equal(draws.draw(REPLICAS, request, None), draw_in_arithmetic(REPLICAS, request, None))
    assert [(request.kind, request.dtype) for request in drawn] == [(UNIFORM, torch.float32), (MASK, torch.float64)]
