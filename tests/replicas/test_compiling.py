"""Steps of built-in networks that are compiled, or cannot be."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed, FailOnRecompileLimitHit

from lossact import SGD, cosine
from lossact.replicas import engine, flat_population
from lossact.replicas.compiling import COMPARED, is_as_near
from lossact.replicas.engine import StoppingCriterion, make_step
from lossact.replicas.flat_population import FlatPopulation
from lossact.replicas.mlp import StackedMLP
from lossact.running.optimizer_making import rule_of
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig
from tests.conftest import report_condition

SINGLE = ComputeConfig(threads=2)


def fails_to_compile(error: Exception) -> Any:
    """Steps as the engine makes them, of which those that are compiled end in an error."""

    def make(*given: Any, compiled: bool, shapes: Any) -> Any:
        if compiled:
            raise error if isinstance(error, FailOnRecompileLimitHit) else BackendCompilerFailed(make, error, None)
        return make_step(*given, compiled=False)

    return make


def test_compiled_steps_share_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch keeps what it compiled with a function's code, for eight signatures; the ninth ended training."""
    taken: list[Any] = []

    def noted(function: Any, **_: Any) -> Any:
        taken.append(function)
        return function

    monkeypatch.setattr(torch, "compile", noted)
    criterion, rule = StoppingCriterion(0.123), rule_of(SGD(learning_rate=0.1))
    for hidden, shapes in ((2, 1), (3, 1), (2, 5), (2, 1)):
        make_step(StackedMLP(16, hidden, "relu", "l2"), rule, criterion, compiled=True, shapes=shapes)
    assert len(taken) == len({function.__code__ for function in taken}) == 3


@pytest.mark.parametrize("error", [ValueError("no compiler"), FailOnRecompileLimitHit("recompile_limit reached")])
def test_a_built_in_network_that_cannot_be_compiled_trains_eagerly(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    population, plain = (
        stacked_training(report_condition("sigmoid", "l2"), 0, range(3), SINGLE).population for _ in range(2)
    )
    assert isinstance(population, FlatPopulation)
    images, labels = torch.rand(3, 64, 4, 4), torch.rand(3, 64).round()
    population.compiled = population._was_asked = True
    monkeypatch.setattr(flat_population, "make_step", fails_to_compile(error))
    with pytest.warns(UserWarning, match="it trains eagerly"):
        found = population.advance(population.arrange(images), labels, 3, first=0, criterion=None)
    expected = plain.advance(plain.arrange(images), labels, 3, first=0, criterion=None)
    assert all(map(torch.equal, (*found, *population.state_tensors), (*expected, *plain.state_tensors)))
    population.compiled = True
    monkeypatch.setattr(flat_population, "make_step", fails_to_compile(torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(torch.OutOfMemoryError):
        population.advance(population.arrange(images), labels, 3, first=3, criterion=None)


@pytest.mark.parametrize("bad_call", range(COMPARED))
def test_a_built_in_network_that_is_compiled_wrongly_trains_eagerly_from_where_it_was(
    bad_call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduled = replace(report_condition("sigmoid", "l2"), optimizer=SGD(learning_rate=cosine(0.5)))
    population, plain = (stacked_training(scheduled, 0, range(3), SINGLE).population for _ in range(2))
    assert isinstance(population, FlatPopulation)
    images, labels = torch.rand(3, 64, 4, 4), torch.rand(3, 64).round()
    calls = itertools.count()

    def compile_wrongly(function: Any, **_: Any) -> Any:
        def compiled(*arguments: Any) -> Any:
            loss, metric, (parameters, *rest) = function(*arguments)
            return loss, metric, (parameters.flip(0) if next(calls) == bad_call else parameters, *rest)

        return compiled

    monkeypatch.setattr(torch, "compile", compile_wrongly)
    monkeypatch.setattr(engine, "_compiled_step", engine._compiled_step.__wrapped__)  # keeps no step of another test
    population.compiled = population._was_asked = True
    with pytest.warns(UserWarning, match="compiled, it gives other numbers"):
        found = population.advance(population.arrange(images), labels, 3, first=0, criterion=None)
    expected = plain.advance(plain.arrange(images), labels, 3, first=0, criterion=None)
    assert all(map(torch.equal, (*found, *population.state_tensors), (*expected, *plain.state_tensors)))


@pytest.mark.parametrize(
    ("dtype", "error", "is_near"),
    [
        (torch.float32, 1e-3, True), (torch.float32, 3e-2, False), (torch.float32, torch.nan, False),
        (torch.float64, 1e-12, True), (torch.float64, 1e-9, False), (torch.float64, -torch.inf, False),
        (torch.complex128, 1e-9, False), (torch.complex128, 1e-12, True), (torch.float16, 0.2, False),
    ],
)  # fmt: skip
def test_what_compiled_code_may_differ_by(dtype: torch.dtype, error: float, is_near: bool) -> None:
    expected = torch.tensor([[1.0, -0.5, 0.0], [6e4, 1.0, 2.0]], dtype=dtype)  # of a replica, and of a large one
    assert is_as_near(expected + error * torch.tensor([[0, 0, 1], [0, 0, 0]]), expected, expected) == is_near


def test_compiled_code_may_differ_by_as_much_as_last_digits_make() -> None:
    expected, nearby = torch.tensor([[1.0, 0.0, torch.inf]]), torch.tensor([[1.0, 0.05, torch.inf]])
    assert is_as_near(torch.tensor([[1.0, -0.05, torch.nan]]), expected, nearby)
    assert not is_as_near(torch.tensor([[1.0, 0.9, torch.inf]]), expected, nearby)
    assert not is_as_near(torch.tensor([[1.0, 0.0, 7.0]]), expected, nearby)
    flags, others = torch.tensor([True, False, True]), torch.tensor([True, True, True])
    assert not is_as_near(others, flags, flags)
    assert is_as_near(others, flags, others)
    assert not is_as_near(torch.tensor([False, False, False]), flags, others)


def test_compiled_code_is_not_held_to_digits_that_torch_was_told_to_drop(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = torch.tensor([[1.0, 0.0]])
    found = expected + torch.tensor([[0.0, 0.05]])
    for precision, is_near in (("highest", False), ("high", True), ("medium", True)):
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda chosen=precision: chosen)
        assert is_as_near(found, expected, expected) == is_near
