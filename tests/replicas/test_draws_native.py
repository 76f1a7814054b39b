"""Draws by the program in C++ have the bits of numpy's."""

import ctypes
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from lossact.cpp_compiler import find_compiler
from lossact.replicas import draws_native
from lossact.replicas.draws_native import CPUDraws, DrawRequest
from lossact.replicas.draws_philox import EXPONENTIAL, MASK, NORMAL, UNIFORM
from lossact.replicas.native import BuildError
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig
from tests.replicas.test_recorded import CONDITIONS

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler on PATH")

KEY, STREAM = (11, 2**63 + 5), (7, 2**64 - 3)
REPLICAS = torch.tensor([0, 9, 2**40])


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building with the first numbers."""
    monkeypatch.setattr(draws_native, "BUILT_AFTER", 0.0)


def draw(draws: CPUDraws, n: int = 5, kind: str = MASK, **named: Any) -> torch.Tensor:
    given: dict[str, Any] = {"number": 0.3, "dtype": torch.float32}
    return draws.draw(REPLICAS, DrawRequest(KEY, STREAM, n, kind, **given | named))


def by_numpy(*given: Any, **named: Any) -> torch.Tensor:
    draws = CPUDraws()
    draws.may_build = False
    return draw(draws, *given, **named)


@needs_compiler
def test_the_program_gives_the_bits_of_numpy() -> None:
    draws = CPUDraws()
    draw(draws)
    assert draws.program is not None
    counts = (0, 1, 3, 8, 511, 512, 513, 2000)  # 512 numbers of 32 bits are computed together
    for n, kind, dtype in itertools.product(counts, (UNIFORM, MASK), (torch.float32, torch.float64)):
        for number in (0.0, 0.3, 1.0) if kind == MASK else (0.0,):
            found = draw(draws, n, kind, dtype=dtype, number=number)
            assert found.dtype == dtype
            assert torch.equal(found, by_numpy(n, kind, dtype=dtype, number=number))


@needs_compiler
def test_every_second_replica() -> None:
    draws = CPUDraws()
    draw(draws)
    some = torch.arange(8)[::2]
    request = DrawRequest(KEY, STREAM, 5, UNIFORM, 0.0, torch.float32)
    assert torch.equal(draws.draw(some, request), request.by_numpy(some))


@pytest.mark.parametrize("kind", [NORMAL, EXPONENTIAL])
def test_what_the_program_does_not_draw_is_numpys(kind: str) -> None:
    draws = CPUDraws()
    assert torch.equal(draw(draws, kind=kind), by_numpy(kind=kind))
    assert draws.program is None


def test_without_a_compiler_numpy_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def build(*_: Any) -> Any:
        asked.append(1)
        raise BuildError("no C++ compiler on PATH")

    monkeypatch.setattr(draws_native, "build", build)
    draws = CPUDraws()
    assert all(torch.equal(draw(draws), by_numpy()) for _ in range(3))
    assert asked == [1]


def test_a_program_that_gives_other_numbers_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        @staticmethod
        def draw(*arguments: Any) -> None:
            ctypes.memset(arguments[-1], 7, 4)

    monkeypatch.setattr(draws_native, "build", lambda *_: Library())
    draws = CPUDraws()
    assert all(torch.equal(draw(draws, 2000), by_numpy(2000)) for _ in range(3))
    assert draws.program is None


def test_training_without_a_compiler_draws_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = CPUDraws()
    monkeypatch.setattr("lossact.replicas.draws_operator.CPU_DRAWS", draws)
    monkeypatch.setattr("lossact.running.stacking.CPU_DRAWS", draws)
    drawing = CONDITIONS["dropout"]
    losses = []
    for compiled in (False, "auto"):
        config = ComputeConfig(precision="64-true", compiled=compiled)
        module = stacked_training(drawing, 0, range(4), config, curves_of=4)
        fit(module, config)
        losses.append(module.outcome().loss)
        assert (draws.program is not None) == (compiled == "auto" and find_compiler() is not None)
    np.testing.assert_array_equal(losses[0], losses[1])
