"""The interface of everything that trains blocks."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence

from lossact.running.jobs import BlockJob, ProgressCallback, TrainedBlock
from lossact.training.compute_config import ComputeConfig


class Executor(ABC):
    """Trains blocks, in this process or elsewhere.

    Blocks are independent of each other and repeatable: what is lost can be trained again, in any order, beside any
    others, and gives the same bits on equal hardware. What comes back is stored by the caller alone.

    Attributes:
        elsewhere: whether other machines may train, so that this one need not have what a setting asks for.
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

        Closing the generator ends what still trains, and what waits is never begun.

        Args:
            looks: what is needed first, what is needed next if that does not decide, and so on. Each is asked for
                only where there is room to train it: the caller may stop before the next.
            seed: the experiment's.
            setting: how to compute.
            progress: told how far training is.

        Raises:
            TrainingError: a block failed by itself; the others that had begun were yielded before.
        """

    def close(self) -> None:  # noqa: B027  what has nothing to release
        """Release what training needed; called once, at the end."""
