"""The executor that trains in this process."""

import os
import threading
from collections.abc import Generator, Iterator, Sequence

from lossact.executors.base import Executor
from lossact.running.jobs import BlockJob, ProgressCallback, TrainedBlock
from lossact.training.compute_config import ComputeConfig

# Training sets the seeds of the process, and torch.func and Lightning keep state there: threads take turns.
_turn = threading.RLock()


class LocalExecutor(Executor):
    """Train in this process, one group of blocks after the other; executors of other threads wait for each group."""

    is_remote = False

    def train(
        self,
        looks: Iterator[Sequence[BlockJob]],
        seed: int,
        compute_config: ComputeConfig,
        progress: ProgressCallback | None,
    ) -> Generator[TrainedBlock, None, None]:
        """Train blocks and yield each when its group is done."""
        from lossact.running.runner import train_jobs

        for jobs in looks:
            blocks = train_jobs(jobs, seed, compute_config, progress)
            while True:
                with _turn:
                    block = next(blocks, None)
                if block is None:
                    break
                yield block


def _after_fork() -> None:
    """Make the lock anew: a forked process has none of the threads that could hold it."""
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
