"""The kernel that trains MLPs on a GPU, where there is none: in Triton's interpreter, and with doubles in its place."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lossact.replicas import flat_population, mlp_kernel
from lossact.replicas.cnn import StackedCNN
from lossact.replicas.engine import Hyperparameters, ReplicaState, advance, make_step
from lossact.replicas.flat_population import FlatPopulation
from lossact.replicas.hyperparameters import Hyperparameter
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.mlp_kernel import Launch
from lossact.replicas.update_rules import AdamRule, SGDRule
from tests.replicas.interpreted_kernel import SMALL, Case

Curves = tuple[Tensor, Tensor]


@pytest.mark.slow
def test_kernel_equals_the_eager_step() -> None:
    pytest.importorskip("triton", reason="triton is not installed; it comes with CUDA builds of torch")
    program = [sys.executable, "-m", "tests.replicas.interpreted_kernel"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run(program, capture_output=True, text=True, env=environment, timeout=600)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert len(found["differences"]) >= 2 * (7 * 4 + 9)
    far = {
        name: difference
        for name, difference in found["differences"].items()
        if difference > (1e-13 if "float64" in name else 1e-5)
    }
    assert not far
    assert found["schedule"] == 0
    assert found["trusted"]


@pytest.mark.parametrize(
    ("network", "rule", "batch", "dtype", "fits"),
    [
        (StackedMLP(16, 4, "sigmoid", "l2"), SGDRule(), 64, torch.float32, True),
        (StackedMLP(16, 4, "gelu", "huber"), SGDRule(nesterov=True), 64, torch.float64, True),
        (StackedMLP(9, 3, "relu", "l2"), SGDRule(), 50, torch.float32, True),
        (StackedMLP(16, 16, "relu", "l2"), SGDRule(), 64, torch.float64, False),
        (StackedMLP(784, 4, "relu", "l2"), SGDRule(), 64, torch.float32, False),
        (StackedMLP(16, 4, "relu", "l2"), SGDRule(), 1000, torch.float32, False),
        (StackedMLP(16, 4, "relu", "l2"), SGDRule(), 64, torch.bfloat16, False),
        (StackedMLP(16, 4, "relu", "l2"), AdamRule(), 64, torch.float32, False),
        (StackedCNN((16, 16), (8, 8), 5, "relu", "l2"), SGDRule(), 64, torch.float32, False),
    ],
)
def test_what_fits_in_registers(network: Any, rule: Any, batch: int, dtype: torch.dtype, fits: bool) -> None:
    assert mlp_kernel.fits_in_registers(network, rule, batch, dtype) == fits


class BuildError(Exception):
    """Stands for what Triton raises."""


def eager(launch: Launch, n_updates: int) -> Curves:
    """Stands for the kernel, and is right."""
    step = make_step(launch.network, launch.rule, launch.criterion, compiled=False)
    return advance(step, launch.state, launch.inputs, launch.targets, launch.hyperparameters, n_updates)


def wrong_loss(launch: Launch, n_updates: int) -> Curves:
    losses, metrics = eager(launch, n_updates)
    return losses + 1e-3, metrics


def wrong_parameters(launch: Launch, n_updates: int) -> Curves:
    curves = eager(launch, n_updates)
    launch.state.parameters[:, 3] += 0.01
    return curves


def still(launch: Launch, n_updates: int) -> Curves:
    """Everything is measured and nothing moves."""
    return eager(replace(launch, state=ReplicaState(**vars(launch.state))), n_updates)


def failing(error: Exception) -> Callable[..., Curves]:
    def fails(*_: Any) -> Curves:
        raise error

    return fails


def launched(
    monkeypatch: pytest.MonkeyPatch, kernel: Callable[..., Curves]
) -> tuple[ReplicaState, Case, Curves | None]:
    """Launch 5 updates of 20 replicas with a double in place of the kernel."""
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace(TritonError=BuildError))
    monkeypatch.setattr(mlp_kernel, "find_spec", lambda _: True)
    monkeypatch.setattr(mlp_kernel, "train_in_one_kernel", kernel)
    case = Case(SMALL, torch.float32, replicas=20)
    state = ReplicaState.start(case.parameters, SGDRule())
    h = Hyperparameters(case.values, case.gradient_scale)
    return (
        state,
        case,
        mlp_kernel.advance_in_registers(SMALL, SGDRule(), None, state, case.inputs, case.targets, h, 5),
    )


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp_kernel, "_agrees", {})


def test_a_kernel_that_agrees_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    state, case, curves = launched(monkeypatch, eager)
    assert curves is not None
    assert curves[0].shape == (5, 20)
    assert not torch.equal(state.parameters, case.parameters)
    # Not tried again: one that fails now would be met by its error.
    with pytest.raises(BuildError):
        launched(monkeypatch, failing(BuildError("later")))


@pytest.mark.parametrize(
    ("kernel", "why"),
    [
        (wrong_loss, r"other values than the eager step \(loss\)"),
        (wrong_parameters, r"\(parameters\)"),
        (still, r"\(parameters, velocities\)"),
        (failing(BuildError("no register left")), "could not be built: BuildError: no register left"),
        (failing(RuntimeError("no C compiler")), "could not be built: RuntimeError: no C compiler"),
        (failing(FileNotFoundError("ptxas")), "could not be built: FileNotFoundError: ptxas"),
    ],
)
def test_without_an_agreeing_kernel_replicas_train_eagerly(
    kernel: Callable[..., Curves], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.warns(UserWarning, match=why):
        state, case, curves = launched(monkeypatch, kernel)
    assert curves is None
    assert torch.equal(state.parameters, case.parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert launched(monkeypatch, kernel)[2] is None


def test_a_full_memory_is_not_held_against_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        launched(monkeypatch, failing(torch.OutOfMemoryError("full")))
    assert launched(monkeypatch, eager)[2] is not None


def test_without_triton_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(SMALL, torch.float32)
    state = ReplicaState.start(case.parameters, SGDRule())
    h = Hyperparameters(case.values, case.gradient_scale)
    monkeypatch.setattr(mlp_kernel, "find_spec", lambda _: None)
    arguments = (SMALL, SGDRule(), None, state, case.inputs, case.targets, h, 5)
    assert mlp_kernel.advance_in_registers(*arguments) is None


def test_a_hyperparameter_of_each_weight_is_not_for_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp_kernel, "find_spec", lambda _: True)
    case = Case(SMALL, torch.float32)
    state = ReplicaState.start(case.parameters, SGDRule())
    h = Hyperparameters((torch.ones(1, SMALL.size), *case.values[1:]), case.gradient_scale)
    arguments = (SMALL, SGDRule(), None, state, case.inputs, case.targets, h, 5)
    assert mlp_kernel.advance_in_registers(*arguments) is None


def population(case: Case, rates: list[list[float]]) -> FlatPopulation:
    columns = [rates, [[0.9]] * len(rates), [[0.01]] * len(rates)]
    return FlatPopulation(
        SMALL,
        case.parameters,
        rule=SGDRule(),
        hyperparameters=[Hyperparameter.of(values, torch.float32) for values in columns],
        bias_gradient_scale=torch.ones(len(rates)),
        template=torch.nn.Identity(),
    )


@pytest.mark.parametrize("rates", [[[0.5], [0.2]], [[0.5, 0.4, 0.3, 0.2], [0.1, 0.2, 0.3, 0.4]]])
def test_a_population_on_a_gpu_hands_over_what_changes_with_the_update(
    rates: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []

    def kernel(*arguments: Any) -> Curves | None:
        whole, h, n_updates = Launch(*arguments[:7]), arguments[6], arguments[7]
        shapes.append([tuple(value.shape) for value in h.values])
        if h.values[0].ndim == 2:
            return eager(whole, n_updates)
        each = [[value[min(k, len(value) - 1)] for value in h.values] for k in range(n_updates)]
        now = [Hyperparameters(tuple(values), h.gradient_scale) for values in each]
        parts = [eager(replace(whole, hyperparameters=values), 1) for values in now]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    case = Case(SMALL, torch.float32, replicas=2)
    plain, through_kernel = population(case, rates), population(case, rates)
    expected = plain.advance(case.inputs, case.targets, 3, first=1, criterion=None)
    monkeypatch.setattr(flat_population, "advance_in_registers", kernel)
    through_kernel._in_registers = True
    curves = through_kernel.advance(case.inputs, case.targets, 3, first=1, criterion=None)
    assert torch.equal(curves[0], expected[0])
    assert torch.equal(through_kernel.state.parameters, plain.state.parameters)
    assert shapes == [[(2, 1)] * 3] if len(rates[0]) == 1 else [[(3, 2, 1), (1, 2, 1), (1, 2, 1)]]


@pytest.mark.parametrize(
    ("device", "mixed", "used"), [("cuda", False, True), ("cuda", True, False), ("cpu", False, False)]
)
@pytest.mark.parametrize("compiled", [False, True])
def test_the_kernel_is_for_gpus(
    device: str, mixed: bool, used: bool, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = population(Case(SMALL, torch.float32, replicas=2), [[0.5], [0.2]])
    monkeypatch.setattr(ReplicaState, "to", lambda *_: None)
    monkeypatch.setattr(Hyperparameter, "to", lambda self, _: self)
    prepared.gradient_scale = SimpleNamespace(to=lambda _: torch.ones(1))  # type: ignore[assignment]
    prepared.prepare(torch.device(device), compiled=compiled, mixed=mixed, measures_apart=False)
    assert prepared._in_registers == used
