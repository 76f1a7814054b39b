"""The scheduler of Ray tasks: it starts tasks, collects their blocks, and runs lost ones again."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import exceptions

from lossact.errors import LossactError, TrainingError
from lossact.executors.ray.submitter import TaskSubmitter
from lossact.running.jobs import BlockJob, Progress, ProgressCallback, TrainedBlock, describe
from lossact.running.runner import group_blocks

ATTEMPTS = 3  # at a task whose worker or node was lost
ENDS_WITHIN = 5.0  # seconds until a cancelled task is killed
LOST = (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.ObjectLostError)


@dataclass(frozen=True, eq=False)
class _Task:
    """Blocks that one Ray task trains.

    Attributes:
        jobs: the blocks.
        look: the number of the look that needs them.
        losses: how often the task was started and lost.
    """

    jobs: Sequence[BlockJob]
    look: int
    losses: int = 0


class TaskScheduler:
    """All tasks of one call of RayExecutor.train.

    Args:
        looks: the blocks of the first look, of the look after it, and so on; drawn only when there is room.
        submitter: starts a task.
        progress: called when a task is done.

    Attributes:
        failure: the error of a task that failed by itself, else None. After it, only tasks of earlier looks are
            started, because these looks may decide the claim.
    """

    def __init__(
        self, looks: Iterator[Sequence[BlockJob]], submitter: TaskSubmitter, progress: ProgressCallback | None
    ) -> None:
        self.looks: Iterator[Sequence[BlockJob]] | None = looks
        self.submitter, self.progress = submitter, progress
        self.n_looks_drawn = 0
        self.waiting: deque[_Task] = deque()
        self.running: dict[Any, _Task] = {}
        self.failure: LossactError | None = None
        self.failed_look = 0

    def keep_busy(self, slots: int) -> bool:
        """Start as many tasks as there is room for.

        Args:
            slots: how many tasks the cluster can run at once.

        Returns:
            whether any task runs or waits, or may still be drawn.
        """
        while True:
            if not self.waiting:
                if len(self.running) >= slots or not self._draw_look(slots):
                    break
            elif len(self.running) >= slots * (2 if self._is_needed(self.waiting[0]) else 1):
                break
            else:
                task = self.waiting.popleft()
                self.running[self.submitter.submit(task.jobs)] = task
        return bool(self.running or self.waiting or self.looks is not None)

    def _draw_look(self, slots: int) -> bool:
        """Group the blocks of the next look into tasks; return whether there was one."""
        jobs = None if self.looks is None else next(self.looks, None)
        if jobs is None:
            self.looks = None
            return False
        groups = group_blocks(jobs, self.submitter.compute_config, slots=max(1, slots))
        self.waiting.extend(_Task(group, self.n_looks_drawn) for group in groups)
        self.n_looks_drawn += 1
        return True

    def _is_needed(self, task: _Task) -> bool:
        """Whether a task belongs to the look that is waited for, and not to a later one that may never be taken."""
        return task.look <= min((other.look for other in self.running.values()), default=task.look)

    def finished_blocks(self, *, within: float) -> Iterator[TrainedBlock]:
        """Wait until a task is done, and yield the blocks of all tasks that are.

        Args:
            within: the longest wait, in seconds.
        """
        references = list(self.running)
        if not references:
            time.sleep(within)
            return
        done, _ = ray.wait(references, num_returns=len(references), timeout=0)
        for reference in done or ray.wait(references, num_returns=1, timeout=within)[0]:
            task = self.running.pop(reference)
            try:
                results = ray.get(reference)
            except exceptions.RayError as error:
                self._handle_failure(task, error)
                continue
            if self.progress is not None:
                n_left = sum(len(other.jobs) for other in [*self.waiting, *self.running.values()])
                self.progress(Progress(task.jobs, f"trained; {n_left} blocks to go", not n_left))
            for (trials, curves, reason), (condition, block) in zip(results, task.jobs, strict=True):
                yield TrainedBlock(condition, block * condition.block, trials, curves, one_at_a_time=reason)

    def _handle_failure(self, task: _Task, error: exceptions.RayError) -> None:
        """Start a task again where its worker or node was lost, which says nothing about its blocks; else fail."""
        if self.failure is not None and task.look >= self.failed_look:
            return
        lost = replace(task, losses=task.losses + 1)
        if isinstance(error, LOST) and lost.losses < ATTEMPTS:
            self.waiting.appendleft(lost)
            return
        self.failure, self.failed_look = _describe_failure(error, lost), task.look
        self.waiting = deque(other for other in self.waiting if other.look < task.look)
        self.looks = None

    def cancel(self, *, reachable: bool) -> None:
        """Interrupt running tasks, and kill those that do not end.

        Args:
            reachable: whether the head of the cluster answers.
        """
        if not self.running or not reachable:
            return
        with suppress(exceptions.RayError, ConnectionError):
            for reference in self.running:
                ray.cancel(reference)
            references = list(self.running)
            _, still_running = ray.wait(references, num_returns=len(references), timeout=ENDS_WITHIN)
            for reference in still_running:
                ray.cancel(reference, force=True)


def _describe_failure(error: exceptions.RayError, task: _Task) -> LossactError:
    cause = getattr(error, "cause", None)
    if isinstance(cause, LossactError):
        return cause
    if isinstance(error, exceptions.OutOfMemoryError):
        why = "ran out of memory, and Ray ended it; train less at once on a node, or on a larger one"
    elif isinstance(error, LOST):
        why = f"its process ended {task.losses} times without a word, or its node was lost"
    else:
        why = str(error)
    return TrainingError(f"{describe(task.jobs)}: {why}")
