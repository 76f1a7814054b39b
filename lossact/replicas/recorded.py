"""Updates of a population that are recorded and replayed, so that on a GPU nothing returns to Python between them."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from torch import Tensor

from lossact.replicas.population import Population
from lossact.replicas.recordings import Given, Record, Recordings

LENGTH = 5  # updates of a recording


class Updates(NamedTuple):
    """What a few updates are taken on.

    Attributes:
        first: updates that were applied before; a () int64 tensor where the updates are recorded.
        measured: of each update, whether the criterion is measured before it.
        batches: indices of each update's examples, (replicas, size) each; a tensor where the updates may be recorded;
            None for all examples.
        latest: the loss and metric (replicas,) that were measured last.
    """

    first: int | Tensor
    measured: tuple[bool, ...]
    batches: Iterable[Tensor] | None
    latest: tuple[Tensor, Tensor]


Take = Callable[[Updates], tuple[Tensor, Tensor]]


class RecordedUpdates(Recordings):
    """Updates of a population, recorded as they come again.

    Updates are of one kind where the same of them are measured.

    Args:
        population: what moves.
        take: takes updates.
        record: records what a function does, without doing it.

    Attributes:
        held: the population's tensors, where recordings find and leave them; none before the first recording, for an
            optimiser may make its state in its first step.
    """

    what = "updates"
    usual_reason = (
        "A network or loss that looks at numbers in Python (.item(), a branch on a value) or makes tensors on the CPU "
        "is the usual reason"
    )

    def __init__(self, population: Population, take: Take, record: Record) -> None:
        super().__init__(record)
        self.population, self.take = population, take
        self.held: tuple[Tensor, ...] = ()

    def run(self, updates: Updates) -> tuple[Tensor, Tensor]:
        """Take updates, by a recording where there is one or one is worth making.

        Args:
            updates: their batches are a tensor or None.

        Returns:
            loss and metric before each update, (updates, replicas).
        """
        assert updates.batches is None or isinstance(updates.batches, Tensor)
        batches = [] if updates.batches is None else [updates.batches]

        def function(given: Given) -> Sequence[Tensor]:
            first, loss, metric, *batches = given
            return self.take(Updates(first, updates.measured, batches[0] if batches else None, (loss, metric)))

        losses, metrics = self.call(updates.measured, function, [updates.first, *updates.latest, *batches])
        return losses, metrics

    def settle(self) -> Sequence[Tensor]:
        self.held = self.held or self.population.state_tensors
        for held, moved in zip(self.held, self.population.state_tensors, strict=True):
            if moved is not held:
                held.copy_(moved)
        self.hold()
        return self.held

    def hold(self) -> None:
        self.population.hold(self.held)
