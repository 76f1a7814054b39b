"""The executor that trains in this process."""

from collections.abc import Generator, Iterator, Sequence

from lossact.executors.base import Executor
from lossact.running.jobs import BlockJob, ProgressCallback, TrainedBlock
from lossact.training.compute_config import ComputeConfig


class LocalExecutor(Executor):
    """Train in this process, one group of blocks after the other."""

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
            yield from train_jobs(jobs, seed, compute_config, progress)
