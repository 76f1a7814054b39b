"""Steps of built-in networks that are compiled, or cannot be."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed, FailOnRecompileLimitHit

from lossact import SGD, cosine
from lossact.replicas import engine, flat_population
from lossact.replicas.compiling import COMPARED
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


def test_compiled_steps_share_no_code(uncompiled: list[Any]) -> None:
    """torch keeps what it compiled with a function's code, for eight signatures; the ninth ended training."""
    criterion, rule = StoppingCriterion(0.123), rule_of(SGD(learning_rate=0.1))
    for hidden, shapes in ((2, 1), (3, 1), (2, 5), (2, 1)):
        make_step(StackedMLP(16, hidden, "relu", "l2"), rule, criterion, compiled=True, shapes=shapes)
    assert len(uncompiled) == len({function.__code__ for function in uncompiled}) == 3


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
