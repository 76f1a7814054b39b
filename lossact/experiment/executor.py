"""Where blocks are trained: the interface of what carries them, and this process as the first to do so."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from lossact.checks import check_choice
from lossact.experiment.condition import Trainable
from lossact.experiment.key import Setting
from lossact.experiment.trials import Curves, Trials

Job = tuple[Trainable, int]  # a condition and the index of a block of it
Told = Callable[["Progress"], None]


@dataclass(frozen=True, eq=False)
class TrainedBlock:
    """One block as it comes from training; curves hold the replicas below the number that is kept."""

    condition: Trainable
    first_replica: int
    trials: Trials
    curves: Curves


@dataclass(frozen=True)
class Progress:
    """How far training is.

    Attributes:
        launch: what trains together.
        text: where it is, in words.
        finished: whether nothing follows for now.
    """

    launch: Sequence[Job]
    text: str
    finished: bool

    def __str__(self) -> str:
        return f"training {named(self.launch)}: {self.text}"


class Executor(ABC):
    """Trains blocks, in this process or elsewhere.

    Blocks are independent of each other and repeatable: what is lost can be trained again, in any order, beside any
    others, and gives the same bits on equal hardware. What comes back is stored by the caller alone.

    Attributes:
        elsewhere: whether other machines may train, so that this one need not have what a setting asks for.
    """

    elsewhere = True

    @abstractmethod
    def train(
        self, looks: Iterator[Sequence[Job]], seed: int, setting: Setting, progress: Told | None
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


class LocalExecutor(Executor):
    """Trains in this process, launch after launch."""

    elsewhere = False

    def train(
        self, looks: Iterator[Sequence[Job]], seed: int, setting: Setting, progress: Told | None
    ) -> Generator[TrainedBlock, None, None]:
        """Train blocks and yield each when its launch is done."""
        from lossact.experiment.runner import train_jobs

        for jobs in looks:
            yield from train_jobs(jobs, seed, setting, progress)


def make_executor(name: str) -> Executor:
    """The executor of that name: "local" or "ray".

    Raises:
        InputError: there is none of that name, or it needs what is not installed.
    """
    check_choice("executor", name, ("local", "ray"))
    if name == "local":
        return LocalExecutor()
    from lossact.experiment.on_ray import RayExecutor

    return RayExecutor()


def replicas_of(launch: Sequence[Job]) -> tuple[int, int]:
    """First and last index of any replica in it, inclusive."""
    size = launch[0][0].block
    blocks = [block for _, block in launch]
    return min(blocks) * size, (max(blocks) + 1) * size - 1


def named(launch: Sequence[Job]) -> str:
    """What trains, in words."""
    first, *others = dict.fromkeys(condition for condition, _ in launch)
    low, high = replicas_of(launch)
    return f"{first}{f' and {len(others)} more' if others else ''}, replicas {low} to {high}"
