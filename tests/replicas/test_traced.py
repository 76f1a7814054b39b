"""Traced passes give the bits of passes that are not, or are not used."""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossact import SGD, Condition
from lossact.replicas import pure_passes, traced
from lossact.replicas.named_population import NamedPopulation
from lossact.replicas.traced import TracedPass
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.training.stacked import StackedReplicasModule
from tests.replicas.test_any_training import DOUBLE, condition
from tests.replicas.test_recorded import CONDITIONS, REPLICAS, assert_same

OF_NETWORKS = {name: each for name, each in CONDITIONS.items() if not each.uses_closed_form_gradients}
NEVER = 10**9


class Attention(nn.Module):
    """Two tokens of width 4 from two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.TransformerEncoderLayer(4, 2, dim_feedforward=8, dropout=0.2, batch_first=True)
        self.into, self.out = nn.Linear(2, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.body(self.into(x).view(-1, 2, 4)).flatten(1))
        return out


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = nn.GRU(1, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.body(x.unsqueeze(2))[0][:, -1])
        return out


OF_NETWORKS |= {
    "attention": condition(SGD(learning_rate=0.1), network=Attention, batch_size=8, budget=40),
    "recurrent": condition(SGD(learning_rate=0.1), network=Recurrent, batch_size=8, budget=40),
}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing from the third call on, however slow the machine is."""
    monkeypatch.setattr(traced, "TRACED_FROM", 3)
    monkeypatch.setattr(traced, "TRACED_AFTER", float("inf"))
    monkeypatch.setattr(traced, "_kinds", OrderedDict())


def trained(condition: Condition) -> tuple[StackedReplicasModule, list[TracedPass]]:
    module = stacked_training(condition, 0, REPLICAS, DOUBLE, curves_of=len(REPLICAS))
    fit(module, DOUBLE)
    assert isinstance(module.population, NamedPopulation)
    passes = module.population._sliced
    return module, [] if passes is None else list(passes.traces.values())


@pytest.mark.parametrize("name", OF_NETWORKS)
def test_traced_training_equals_plain_training_bit_for_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, passes = trained(OF_NETWORKS[name])
    often = [each for each in passes if each.calls > traced.TRACED_FROM + traced.CHECKED]
    assert often
    assert all(each.trace is not None and each.may_trace for each in often)
    monkeypatch.setattr(traced, "TRACED_FROM", NEVER)
    monkeypatch.setattr(traced, "_kinds", OrderedDict())
    plain, untraced = trained(OF_NETWORKS[name])
    assert all(each.trace is None for each in untraced)
    assert_same(module.outcome(), plain.outcome())
    for held, other in zip(module.population.state_tensors, plain.population.state_tensors, strict=True):
        assert torch.equal(held.nan_to_num(), other.nan_to_num())


def test_launches_of_a_kind_share_traces() -> None:
    _, first = trained(OF_NETWORKS["minibatches"])
    calls = [each.calls for each in first]
    _, second = trained(OF_NETWORKS["minibatches"])
    assert first == second
    assert [each.calls for each in second] == [2 * n for n in calls]


def doubled(x: Tensor) -> dict[str, Tensor]:
    return {"twice": x * 2, "sine": x.sin()}


def test_a_trace_takes_over_after_it_was_compared_twice() -> None:
    runs = itertools.count()

    def function(x: Tensor) -> dict[str, Tensor]:
        next(runs)
        return doubled(x)

    compute = TracedPass(function)
    for k in range(10):
        x = torch.full((3,), float(k))
        found, expected = compute(x), doubled(x)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    # Called at first, for the trace, and to be compared with it.
    assert next(runs) == (traced.TRACED_FROM - 1) + 1 + traced.CHECKED
    assert torch.equal(compute(torch.tensor([torch.nan, 2.0]))["twice"][1:], torch.tensor([4.0]))


def counting() -> Callable[[Tensor], Tensor]:
    """What it gives depends on how often it was called."""
    calls: Iterator[int] = itertools.count()
    return lambda x: x + next(calls)


def looking(x: Tensor) -> Tensor:
    return x * float(x.sum())


@pytest.mark.parametrize("make", [counting, lambda: looking])
def test_what_a_trace_cannot_hold_goes_on_without(make: Callable[[], Callable[[Tensor], Tensor]]) -> None:
    compute, plain = TracedPass(make()), make()
    x = torch.tensor([1.0, 2.0])
    found = [compute(x) for _ in range(8)]
    assert not compute.may_trace
    if make is not counting:  # the trace and its trial have counted too
        assert all(torch.equal(each, plain(x)) for each in found)


def test_not_a_number_equals_itself() -> None:
    compute = TracedPass(lambda x: x.log())
    for _ in range(8):
        compute(torch.tensor([-1.0, 1.0]))
    assert compute.n_checked == traced.CHECKED
    assert compute.may_trace


def test_long_passes_are_traced_from_the_second_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traced, "TRACED_FROM", NEVER)
    monkeypatch.setattr(traced, "TRACED_AFTER", 0.0)
    compute = TracedPass(doubled)
    for calls in range(1, 4):
        compute(torch.ones(2))
        assert (compute.trace is not None) == (calls > 1)
    assert compute.is_trusted


def test_memory_that_runs_out_is_for_the_launch_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(pure_passes, "make_fx", full)
    with pytest.raises(torch.OutOfMemoryError):
        trained(OF_NETWORKS["minibatches"])


def test_an_error_of_the_tracer_costs_only_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise NotImplementedError("no such operation")

    monkeypatch.setattr(pure_passes, "make_fx", broken)
    module, passes = trained(OF_NETWORKS["minibatches"])
    assert not any(each.may_trace for each in passes if each.calls >= traced.TRACED_FROM)
    monkeypatch.setattr(traced, "TRACED_FROM", NEVER)
    assert_same(module.outcome(), trained(OF_NETWORKS["minibatches"])[0].outcome())


def test_traces_of_the_last_kinds_are_kept() -> None:
    for kind in range(traced.KEPT + 1):
        traced.traces_of(kind)["learn"] = TracedPass(doubled)
    assert not traced.traces_of(0)
    assert traced.traces_of(traced.KEPT)


STEPS = [0]


def warmed_up(outputs: Tensor, targets: Tensor) -> Tensor:
    """A loss that counts its calls in a global variable."""
    STEPS[0] += 1
    return (0.1 if STEPS[0] < 40 else 1.0) * nn.functional.cross_entropy(outputs, targets, reduction="none")


class Counted(nn.Linear):
    def __init__(self) -> None:
        super().__init__(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        STEPS[0] += 1
        return super().forward(x)


@pytest.mark.parametrize("changes", [{"loss": warmed_up}, {"network": Counted}])
def test_what_changes_global_variables_is_not_traced(changes: dict[str, Any]) -> None:
    _, passes = trained(condition(SGD(learning_rate=0.1), batch_size=8, budget=20, **changes))
    assert not passes


def test_what_is_not_of_the_same_bits_is_another_value() -> None:
    ones = torch.ones(2)
    assert traced._same(ones, ones.clone())
    for other in (ones.double(), torch.ones(3), torch.tensor([1.0, torch.nan])):
        assert not traced._same(other, ones)
    assert not traced._same(torch.tensor(0.0), torch.tensor(-0.0))
    assert traced._same(torch.tensor(torch.nan), torch.tensor(torch.nan))
    assert not traced._same(torch.tensor(1.0), torch.tensor(torch.nan))
