"""The unit of training: a block of replicas of a condition, on its way to its trials."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lossact.conditions.base import BaseCondition
from lossact.storage.trials import Curves, Trials

BlockJob = tuple[BaseCondition, int]  # a condition and the index of a block of it
ProgressCallback = Callable[["Progress"], None]


@dataclass(frozen=True, eq=False)
class TrainedBlock:
    """One block as it comes from training.

    Attributes:
        condition: what was trained.
        first_replica: index of its first replica.
        trials: of its replicas.
        curves: of the replicas below the number that is kept.
        one_at_a_time: in a few words why replicas that could have been fitted together were not; empty where they were.
    """

    condition: BaseCondition
    first_replica: int
    trials: Trials
    curves: Curves
    one_at_a_time: str = ""


@dataclass(frozen=True)
class Progress:
    """How far training is.

    Attributes:
        launch: what trains together.
        text: where it is, in words.
        finished: whether nothing follows for now.
    """

    launch: Sequence[BlockJob]
    text: str
    finished: bool

    def __str__(self) -> str:
        return f"training {describe(self.launch)}: {self.text}"


def replica_range(launch: Sequence[BlockJob]) -> tuple[int, int]:
    """First and last index of any replica in it, inclusive."""
    size = launch[0][0].block
    blocks = [block for _, block in launch]
    return min(blocks) * size, (max(blocks) + 1) * size - 1


def describe(launch: Sequence[BlockJob]) -> str:
    """What trains, in words."""
    first, *others = dict.fromkeys(condition for condition, _ in launch)
    low, high = replica_range(launch)
    return f"{first}{f' and {len(others)} more' if others else ''}, replicas {low} to {high}"
