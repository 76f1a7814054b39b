"""Updates recorded once and replayed: on a GPU a CUDA graph, so that nothing returns to Python between them.

A recording holds addresses of tensors, and whatever Python computed while it was made. So what changes from one replay
to the next lies in tensors that stay: the weights, the number of the first update, the batches.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lossact.replicas.named_tensors import recording
from lossact.replicas.population import Population

LENGTH = 10  # updates of a recording
MOST_KINDS = 8  # recordings kept; each holds the memory of one pass
CHECKED_UPDATES = 2
CHECKED_REPLAYS = 2
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}  # relative, of losses

Replay = Callable[[], None]
Record = Callable[[Callable[[], None]], Replay]


class Updates(NamedTuple):
    """What a few updates are taken on.

    Attributes:
        first: updates that were applied before; a () int64 tensor where the updates are recorded.
        measured: of each update, whether the criterion is measured before it.
        batches: indices of each update's examples, (replicas, size) each; None for all examples.
        latest: the loss and metric (replicas,) that were measured last.
    """

    first: int | Tensor
    measured: tuple[bool, ...]
    batches: Sequence[Tensor] | None
    latest: tuple[Tensor, Tensor]


Take = Callable[[Updates], tuple[Tensor, Tensor]]


def record_cuda_graph(run: Callable[[], None]) -> Replay:
    """Record what a function does on the GPU; what is returned does it again."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        run()
    return graph.replay


@dataclass(frozen=True)
class _Recording:
    """A recording, the tensors that it reads its updates from, and those that it writes."""

    updates: Updates
    results: tuple[Tensor, Tensor]
    replay: Replay

    def run(self, updates: Updates) -> tuple[Tensor, Tensor]:
        """Replay it for other updates."""
        assert isinstance(self.updates.first, Tensor)
        self.updates.first.fill_(updates.first)
        for held, given in zip(self.updates.batches or (), updates.batches or (), strict=True):
            held.copy_(given)
        for held, given in zip(self.updates.latest, updates.latest, strict=True):
            held.copy_(given)
        self.replay()
        losses, metrics = (result.clone() for result in self.results)
        return losses, metrics


class RecordedUpdates:
    """Updates of a population, recorded as they come again.

    The first updates of a kind are taken plainly, which also sets up what is set up once; the second time they are
    recorded. The first replays are compared with plain updates; where they differ, all goes on plainly.

    Args:
        population: what moves.
        take: takes updates.
        record: records what a function does, without doing it.
    """

    def __init__(self, population: Population, take: Take, record: Record = record_cuda_graph) -> None:
        self.population, self.take, self.record = population, take, record
        self.held = population.moving  # where recordings find and leave them
        self.recordings: dict[Hashable, _Recording] = {}
        self.seen: Counter[Hashable] = Counter()
        self.works = True

    def run(self, updates: Updates) -> tuple[Tensor, Tensor]:
        """Take updates, by a recording where there is one or one is worth making.

        Returns:
            loss and metric before each update, (updates, replicas).
        """
        kind = updates.measured
        self.seen[kind] += 1
        if not self.works or self.seen[kind] == 1:
            return self.take(updates)
        self._settle()
        if kind not in self.recordings and len(self.recordings) < MOST_KINDS:
            self._make(kind, updates)
        if kind not in self.recordings:
            return self.take(updates)
        if self.seen[kind] > 1 + CHECKED_REPLAYS:
            return self.recordings[kind].run(updates)
        return self._compared(kind, updates)

    def _settle(self) -> None:
        """Write the population's tensors to where recordings find them."""
        for held, moved in zip(self.held, self.population.moving, strict=True):
            if moved is not held:
                held.copy_(moved)
        self.population.hold(self.held)

    def _make(self, kind: Hashable, updates: Updates) -> None:
        loss, metric = updates.latest
        held = Updates(
            torch.tensor(0, device=loss.device),
            updates.measured,
            None if updates.batches is None else [batch.clone() for batch in updates.batches],
            (loss.clone(), metric.clone()),
        )
        results: list[Tensor] = []

        def run() -> None:
            with recording():
                results.extend(self.take(held))
                self._settle()

        try:
            replay = self.record(run)
        except RuntimeError as error:
            self._go_on_plainly(f"cannot be recorded ({str(error).splitlines()[0]})")
        else:
            self.recordings[kind] = _Recording(held, (results[0], results[1]), replay)
        finally:
            self.population.hold(self.held)

    def _compared(self, kind: Hashable, updates: Updates) -> tuple[Tensor, Tensor]:
        """Replay a recording, and compare its first losses with those of plain updates from the same start."""
        start = [tensor.clone() for tensor in self.held]
        n = CHECKED_UPDATES
        few = updates._replace(
            measured=updates.measured[:n], batches=None if updates.batches is None else updates.batches[:n]
        )
        expected, _ = self.take(few)
        self._go_back_to(start)
        losses, metrics = self.recordings[kind].run(updates)
        tolerance = TOLERANCE.get(expected.dtype, TOLERANCE[torch.float32])
        if torch.allclose(losses[:n], expected, rtol=tolerance, atol=tolerance, equal_nan=True):
            return losses, metrics
        self._go_back_to(start)
        self._go_on_plainly("give other losses when they are recorded")
        return self.take(updates)

    def _go_back_to(self, start: Sequence[Tensor]) -> None:
        for held, kept in zip(self.held, start, strict=True):
            held.copy_(kept)
        self.population.hold(self.held)

    def _go_on_plainly(self, reason: str) -> None:
        self.works = False
        self.recordings.clear()
        warnings.warn(f"updates {reason}; training goes on without, more slowly", stacklevel=2)
