"""A launch that is too large for the memory is trained in halves, to the same trials."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lossact import SGD, Condition, LightningCondition
from lossact.errors import InputError, TrainingError
from lossact.running import runner, stacked_fit
from lossact.running.jobs import BlockJob, Progress, TrainedBlock
from lossact.running.module_stack import ModuleStack
from lossact.running.runner import train_jobs
from lossact.running.stacking import stack_replicas
from lossact.training.compute_config import ComputeConfig
from tests.conftest import cnn_condition, report_condition
from tests.replicas.test_any_training import condition as users_condition
from tests.running import posted_modules as posted
from tests.running.stacked_and_alone import DOUBLE, condition

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")
ON_A_CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:1] err == 0. DefaultCPUAllocator: can't allocate memory: tried")
ERRORS: list[Exception] = [
    ON_A_CPU,
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB"),
    MemoryError(),
]


class Memory:
    """Where replicas are made, and more than some at once are too many.

    Attributes:
        tried: how many were to be made, of each try.
        made: how many were made.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> None:
        self.most, self.error = most, error
        self.tried: list[int] = []
        self.made: list[int] = []
        monkeypatch.setattr(runner, "stack_replicas", self.stack)
        monkeypatch.setattr(stacked_fit, "ModuleStack", self.modules)

    def take(self, n_replicas: int) -> None:
        self.tried.append(n_replicas)
        if n_replicas > self.most:
            raise self.error
        self.made.append(n_replicas)

    def stack(self, members: Any, *given: Any, **named: Any) -> Any:
        self.take(len(members))
        return stack_replicas(members, *given, **named)

    def modules(self, first: Any, n_replicas: int) -> Any:
        self.take(n_replicas)
        return ModuleStack(first, n_replicas)


def trained(jobs: list[BlockJob], said: list[Progress] | None = None) -> list[TrainedBlock]:
    return list(train_jobs(jobs, 0, DOUBLE, None if said is None else said.append))


def assert_same(blocks: list[TrainedBlock], expected: list[TrainedBlock]) -> None:
    assert [(b.condition, b.first_replica) for b in blocks] == [(b.condition, b.first_replica) for b in expected]
    for block, whole in zip(blocks, expected, strict=True):
        np.testing.assert_array_equal(block.trials.steps, whole.trials.steps)
        np.testing.assert_array_equal(block.trials.reached, whole.trials.reached)
        np.testing.assert_array_equal(block.curves.loss, whole.curves.loss)
        assert block.trials.run_digests is not None
        assert whole.trials.run_digests is not None
        np.testing.assert_array_equal(block.trials.run_digests, whole.trials.run_digests)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_replicas_of_conditions_train_in_halves(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    of_sigmoid = report_condition("sigmoid", budget=5)
    size = of_sigmoid.block
    jobs: list[BlockJob] = [(of_sigmoid, block) for block in range(10)]
    whole = trained(jobs)
    memory = Memory(monkeypatch, 2 * size, error)
    said: list[Progress] = []
    assert_same(trained(jobs, said), whole)
    (first, *_) = memory.tried
    assert first > 2 * size
    assert memory.made == [2 * size] * 5  # no block twice
    failed = [n for n in memory.tried if n > memory.most]
    assert memory.tried[: len(failed)] == failed  # what fitted is remembered, in later launches too
    assert str(said[0]).startswith(f"training {of_sigmoid}, replicas 0 to {2 * size - 1}: ")


def test_replicas_of_a_lightning_module_are_fitted_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    given = condition(posted.Classifier, budget=3)
    jobs: list[BlockJob] = [(given, block) for block in range(5)]
    whole = trained(jobs)
    memory = Memory(monkeypatch, 16, ON_A_CPU)
    assert_same(trained(jobs), whole)
    assert memory.tried == [64, 32, *[16] * 5]


def test_conditions_that_share_a_fit_are_fitted_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[BlockJob] = [(tuned(rate), 0) for rate in (0.01, 0.02, 0.03)]
    whole = trained(jobs)
    memory = Memory(monkeypatch, 32, ON_A_CPU)
    assert_same(trained(jobs), whole)
    assert memory.tried == [48, 32, 16]


class Tuned(posted.Classifier):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def tuned(rate: float, **changes: Any) -> LightningCondition:
    return condition(Tuned, config={"rate": rate}, budget=2, name=f"rate {rate}", **changes)


def test_a_block_that_does_not_fit_says_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    of_sigmoid = report_condition("sigmoid", budget=5)
    Memory(monkeypatch, 1, ON_A_CPU)
    with pytest.raises(
        TrainingError,
        match=rf"replicas 0 to {of_sigmoid.block - 1}: out of memory \(Default.*\); make the network, its data or its",
    ):
        trained([(of_sigmoid, block) for block in range(3)])
    with pytest.raises(InputError, match="because 16 at once need more memory than there is; leave stacked=True out"):
        trained([(tuned(0.1, stacked=True), 0), (tuned(0.2, stacked=True), 0)])
    (block,) = trained([(tuned(0.1), 0)])
    assert block.one_at_a_time == "16 at once need more memory than there is"


def test_a_pass_of_a_fixed_width_is_filled_up_and_halved_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU."""
    of_a_user = users_condition(SGD(learning_rate=0.1), budget=5)
    jobs: list[BlockJob] = [(of_a_user, block) for block in range(5)]
    whole = trained(jobs)
    monkeypatch.setattr(runner, "_blocks_of_a_pass", lambda *_: 4)
    memory = Memory(monkeypatch, 64, ON_A_CPU)
    assert_same(trained(jobs), whole)
    assert memory.tried == [64, 64]
    memory = Memory(monkeypatch, 32, ON_A_CPU)
    assert_same(trained(jobs), whole)
    assert memory.tried == [64, 32, 32, 32]
    memory = Memory(monkeypatch, 1, ON_A_CPU)
    with pytest.raises(TrainingError, match="replicas 0 to 15: out of memory"):
        trained(jobs)
    assert memory.tried == [64, 32, 16]


@pytest.mark.parametrize(
    ("given", "blocks", "if_large"),
    [
        (users_condition(SGD(learning_rate=0.1)), 4, 1),
        (users_condition(SGD(learning_rate=0.1), stacked=False), 1, 1),
        (replace(report_condition("sigmoid"), batch_size=8), 8, 8),
        (cnn_condition("relu", "l2", budget=5), 1, 1),
    ],
)
def test_how_many_blocks_a_pass_computes(
    given: Condition, blocks: int, if_large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_gpu = ComputeConfig(device="cuda")
    assert runner._blocks_of_a_pass(given, 0, on_a_gpu) == blocks
    assert runner._blocks_of_a_pass(given, 0, ComputeConfig()) == 1
    monkeypatch.setattr(runner, "_blocks_of_kinds", {})
    monkeypatch.setattr("lossact.running.stacking.pass_size", lambda *_: 25_000_000)
    assert runner._blocks_of_a_pass(given, 0, on_a_gpu) == if_large


@pytest.mark.parametrize(
    ("changes", "in_kernel"),
    [({}, True), ({"batch_size": 8}, False), ({"clip_norm": 1.0}, False), ({"accumulate": 2, "batch_size": 8}, False)],
)
@pytest.mark.parametrize("has_triton", [True, False])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("compiled", [False, True])
def test_only_what_a_kernel_trains_is_of_any_width_on_a_gpu(
    changes: dict[str, Any],
    in_kernel: bool,
    has_triton: bool,
    precision: str,
    compiled: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed: list[tuple[int, int]] = []

    def train(jobs: list[BlockJob], n_blocks: int, *_: Any) -> list[TrainedBlock]:
        computed.append((len(jobs), n_blocks))
        return []

    monkeypatch.setattr(runner, "_train_at_once", train)
    monkeypatch.setattr(runner, "_blocks_of_kinds", {})
    monkeypatch.setattr("lossact.replicas.kernels.has_triton", lambda: has_triton)
    given = replace(report_condition("sigmoid"), **changes)
    on_a_gpu = ComputeConfig(device="cuda", compiled=compiled, precision=precision)
    for blocks in (3, 20, 70):
        list(train_jobs([(given, block) for block in range(blocks)], 0, on_a_gpu))
    if in_kernel and has_triton and precision == "32-true":
        assert computed == [(3, 3), (20, 20), (64, 64), (6, 6)]
    else:
        assert [trained for trained, _ in computed] == [3, 8, 8, 4, *[8] * 8, 6]
        assert {n_blocks for _, n_blocks in computed} == {8}


def test_other_errors_are_not_for_halving(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(monkeypatch, 1, RuntimeError("a shape does not fit"))
    with pytest.raises(RuntimeError, match="a shape does not fit"):
        trained([(report_condition("sigmoid", budget=5), block) for block in range(3)])
    assert len(memory.tried) == 1
