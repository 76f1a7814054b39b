"""The interface of executors, which train blocks of replicas."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence

from lossact.running.jobs import BlockJob, ProgressCallback, TrainedBlock
from lossact.training.compute_config import ComputeConfig


class Executor(ABC):
    """Train blocks, in this process or on other machines.

    Blocks are independent of each other and repeatable: a lost block can be trained again, in any order and beside any
    other blocks, with the same bits on equal hardware. Only the caller stores the trials.

    Attributes:
        is_remote: whether other machines may train, so that this one need not have the device that is asked for.
    """

    is_remote = True

    @abstractmethod
    def train(
        self,
        looks: Iterator[Sequence[BlockJob]],
        seed: int,
        compute_config: ComputeConfig,
        progress: ProgressCallback | None,
    ) -> Generator[TrainedBlock, None, None]:
        """Train blocks and yield each when it is done, in any order.

        Closing the generator cancels the blocks that are training, and blocks that wait are never started.

        Args:
            looks: the blocks of the first look, of the look after it, and so on. Ask for the next one only when there
                is room to train it: the caller may close the generator before.
            seed: the experiment's, >= 0.
            compute_config: how to compute.
            progress: called with the progress of training; None for nobody.

        Yields:
            each block that was trained.

        Raises:
            TrainingError: a block failed by itself; the other blocks that had started were yielded before.
        """

    def close(self) -> None:  # noqa: B027  executors without resources need not override it
        """Release the executor's resources; called once, at the end."""
