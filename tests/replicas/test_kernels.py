"""Which MLPs a program of their own trains, and what happens where it is wrong: with doubles in the program's place."""

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

from lossact.replicas import flat_population, kernels, mlp_triton
from lossact.replicas.cnn import StackedCNN
from lossact.replicas.engine import Hyperparameters, ReplicaState
from lossact.replicas.flat_population import FlatPopulation
from lossact.replicas.hyperparameters import Hyperparameter
from lossact.replicas.kernels import advance_in_kernel, is_for_kernel
from lossact.replicas.launch import Launch
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.mlp_triton import fits_in_registers, train_on_gpu, warps_of
from lossact.replicas.native import BuildError
from lossact.replicas.update_rules import AdamRule, SGDRule
from tests.replicas.cases import SMALL, Case, by_eager_steps
from tests.replicas.interpreter import run_interpreted

Curves = tuple[Tensor, Tensor]


@pytest.mark.slow
def test_kernel_equals_the_eager_step() -> None:
    found = run_interpreted("tests.replicas.interpreted_kernel")
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
    ("features", "hidden", "batch", "dtype", "fits"),
    [
        (16, 4, 64, torch.float32, True),
        (16, 4, 64, torch.float64, True),
        (9, 3, 50, torch.float32, True),
        (16, 16, 64, torch.float64, False),
        (784, 4, 64, torch.float32, False),
        (16, 4, 1000, torch.float32, False),
        (16, 4, 64, torch.bfloat16, False),
    ],
)
def test_what_fits_in_registers(features: int, hidden: int, batch: int, dtype: torch.dtype, fits: bool) -> None:
    assert fits_in_registers(StackedMLP(features, hidden, "relu", "l2"), batch, dtype) == fits


@pytest.mark.parametrize(
    ("features", "hidden", "warps"),
    [(16, 4, 1), (9, 3, 1), (13, 7, 1), (16, 16, 4), (1, 16, 4), (120, 2, 4), (7, 9, 4)],
)
def test_how_many_warps_train_a_replica(features: int, hidden: int, warps: int) -> None:
    assert warps_of(StackedMLP(features, hidden, "relu", "l2")) == warps


WIDE = StackedMLP(16, 16, "relu", "l2")
CONVOLUTIONS = StackedCNN((16, 16), (8, 8), 5, "relu", "l2")


@pytest.mark.parametrize(
    ("network", "rule", "dtype", "on_cpu", "on_gpu"),
    [
        (SMALL, SGDRule(), torch.float64, True, True),
        (SMALL, SGDRule(nesterov=True), torch.float32, True, True),
        (WIDE, SGDRule(), torch.float64, True, False),
        (SMALL, SGDRule(), torch.bfloat16, False, False),
        (SMALL, AdamRule(), torch.float32, True, False),
        (CONVOLUTIONS, SGDRule(), torch.float32, True, False),
    ],
)
def test_which_networks_have_a_program_where_they_are(
    network: Any, rule: Any, dtype: torch.dtype, on_cpu: bool, on_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_for(device: str) -> bool:
        state: Any = SimpleNamespace(parameters=SimpleNamespace(dtype=dtype, device=torch.device(device)))
        return is_for_kernel(network, rule, 64, state.parameters.dtype, state.parameters.device)

    monkeypatch.setattr(kernels, "has_triton", lambda: True)
    assert (is_for("cpu"), is_for("cuda")) == (on_cpu, on_gpu)
    monkeypatch.setattr(kernels, "has_triton", lambda: False)
    assert (is_for("cpu"), is_for("cuda")) == (on_cpu, False)


def wrong_loss(launch: Launch, n_updates: int) -> Curves:
    losses, metrics = by_eager_steps(launch, n_updates)
    return losses + 1e-3, metrics


def wrong_parameters(launch: Launch, n_updates: int) -> Curves:
    curves = by_eager_steps(launch, n_updates)
    launch.state.parameters[:, 3] += 0.01
    return curves


def still(launch: Launch, n_updates: int) -> Curves:
    """Everything is measured and nothing moves."""
    return by_eager_steps(replace(launch, state=ReplicaState(**vars(launch.state))), n_updates)


def failing(error: Exception) -> Callable[..., Curves]:
    def fails(*_: Any) -> Curves:
        raise error

    return fails


def launched(monkeypatch: pytest.MonkeyPatch, program: Callable[..., Curves]) -> tuple[Launch, Case, Curves | None]:
    """Launch 5 updates of 20 replicas with a double in place of the program."""
    monkeypatch.setattr(kernels, "train_on_cpu", program)
    case = Case(SMALL, torch.float32, replicas=20)
    launch = case.launch()
    return launch, case, advanced(launch, 5)


def advanced(launch: Launch, n_updates: int) -> Curves | None:
    data = launch.inputs, launch.targets, launch.hyperparameters
    return advance_in_kernel(launch.network, launch.rule, launch.criterion, launch.state, *data, n_updates)


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_agrees", {})


def test_a_program_that_agrees_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    launch, case, curves = launched(monkeypatch, by_eager_steps)
    assert curves is not None
    assert curves[0].shape == (5, 20)
    assert not torch.equal(launch.state.parameters, case.parameters)
    # Not tried again: one that fails now would be met by its error.
    with pytest.raises(BuildError):
        launched(monkeypatch, failing(BuildError("later")))


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (wrong_loss, r"other values than the eager step \(loss\)"),
        (wrong_parameters, r"\(parameters\)"),
        (still, r"\(parameters, optimizer's state\)"),
        (failing(BuildError("no register left")), "could not be built: no register left"),
        (failing(RuntimeError("no such place")), "it failed: no such place"),
        (failing(BuildError("")), "could not be built: no reason was given"),
    ],
)
def test_without_a_program_that_agrees_replicas_train_eagerly(
    program: Callable[..., Curves], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.warns(UserWarning, match=why):
        launch, case, curves = launched(monkeypatch, program)
    assert curves is None
    assert torch.equal(launch.state.parameters, case.parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert launched(monkeypatch, program)[2] is None


def test_a_full_memory_is_not_held_against_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        launched(monkeypatch, failing(torch.OutOfMemoryError("full")))
    assert launched(monkeypatch, by_eager_steps)[2] is not None


class TritonError(Exception):
    """Stands for what Triton raises."""


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (TritonError("no register left"), "TritonError: no register left"),
        (FileNotFoundError("ptxas"), "FileNotFoundError: ptxas"),
        (subprocess.CalledProcessError(1, "gcc"), "CalledProcessError: Command 'gcc' returned non-zero"),
        (TritonError(), "TritonError: no reason was given"),
    ],
)
def test_what_triton_fails_with_is_an_error_of_the_build(
    error: Exception, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace(TritonError=TritonError))
    monkeypatch.setattr(mlp_triton, "_start", failing(error))
    with pytest.raises(BuildError, match=why):
        train_on_gpu(Case(SMALL, torch.float32).launch(), 1)


def test_a_triton_that_cannot_be_imported_is_an_error_of_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(BuildError, match="triton"):
        train_on_gpu(Case(SMALL, torch.float32).launch(), 1)


def test_a_hyperparameter_of_each_weight_is_not_for_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "train_on_cpu", failing(AssertionError("started")))
    case = Case(SMALL, torch.float32)
    h = Hyperparameters((torch.ones(1, SMALL.size), *case.values[1:]), case.gradient_scale)
    assert advanced(replace(case.launch(), hyperparameters=h), 5) is None


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
def test_a_population_hands_over_what_changes_with_the_update(
    rates: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []

    def kernel(*arguments: Any) -> Curves | None:
        whole, h, n_updates = Launch(*arguments[:7]), arguments[6], arguments[7]
        shapes.append([tuple(value.shape) for value in h.values])
        if h.values[0].ndim == 2:
            return by_eager_steps(whole, n_updates)
        each = [[value[min(k, len(value) - 1)] for value in h.values] for k in range(n_updates)]
        now = [Hyperparameters(tuple(values), h.gradient_scale) for values in each]
        parts = [by_eager_steps(replace(whole, hyperparameters=values), 1) for values in now]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    case = Case(SMALL, torch.float32, replicas=2)
    plain, through_kernel = population(case, rates), population(case, rates)
    expected = plain.advance(case.inputs, case.targets, 3, first=1, criterion=None)
    monkeypatch.setattr(flat_population, "advance_in_kernel", kernel)
    through_kernel._in_kernel = True
    curves = through_kernel.advance(case.inputs, case.targets, 3, first=1, criterion=None)
    assert torch.equal(curves[0], expected[0])
    assert torch.equal(through_kernel.state.parameters, plain.state.parameters)
    assert shapes == [[(2, 1)] * 3] if len(rates[0]) == 1 else [[(3, 2, 1), (1, 2, 1), (1, 2, 1)]]


@pytest.mark.parametrize(
    ("device", "native", "mixed", "used"),
    [
        ("cuda", True, False, True),
        ("cuda", False, False, True),
        ("cuda", True, True, False),
        ("cpu", True, False, True),
        ("cpu", True, True, False),
        ("cpu", False, False, False),
        ("mps", True, False, False),
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_who_trains_by_a_program(
    device: str, native: bool, mixed: bool, used: bool, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = population(Case(SMALL, torch.float32, replicas=2), [[0.5], [0.2]])
    monkeypatch.setattr(ReplicaState, "to", lambda *_: None)
    monkeypatch.setattr(Hyperparameter, "to", lambda self, _: self)
    prepared.gradient_scale = SimpleNamespace(to=lambda _: torch.ones(1))  # type: ignore[assignment]
    prepared.prepare(torch.device(device), compiled=compiled, native=native, mixed=mixed, measures_apart=False)
    assert prepared._in_kernel == used
