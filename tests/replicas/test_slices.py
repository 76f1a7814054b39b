"""Slices of replicas on cores of their own give what replicas give that are computed all at once."""

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lossact import SGD, Condition
from lossact.replicas import traced, workers
from lossact.replicas.named_population import NamedPopulation
from lossact.replicas.objective import Objective
from lossact.replicas.passes import PassContext, Stage
from lossact.replicas.probe import pass_size
from lossact.replicas.slices import (
    COMPILED_NUMBERS,
    EAGER_NUMBERS,
    GPU_BLOCKS,
    GPU_NUMBERS,
    SMALL,
    WIDEST,
    blocks_of_slice,
    slice_width,
    slices_of,
)
from lossact.replicas.stacked_module import StackedModule
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig
from lossact.training.stacked import StackedReplicasModule
from tests.replicas.test_any_training import condition
from tests.replicas.test_recorded import assert_same
from tests.replicas.test_traced import NEVER, OF_NETWORKS

DOUBLE = ComputeConfig(precision="64-true", threads=2)
BLOCK = 16


@pytest.fixture(autouse=True)
def in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network counts as small, and four replicas are a slice; traces are made soon."""
    monkeypatch.setattr("lossact.replicas.named_population.SMALL", 0)
    monkeypatch.setattr("lossact.replicas.named_population.slice_width", lambda *_: 4)
    monkeypatch.setattr(traced, "TRACED_FROM", 3)
    monkeypatch.setattr(traced, "TRACED_AFTER", NEVER)
    monkeypatch.setattr(traced, "_kinds", OrderedDict())


def trained(
    given: Condition, config: ComputeConfig = DOUBLE, replicas: range = range(BLOCK)
) -> tuple[StackedReplicasModule, NamedPopulation]:
    module = stacked_training(given, 0, replicas, config, curves_of=3 * BLOCK)
    fit(module, config)
    assert isinstance(module.population, NamedPopulation)
    return module, module.population


@pytest.mark.parametrize("name", OF_NETWORKS)
def test_slices_side_by_side_train_as_one_after_the_other(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    def threads(n: int) -> object:
        taken.append(n)
        return workers.worker_threads(n)

    monkeypatch.setattr(traced, "worker_threads", threads)
    monkeypatch.setattr(traced, "n_workers", lambda: 3)
    together, _ = trained(OF_NETWORKS[name])
    assert set(taken) == {3}
    taken.clear()
    monkeypatch.setattr(traced, "TRACED_FROM", NEVER)
    monkeypatch.setattr(traced, "_kinds", OrderedDict())
    in_turn, _ = trained(OF_NETWORKS[name])
    assert not taken
    assert_same(together.outcome(), in_turn.outcome())


@pytest.mark.parametrize("name", OF_NETWORKS)
def test_slices_train_as_all_replicas_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = replace(OF_NETWORKS[name], budget=41)
    module, population = trained(given)
    monkeypatch.setattr("lossact.replicas.named_population.SMALL", NEVER)
    monkeypatch.setattr(traced, "TRACED_FROM", NEVER)
    monkeypatch.setattr(traced, "_kinds", OrderedDict())
    whole, others = trained(given)
    outcome, expected = module.outcome(), whole.outcome()
    np.testing.assert_allclose(outcome.loss, expected.loss, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(outcome.steps_to_target, expected.steps_to_target)
    for held, other in zip(population.state_tensors, others.state_tensors, strict=True):
        torch.testing.assert_close(held, other, rtol=1e-8, atol=1e-11, equal_nan=True)


def test_a_replicas_bits_depend_neither_on_companions_nor_on_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    given = condition(SGD(learning_rate=0.1, momentum=0.9), batch_size=8, budget=40)
    alone, _ = trained(given, DOUBLE)
    second, _ = trained(given, DOUBLE, range(BLOCK, 2 * BLOCK))
    monkeypatch.setattr(traced, "n_workers", lambda: 3)
    among, _ = trained(given, replace(DOUBLE, threads=1), range(3 * BLOCK))
    losses = [module.outcome().loss for module in (alone, second, among)]
    np.testing.assert_array_equal(losses[2][:BLOCK], losses[0])
    np.testing.assert_array_equal(losses[2][BLOCK : 2 * BLOCK], losses[1])


@pytest.mark.parametrize(("size", "width", "one_thread"), [(SMALL - 1, None, True), (SMALL, 4, False)])
def test_how_a_network_uses_cores_follows_from_its_size(
    size: int, width: int | None, one_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lossact.replicas.named_population.SMALL", SMALL)
    monkeypatch.setattr("lossact.running.stacking.pass_size", lambda *_: size)
    seen: list[int] = []
    update = NamedPopulation._update

    def watched(*arguments: Any) -> None:
        seen.append(torch.get_num_threads())
        update(*arguments)

    monkeypatch.setattr(NamedPopulation, "_update", watched)
    before = torch.get_num_threads()
    _, population = trained(condition(SGD(learning_rate=0.1), budget=5))
    assert population._sliced is not None
    assert population._sliced.width == width
    assert set(seen) == {1 if one_thread else 2}
    assert torch.get_num_threads() == before


def test_there_are_as_many_workers_as_torch_has_threads_outside_of_training() -> None:
    before = torch.get_num_threads()
    with workers.torch_threads(1), workers.torch_threads(7):
        assert torch.get_num_threads() == 7
        assert workers.n_workers() == before
    assert torch.get_num_threads() == workers.n_workers() == before


def test_an_error_leaves_the_number_of_threads_as_it_was() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), workers.torch_threads(7):
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == workers.n_workers() == before


def test_slices_divide_a_block() -> None:
    widths = [slice_width(block, 0, EAGER_NUMBERS) for block in (1, 2, 6, 8, 12, 16, 11, 34)]
    assert widths == [1, 2, 6, 8, 12, 16, 11, 2]
    assert WIDEST == 16


def test_a_slice_keeps_so_many_numbers_or_is_one_replica() -> None:
    for numbers in (COMPILED_NUMBERS, EAGER_NUMBERS):
        for size in (1, 10_000, 100_000, 300_000, 1_000_000, 30_000_000):
            width = slice_width(BLOCK, size, numbers)
            assert width == 1 or width * size <= numbers
            assert width == WIDEST or 2 * width * size > numbers


def test_slices_hold_each_replica_once() -> None:
    for width, expected in ((None, 1), (1, 10), (4, 3), (10, 1), (16, 1)):
        rows = [row for each in slices_of(10, width) for row in range(10)[each]]
        assert rows == list(range(10))
        assert len(list(slices_of(10, width))) == expected


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) ** 2).sum(1)


@pytest.mark.parametrize("batch", [1, 7])
def test_a_pass_computes_what_each_operation_gives(batch: int) -> None:
    """Counted by hand: two sums, tanh, errors, their squares, the examples' losses, the mean."""
    network = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    size = pass_size(network, Objective(squares, None), torch.randn(batch, 3), torch.randn(batch, 2))
    assert size == batch * 5 + batch * 5 + batch * 2 + batch * 2 + batch * 2 + batch + 1


class Slope(nn.Module):
    """The slope of a network, as physics-informed networks take it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        def total(x: Tensor) -> Tensor:
            out: Tensor = self.body(x).sum()
            return out

        slope: Tensor = torch.func.grad(total)(x)
        out: Tensor = self.body(x) + slope.sum(1, keepdim=True)
        return out


class NotCounted(nn.Linear):
    """Takes no operation but its own where somebody counts them."""

    def forward(self, x: Tensor) -> Tensor:
        if torch._C._len_torch_dispatch_stack():
            raise RuntimeError("not here")
        return super().forward(x)


def size_of(network: nn.Module, *shape: int) -> int:
    return pass_size(network, Objective(squares, None), torch.randn(*shape), torch.randn(shape[0], 3))


def test_sizes_of_networks_that_take_gradients_attend_or_do_not_let_operations_be_counted() -> None:
    assert 0 < size_of(Slope(), 5, 2) < SMALL
    attention = nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0, batch_first=True)
    lengths = [size_of(nn.Sequential(attention, nn.Flatten(), nn.Linear(8 * n, 3)), 5, n, 8) for n in (10, 100)]
    assert lengths[1] > 5 * 2 * 100**2  # each of two heads has n x n numbers, which fused kernels do not hold
    assert lengths[0] < SMALL
    assert size_of(NotCounted(2, 3), 5, 2) == SMALL


def test_networks_that_take_gradients_train() -> None:
    module, _ = trained(condition(SGD(learning_rate=0.1), network=Slope, budget=10))
    assert np.isfinite(module.outcome().loss).all()


class Constants(nn.Linear):
    """A layer times numbers of its own that are neither parameters nor buffers."""

    def __init__(self) -> None:
        super().__init__(2, 3)
        self.constants = torch.randn(3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x) * self.constants.to(x.dtype)
        return out


def test_a_single_replica_does_not_take_the_constants_of_another() -> None:
    given = condition(SGD(learning_rate=0.1), network=Constants, batch_size=8, budget=10)
    expected = trained(given, DOUBLE, range(1, 2))[0].outcome().loss
    trained(given, DOUBLE, range(1))
    np.testing.assert_array_equal(trained(given, DOUBLE, range(1, 2))[0].outcome().loss, expected)


def test_slices_on_a_gpu_hold_as_many_blocks_as_are_fastest() -> None:
    sizes = [0, 1, SMALL, 4_350_082, 30_950_018, GPU_NUMBERS, 10**12]
    blocks = [blocks_of_slice(BLOCK, size) for size in sizes]
    assert blocks == sorted(blocks, reverse=True)
    assert blocks[0] == GPU_BLOCKS
    assert blocks[-1] == 1
    assert blocks[3:5] == [8, 1]  # the transformer block and the residual network of the benchmark
    for size, n in zip(sizes, blocks, strict=True):
        assert n.bit_count() == 1
        assert n == 1 or n * BLOCK * size <= GPU_NUMBERS


@pytest.mark.parametrize("draws", [False, True])
def test_slices_that_are_not_traced_learn_and_measure_as_all_replicas_at_once(draws: bool) -> None:
    """As on a GPU."""

    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5 if draws else 0.0), nn.Linear(4, 3))

    objective = Objective(nn.functional.cross_entropy)
    statistics = [f"1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")]
    networks = StackedModule(
        [network().double() for _ in range(10)],
        objective,
        range(3, 13),
        changing=statistics,
        draws_by=7 if draws else None,
    )
    sliced = traced.SlicedModule(networks, {}, 4, may_trace=False)
    inputs, targets = torch.randn(10, 6, 2, dtype=torch.float64), torch.arange(6).remainder(3).expand(10, 6)
    for update in range(traced.TRACED_FROM + traced.CHECKED + 1):
        context = PassContext(Stage.TRAINING, update)
        with torch.no_grad():
            found, expected = (each.learn(inputs, targets, context) for each in (sliced, networks))
            measured = [each.measure(inputs, targets, context) for each in (sliced, networks)]
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(*measured)
    assert all(each.trace is None for each in sliced.traces.values())
