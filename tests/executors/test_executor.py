"""What an executor is asked for, and what becomes of blocks that come in any order."""

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import pytest
from torch import nn

from lossact import Adam, Arrays, Condition, Executor, Experiment, FunctionCondition, Loss, Store, evaluate, faster
from lossact.claims.evaluate import look_sizes
from lossact.claims.verdict import Verdict
from lossact.errors import InputError, TrainingError
from lossact.executors.choose import make_executor
from lossact.running.jobs import BlockJob, ProgressCallback, TrainedBlock
from lossact.running.runner import group_blocks, train_jobs
from lossact.training.compute_config import ComputeConfig
from tests.conftest import report_condition, with_sgd
from tests.pytest_plugin.conftest import Claims


def steps(seed: int, mean: int) -> int:
    return int(np.random.default_rng([seed, mean]).poisson(mean))


FAST, SLOW = (
    FunctionCondition(train=steps, config={"mean": mean}, budget=100, name=str(mean)) for mean in (30, 33)
)  # a difference that takes several looks


class Backwards(Executor):
    """Trains two looks at a time, the last block first."""

    def __init__(self, *, fails: tuple[FunctionCondition, int] | None = None) -> None:
        self.fails = fails
        self.trained: list[BlockJob] = []
        self.left_open = 0
        self.closed = False

    def train(
        self,
        looks: Iterator[Sequence[BlockJob]],
        seed: int,
        compute_config: ComputeConfig,
        progress: ProgressCallback | None,
    ) -> Generator[TrainedBlock, None, None]:
        self.left_open += 1
        try:
            while jobs := [job for look in islice(looks, 2) for job in look]:
                for job in reversed(jobs):
                    if job == self.fails:
                        continue
                    (block,) = train_jobs([job], seed, compute_config, progress)
                    self.trained.append(job)
                    yield block
                if self.fails in jobs:
                    raise TrainingError("it failed")
        finally:
            self.left_open -= 1

    def close(self) -> None:
        self.closed = True


def verdict_by(executor: Executor | None, store: Store) -> Verdict:
    experiment = Experiment(store=store, executor=executor)
    return evaluate(faster(FAST, than=SLOW), max_replicas=512, experiment=experiment)


def test_evidence_sees_complete_prefixes_only() -> None:
    executor = Backwards()
    with Store(None) as here, Store(None) as there:
        local, remote = verdict_by(None, here), verdict_by(executor, there)
        assert local.decision == remote.decision
        assert local.decision.replicas > 2 * FAST.block  # it took several looks
        for condition in (FAST, SLOW):
            key = Experiment(store=here).key(condition)
            local_trials, remote_trials = (store.trials(key, condition.budget) for store in (here, there))
            assert len(remote_trials) >= len(local_trials) == local.decision.replicas
            np.testing.assert_array_equal(local_trials.steps, remote_trials.steps[: len(local_trials)])


def test_blocks_that_no_look_needs_are_not_started() -> None:
    executor = Backwards()
    with Store(None) as store:
        decided = verdict_by(executor, store).decision.replicas
    assert executor.left_open == 0
    sizes = look_sizes(FAST.block, 512)
    second_of_two = min(sizes.index(decided) | 1, len(sizes) - 1)
    assert len(executor.trained) <= 2 * sizes[second_of_two] // FAST.block


def test_a_block_fails_where_it_is_needed() -> None:
    with Store(None) as store:
        decided = verdict_by(None, store).decision.replicas
    needed, not_needed = (Backwards(fails=(SLOW, replica // SLOW.block)) for replica in (decided - 1, 511))
    with Store(None) as store, pytest.raises(TrainingError, match="it failed"):
        verdict_by(needed, store)
    assert needed.left_open == 0
    with Store(None) as store:
        assert verdict_by(not_needed, store).decision.replicas == decided


def test_an_executor_that_forgets_blocks_is_named() -> None:
    class Forgetful(Backwards):
        def train(
            self,
            looks: Iterator[Sequence[BlockJob]],
            seed: int,
            compute_config: ComputeConfig,
            progress: ProgressCallback | None,
        ) -> Generator[TrainedBlock, None, None]:
            yield from islice(super().train(looks, seed, compute_config, progress), 3)

    with Store(None) as store, pytest.raises(TrainingError, match="Forgetful ended without blocks that were asked"):
        verdict_by(Forgetful(), store)


def test_launches_hold_each_block_once_and_as_many_as_are_wished_for() -> None:
    pair = [with_sgd(report_condition(), learning_rate=rate) for rate in (0.1, 0.2)]
    jobs: list[BlockJob] = [
        (condition, block) for condition in [*pair, report_condition("relu"), FAST] for block in range(6)
    ]
    for slots, widest in ((None, 8), (1, 8), (4, 6), (12, 2), (24, 1), (99, 1)):
        launches = group_blocks(jobs, ComputeConfig(), slots=slots)
        assert len(launches) >= min(slots or 1, len(jobs))
        assert slots is None or all(len(launch) == 1 for launch in launches if launch[0][0] == FAST)
        assert max(map(len, launches)) == widest
        assert sorted(map(str, (job for launch in launches for job in launch))) == sorted(map(str, jobs))
        assert all(
            len({condition.json for condition, _ in launch} - {condition.json for condition in pair}) <= 1
            for launch in launches
        )


def test_a_projects_executor_is_used(claims: Claims) -> None:
    (claims.write() / "conftest.py").write_text(
        "import lossact\n"
        "from lossact.executors import LocalExecutor\n\n"
        "class Loud(LocalExecutor):\n"
        "    def train(self, *given):\n"
        "        print('TRAINS')\n"
        "        yield from super().train(*given)\n\n"
        "    def close(self):\n"
        "        print('CLOSES')\n\n"
        "def pytest_claims_executor(config):\n"
        "    return Loud()\n"
    )
    out = str(claims.run("-s").stdout)
    assert out.count("TRAINS") >= 1
    assert out.count("CLOSES") == 1


def test_an_unknown_executor_is_named() -> None:
    with pytest.raises(InputError, match="executor='slurm' is not known; choose one of local, ray"):
        make_executor("slurm")


def test_threads_that_train_take_turns() -> None:
    """Training sets the process's seeds, and torch.func keeps state: side by side it failed, blaming the network."""

    def decide(_: int) -> str:
        fast, slow = (
            Condition(
                name=f"{rate}",
                network=lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Dropout(0.1), nn.Linear(4, 2)),
                loss=nn.CrossEntropyLoss(),
                data=Arrays(np.eye(4), np.arange(4) % 2),
                optimizer=Adam(learning_rate=rate),
                target=Loss().at_most(0.5),
                budget=60,
            )
            for rate in (0.05, 0.03)
        )
        return str(evaluate(faster(fast, than=slow), max_replicas=16))

    with ThreadPoolExecutor(2) as threads:
        assert len({decide(0), *threads.map(decide, range(4))}) == 1
