"""The executor on the page docs/executors.md, on a queue that stands in for submitit's."""

import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lossact
from lossact import Executor, Experiment, FunctionCondition, Store
from lossact.errors import TrainingError
from tests.executors.test_executor import FAST, SLOW, verdict_by

PAGE = Path(lossact.__file__).parents[1] / "docs" / "executors.md"


class BlockJob:
    """A job that runs when it is asked whether it is done; every other time it is not."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self.run, self.asked, self.cancelled = run, 0, False
        self.verdict: Any = None
        self.error: Exception | None = None

    def done(self) -> bool:
        self.asked += 1
        if self.asked == 2:
            try:
                self.verdict = self.run()
            except ZeroDivisionError as error:
                self.error = error
        return self.asked >= 2

    def exception(self) -> Exception | None:
        return self.error

    def result(self) -> Any:
        return self.verdict

    def cancel(self) -> None:
        self.cancelled = True


class Queue:
    """What submitit.AutoExecutor is."""

    jobs: list[BlockJob]
    asked: dict[str, Any]

    def __init__(self, folder: str) -> None:
        Queue.jobs, Queue.asked = [], {}

    def update_parameters(self, **parameters: Any) -> None:
        Queue.asked |= parameters

    def submit(self, function: Callable[..., Any], *given: Any) -> BlockJob:
        sent = pickle.dumps(given)
        self.jobs.append(BlockJob(lambda: pickle.loads(pickle.dumps(function(*pickle.loads(sent))))))
        return self.jobs[-1]


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Executor:
    submitit = ModuleType("submitit")
    submitit.AutoExecutor = Queue  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "submitit", submitit)
    monkeypatch.setattr("time.sleep", lambda _: None)
    slurm = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)[0]
    page: dict[str, Any] = {}
    exec(compile(slurm, PAGE, "exec"), page)
    made: Executor = page["SlurmExecutor"]("jobs", jobs=4, timeout_min=30)
    return made


def test_it_gives_the_verdict_of_this_process(executor: Executor) -> None:
    with Store(None) as here, Store(None) as there:
        assert verdict_by(None, here).decision == verdict_by(executor, there).decision
    assert Queue.asked["timeout_min"] == 30
    assert Queue.asked["cpus_per_task"] >= 1
    assert all(job.asked == 2 for job in Queue.jobs)  # what no look needs was not begun


def fails(seed: int) -> int:
    return 1 // 0


def test_a_job_that_fails_is_named_and_the_others_are_kept(executor: Executor) -> None:
    with Store(None) as store:
        experiment = Experiment(store=store, executor=executor)
        with pytest.raises(TrainingError, match="fails, replicas 0 to 1: integer division"):
            experiment.trials([FunctionCondition(train=fails, budget=9), FAST, SLOW], 4)
        assert [store.stored_blocks(experiment.key(condition), condition.block) for condition in (FAST, SLOW)] == [
            {0, 1},
            {0, 1},
        ]
