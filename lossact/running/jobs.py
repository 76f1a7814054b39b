"""Blocks of replicas before, during and after their training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lossact.conditions.base import BaseCondition
from lossact.storage.trials import Curves, Trials

BlockJob = tuple[BaseCondition, int]  # a condition and the index of one of its blocks
ProgressCallback = Callable[["Progress"], None]


@dataclass(frozen=True, eq=False)
class TrainedBlock:
    """A trained block.

    Attributes:
        condition: what was trained.
        first_replica: the index of the block's first replica.
        trials: the outcomes of its replicas.
        curves: the learning curves of those of its replicas whose curves are kept.
        one_at_a_time: in a few words why replicas that could have been fitted together were not; empty where they were.
    """

    condition: BaseCondition
    first_replica: int
    trials: Trials
    curves: Curves
    one_at_a_time: str = ""


@dataclass(frozen=True)
class Progress:
    """The progress of training.

    Attributes:
        launch: the blocks that train together; none where this process waits.
        text: the progress in words.
        finished: whether these blocks are done.
    """

    launch: Sequence[BlockJob]
    text: str
    finished: bool

    def __str__(self) -> str:
        return f"training {describe(self.launch)}: {self.text}" if self.launch else self.text


def replica_range(launch: Sequence[BlockJob]) -> tuple[int, int]:
    """Return the first and the last index of any replica of a launch, both inclusive."""
    size = launch[0][0].block
    blocks = [block for _, block in launch]
    return min(blocks) * size, (max(blocks) + 1) * size - 1


def replicas_of(condition: BaseCondition, block: int) -> range:
    """Return the indices of a block's replicas."""
    return range(block * condition.block, (block + 1) * condition.block)


def describe(launch: Sequence[BlockJob]) -> str:
    """Return the conditions and replicas of a launch in words."""
    first_condition, *others = dict.fromkeys(condition for condition, _ in launch)
    low, high = replica_range(launch)
    return f"{first_condition}{f' and {len(others)} more' if others else ''}, replicas {low} to {high}"
