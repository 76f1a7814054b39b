"""Launches on their way: which begin, which are over, which were lost, and what they failed of."""

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

TRIES = 3  # of a launch whose worker or node was lost
ENDS_WITHIN = 5.0  # seconds until a task that was cancelled is killed
LOST = (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.ObjectLostError)


@dataclass(frozen=True, eq=False)
class _Launch:
    """A launch on its way.

    Attributes:
        jobs: its blocks.
        look: of which look they are.
        tries: how often it was begun and lost.
    """

    jobs: Sequence[BlockJob]
    look: int
    tries: int = 0


class TaskScheduler:
    """All launches of a call.

    Args:
        looks: what is needed first, next, and so on; asked for only where there is room.
        sender: begins a launch.
        progress: told what was trained.

    Attributes:
        failure: what a launch failed of that failed by itself. Only what looks before its own need begins after it, for
            these may decide.
    """

    def __init__(
        self, looks: Iterator[Sequence[BlockJob]], sender: TaskSubmitter, progress: ProgressCallback | None
    ) -> None:
        self.looks: Iterator[Sequence[BlockJob]] | None = looks
        self.sender, self.progress = sender, progress
        self.drawn = 0
        self.waiting: deque[_Launch] = deque()
        self.running: dict[Any, _Launch] = {}
        self.failure: LossactError | None = None
        self.failed_look = 0

    def keep_busy(self, slots: int) -> bool:
        """Begin as many launches as there is room for; whether any is under way, waits, or is still to be asked for."""
        while True:
            if not self.waiting:
                if len(self.running) >= slots or not self._draw(slots):
                    break
            elif len(self.running) >= slots * (2 if self._is_needed(self.waiting[0]) else 1):
                break
            else:
                launch = self.waiting.popleft()
                self.running[self.sender.begin(launch.jobs)] = launch
        return bool(self.running or self.waiting or self.looks is not None)

    def _draw(self, slots: int) -> bool:
        """Ask for the next look; whether there was one."""
        jobs = None if self.looks is None else next(self.looks, None)
        if jobs is None:
            self.looks = None
            return False
        found = group_blocks(jobs, self.sender.compute_config, slots=max(1, slots))
        self.waiting.extend(_Launch(launch, self.drawn) for launch in found)
        self.drawn += 1
        return True

    def _is_needed(self, launch: _Launch) -> bool:
        """Whether it belongs to the look that is waited for, and not to one that may never be taken."""
        return launch.look <= min((one.look for one in self.running.values()), default=launch.look)

    def arrivals(self, *, within: float) -> Iterator[TrainedBlock]:
        """Wait until some launch is over, at most so many seconds, and yield the blocks of all that are."""
        under_way = list(self.running)
        if not under_way:
            time.sleep(within)
            return
        done, _ = ray.wait(under_way, num_returns=len(under_way), timeout=0)
        for reference in done or ray.wait(under_way, num_returns=1, timeout=within)[0]:
            launch = self.running.pop(reference)
            try:
                results = ray.get(reference)
            except exceptions.RayError as error:
                self._lose(launch, error)
                continue
            if self.progress is not None:
                left = sum(len(one.jobs) for one in [*self.waiting, *self.running.values()])
                self.progress(Progress(launch.jobs, f"trained; {left} blocks to go", not left))
            for (trials, curves), (condition, block) in zip(results, launch.jobs, strict=True):
                yield TrainedBlock(condition, block * condition.block, trials, curves)

    def _lose(self, launch: _Launch, error: exceptions.RayError) -> None:
        """Begin a launch again where its worker or node went, which says nothing about its blocks."""
        if self.failure is not None and launch.look >= self.failed_look:
            return
        again = replace(launch, tries=launch.tries + 1)
        if isinstance(error, LOST) and again.tries < TRIES:
            self.waiting.appendleft(again)
            return
        self.failure, self.failed_look = _failure(error, again), launch.look
        self.waiting = deque(one for one in self.waiting if one.look < launch.look)
        self.looks = None

    def cancel(self, *, reachable: bool) -> None:
        """End what is under way: by an interrupt, and what does not heed it with its process.

        Args:
            reachable: whether there is anybody to tell.
        """
        if not self.running or not reachable:
            return
        with suppress(exceptions.RayError, ConnectionError):
            for reference in self.running:
                ray.cancel(reference)
            under_way = list(self.running)
            _, left = ray.wait(under_way, num_returns=len(under_way), timeout=ENDS_WITHIN)
            for reference in left:
                ray.cancel(reference, force=True)


def _failure(error: exceptions.RayError, launch: _Launch) -> LossactError:
    cause = getattr(error, "cause", None)
    if isinstance(cause, LossactError):
        return cause
    if isinstance(error, exceptions.OutOfMemoryError):
        why = "ran out of memory, and Ray ended it; train less at once on a node, or on a larger one"
    elif isinstance(error, LOST):
        why = f"its process ended {launch.tries} times without a word, or its node was lost"
    else:
        why = str(error)
    return TrainingError(f"{describe(launch.jobs)}: {why}")
