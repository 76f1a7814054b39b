"""Compiled passes and updates of users' networks beside eager ones: to rounding, by slices, or not at all."""

import gc
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException
from torch.nn import functional as f

from lossact import EMA, SGD, Accuracy, Adam, Arrays, Condition, Loss, TorchOptimizer, cosine
from lossact.replicas import compiled_modules, pure_passes
from lossact.replicas.named_population import NamedPopulation
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig
from lossact.training.stacked import StackedReplicasModule

RNG = np.random.default_rng(0)
INPUTS, TARGETS = RNG.standard_normal((24, 4)), RNG.integers(0, 3, 24)
EAGER = ComputeConfig(precision="64-true", threads=2)
COMPILED = replace(EAGER, compiled=True)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))


def plain() -> nn.Module:
    return nn.Linear(4, 3)


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 3))


def condition(make: Callable[[], nn.Module] = network, **changes: Any) -> Condition:
    given: dict[str, Any] = {
        "optimizer": SGD(learning_rate=0.3, momentum=0.9, weight_decay=0.01, bias_gradient_scale=2.0),
        "target": Loss().at_most(0.8),
        "budget": 12,
    }
    data = Arrays(INPUTS, TARGETS, validation=(INPUTS[:10], TARGETS[:10]))
    return Condition(network=make, loss=f.cross_entropy, data=data, **given | changes)


def trained(condition: Condition, compute_config: ComputeConfig, replicas: int = 12) -> StackedReplicasModule:
    module = stacked_training(condition, 0, range(replicas), compute_config, curves_of=replicas)
    fit(module, compute_config)
    return module


def population(module: StackedReplicasModule) -> NamedPopulation:
    assert isinstance(module.population, NamedPopulation)
    return module.population


def check_equal(compiled: StackedReplicasModule, eager: StackedReplicasModule) -> None:
    """Compare outcomes, curves, weights and buffers."""
    ours, theirs = compiled.outcome(), eager.outcome()
    np.testing.assert_array_equal(ours.steps_to_target, theirs.steps_to_target)
    np.testing.assert_array_equal(ours.diverged, theirs.diverged)
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-9)
    np.testing.assert_allclose(ours.metric, theirs.metric, rtol=1e-9)
    for kind in ("parameters", "buffers"):
        held, expected = (getattr(population(module).networks, kind) for module in (compiled, eager))
        assert held.keys() == expected.keys()
        for name, tensor in held.items():
            np.testing.assert_allclose(tensor.numpy(), expected[name].numpy(), rtol=1e-9, atol=1e-10, err_msg=name)


@pytest.fixture(params=[True, False], ids=["in place", "with new tensors"])
def in_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates as either kind of torch compiles them."""
    monkeypatch.setattr(compiled_modules, "IN_PLACE", request.param)


@pytest.fixture
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices one after the other: what is not compiled puts each slice's weights into one module."""
    monkeypatch.setattr(compiled_modules, "n_workers", lambda: 1)


@pytest.fixture(autouse=True)
def nothing_compiled_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what one test puts in place of compiled code from the next."""
    monkeypatch.setattr(compiled_modules, "_codes", OrderedDict())


class Counting(nn.Module):
    """Counts its passes, in evaluation mode too, and divides by their number."""

    passes: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        logits: torch.Tensor = self.linear(inputs) / self.passes
        return logits


CASES = {
    "a buffer that each pass changes": condition(
        Counting, batch_size=8, target=Accuracy(split="validation").at_least(0.9)
    ),
    "SGD, resting, running statistics": condition(),
    "Adam, clipped, with a schedule": condition(
        optimizer=Adam(learning_rate=cosine(0.05, warmup=3), weight_decay=0.1), clip_norm=0.5, target=Loss().at_most(0)
    ),
    "minibatches, validation": condition(batch_size=8, target=Accuracy(split="validation").at_least(0.6)),
    "an optimiser of torch's": condition(plain, optimizer=TorchOptimizer(torch.optim.NAdam, lr=0.05)),
    "an average of weights": condition(average=EMA(0.7)),
    "accumulated gradients": condition(batch_size=6, accumulate=2),
    "dropout": condition(dropping, optimizer=Adam(learning_rate=0.05), batch_size=8),
    "dropout, accumulated gradients": condition(dropping, batch_size=6, accumulate=2),
    "a network that diverges": condition(plain, optimizer=SGD(learning_rate=1e38, momentum=0.99)),
}


@pytest.mark.usefixtures("one_worker", "in_place")
@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_eager_training(name: str, uncompiled: list[Any]) -> None:
    """What is compiled, run as it stands: slices, threads, resting replicas, state, buffers."""
    compiled = trained(CASES[name], COMPILED)
    assert uncompiled
    check_equal(compiled, trained(CASES[name], EAGER))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["SGD, resting, running statistics", "minibatches, validation", "dropout", "a network that diverges"]
)
def test_compiled_training_is_eager_training_to_rounding(name: str) -> None:
    compiled = trained(CASES[name], COMPILED)
    assert population(compiled).is_compiled
    check_equal(compiled, trained(CASES[name], EAGER))


@pytest.mark.slow
def test_all_replicas_in_one_piece_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    eager = trained(condition(batch_size=8), EAGER)
    monkeypatch.setattr("lossact.replicas.named_population.slice_width", lambda *_: 64)
    compiled = trained(condition(batch_size=8), COMPILED)
    assert population(compiled).is_compiled
    check_equal(compiled, eager)


@pytest.mark.slow
def test_bits_depend_neither_on_companions_nor_on_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    plain_condition = condition(plain)
    block = plain_condition.block
    alone = trained(plain_condition, COMPILED, block)
    monkeypatch.setattr(compiled_modules, "n_workers", lambda: 3)
    among = trained(plain_condition, COMPILED, 3 * block)
    assert population(alone).is_compiled
    np.testing.assert_array_equal(among.outcome().loss[:block], alone.outcome().loss)
    for name, tensor in population(alone).networks.parameters.items():
        assert torch.equal(population(among).networks.parameters[name][:block], tensor)


@pytest.mark.usefixtures("one_worker")
def test_launches_of_a_condition_share_what_is_compiled(uncompiled: list[Any]) -> None:
    of_its_own = condition(plain, budget=13)
    trained(of_its_own, COMPILED)
    first = len(uncompiled)
    trained(of_its_own, COMPILED)
    assert len(uncompiled) == first > 0
    faster = SGD(learning_rate=0.4, momentum=0.9, weight_decay=0.01, bias_gradient_scale=2.0)
    trained(replace(of_its_own, optimizer=faster), COMPILED)  # numbers are arguments
    assert len(uncompiled) == first
    trained(of_its_own, replace(COMPILED, precision="32-true"))
    assert len(uncompiled) == 2 * first
    trained(replace(of_its_own, optimizer=Adam(learning_rate=0.1)), COMPILED)
    assert len(uncompiled) == 3 * first


def refuse(function: Any, **_: Any) -> Any:
    """Stands for torch.compile, and takes nothing."""

    def call(*_: Any) -> Any:
        raise TorchDynamoException("no rule for this operation")

    return call


def test_a_network_that_cannot_be_compiled_trains_eagerly_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", refuse)
    of_its_own = condition(budget=9)
    with pytest.warns(UserWarning, match=r"torch\.compile does not take the network \(no rule for this operation\)"):
        refused = trained(of_its_own, COMPILED)
    assert not population(refused).is_compiled
    np.testing.assert_array_equal(refused.outcome().loss, trained(of_its_own, EAGER).outcome().loss)
    trained(of_its_own, COMPILED)  # is not tried, nor warned of, again


@pytest.mark.parametrize(("long_budget", "tried"), [(9, True), (10, False)])
def test_nobody_is_told_of_compiling_that_nobody_asked_for(
    long_budget: int, tried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def noted(function: Any, **arguments: Any) -> Any:
        asked.append(function)
        return refuse(function, **arguments)

    monkeypatch.setattr(torch, "compile", noted)
    monkeypatch.setattr("lossact.training.compute_config.LONG_BUDGET", long_budget)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        refused = trained(condition(budget=9), replace(EAGER, compiled="auto"))
    assert bool(asked) == tried
    np.testing.assert_array_equal(refused.outcome().loss, trained(condition(budget=9), EAGER).outcome().loss)


def test_a_network_that_cannot_be_traced_trains_eagerly_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise NotImplementedError("no such operation")

    monkeypatch.setattr(pure_passes, "make_fx", broken)
    of_its_own = condition(budget=9)
    with pytest.warns(UserWarning, match=r"torch\.compile does not take the network \(no such operation\)"):
        refused = trained(of_its_own, COMPILED)
    assert not population(refused).is_compiled
    np.testing.assert_array_equal(refused.outcome().loss, trained(of_its_own, EAGER).outcome().loss)


def test_a_trace_that_gives_other_numbers_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(function: Any, arguments: Any) -> Any:
        def traced(*given: Any) -> Any:
            loss, *others = function(*given)
            return loss * 1.001, *others

        return traced

    monkeypatch.setattr(compiled_modules, "trace", wrong)
    of_its_own = condition(plain, budget=9)
    with pytest.warns(UserWarning, match="it gives other numbers when it is traced"):
        refused = trained(of_its_own, COMPILED)
    np.testing.assert_array_equal(refused.outcome().loss, trained(of_its_own, EAGER).outcome().loss)


class Shifting(nn.Linear):
    """Adds a constant that each network draws for itself."""

    def __init__(self) -> None:
        super().__init__(4, 3)
        self.shift = torch.randn(3, dtype=torch.float64)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs) + self.shift


@pytest.mark.usefixtures("one_worker", "uncompiled")
def test_single_networks_keep_constants_of_their_own() -> None:
    shifting = condition(Shifting, budget=9)
    for replica in range(2):
        losses = []
        for config in (COMPILED, EAGER):
            module = stacked_training(shifting, 0, [replica], config, curves_of=1)
            fit(module, config)
            losses.append(module.outcome().loss)
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)


@pytest.mark.usefixtures("one_worker", "uncompiled")
def test_experiments_of_other_seeds_draw_other_numbers() -> None:
    drawing = condition(dropping, budget=9)
    for seed in range(2):
        losses = []
        for config in (COMPILED, EAGER):
            module = stacked_training(drawing, seed, range(12), config, curves_of=12)
            fit(module, config)
            losses.append(module.outcome().loss)
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)


@pytest.mark.usefixtures("one_worker")
def test_slices_that_have_moved_are_put_back_where_another_cannot_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled_so_far: list[Any] = []

    def all_but_the_second(function: Any, **_: Any) -> Any:
        compiled_so_far.append(function)
        return function if len(compiled_so_far) == 1 else refuse(function)

    monkeypatch.setattr(torch, "compile", all_but_the_second)
    monkeypatch.setattr("lossact.replicas.named_population.slice_width", lambda *_: 16)
    of_its_own = condition(budget=9, optimizer=Adam(learning_rate=0.05))
    with pytest.warns(UserWarning, match=r"torch\.compile does not take the network"):
        refused = trained(of_its_own, COMPILED, 20)
    assert len(compiled_so_far) == 2
    check_equal(refused, trained(of_its_own, EAGER, 20))


@pytest.mark.usefixtures("one_worker", "uncompiled")
def test_compiled_code_holds_no_launchs_tensors() -> None:
    module = trained(condition(optimizer=Adam(learning_rate=0.05), budget=5), COMPILED)
    held = [weakref.ref(tensor) for tensor in population(module).state_tensors]
    del module
    gc.collect()
    assert not any(tensor() is not None for tensor in held)


@pytest.mark.usefixtures("one_worker")
def test_functions_that_ran_last_are_kept(uncompiled: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_modules, "FUNCTIONS_KEPT", 2)
    code = compiled_modules.CompiledCode()
    found = [code.function(key, lambda: lambda: None, torch.device("cpu")) for key in "abacab"]
    assert found[0] is found[2] is found[4]  # "a" is always among the last two
    assert found[1] is not found[5]
    names = {function.__code__.co_name for function in uncompiled}
    assert len(set(uncompiled)) == len(names) == 4  # each has code of its own
