"""Updates recorded once and replayed: on a GPU a CUDA graph, so that nothing returns to Python between them.

A recording holds addresses of tensors, and whatever Python computed while it was made. So what changes from one replay
to the next lies in tensors that stay: the weights, the number of the first update, the batches.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lossact.checks import ran_out_of_memory
from lossact.replicas.named_tensors import is_close, recording
from lossact.replicas.population import Population

LENGTH = 5  # updates of a recording
MOST_KINDS = 8  # recordings kept
CHECKED_REPLAYS = 2

Replay = Callable[[], None]
Record = Callable[[Callable[[], None]], Replay]


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


class CudaGraphs:
    """Records CUDA graphs that share their memory, for they never run at the same time."""

    may_record = True  # of the process: what fails in a recording leaves CUDA's allocator in doubt

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], None]) -> Replay:
        """Record what a function does on the GPU; what is returned does it."""
        if not CudaGraphs.may_record:
            raise RuntimeError("an earlier recording failed in this process")
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                run()
        except RuntimeError as error:
            CudaGraphs.may_record = ran_out_of_memory(error)
            torch.cuda.set_stream(stream)  # a recording that fails leaves its own behind
            raise
        return graph.replay


@contextmanager
def without_waiting(device: torch.device) -> Iterator[None]:
    """Raise RuntimeError where what runs within waits for a GPU, as nothing that is recorded may."""
    if device.type != "cuda":
        yield
        return
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)


@dataclass(frozen=True)
class _Recording:
    """A recording, the tensors that it reads its updates from, and those that it writes."""

    updates: Updates
    results: tuple[Tensor, Tensor]
    replay: Replay

    def run(self, updates: Updates) -> tuple[Tensor, Tensor]:
        """Replay it for other updates."""
        held = self.updates
        assert isinstance(held.first, Tensor)
        held.first.fill_(updates.first)
        if isinstance(held.batches, Tensor) and isinstance(updates.batches, Tensor):
            held.batches.copy_(updates.batches)
        for tensor, given in zip(held.latest, updates.latest, strict=True):
            tensor.copy_(given)
        self.replay()
        losses, metrics = (result.clone() for result in self.results)
        return losses, metrics


class RecordedUpdates:
    """Updates of a population, recorded as they come again.

    Updates are of one kind where the same of them are measured. The first of a kind are taken plainly, which also sets
    up what is set up once. The second time they are recorded. The first replays are compared with plain updates: where
    they differ, all goes on plainly.

    Args:
        population: what moves.
        take: takes updates.
        record: records what a function does, without doing it.

    Attributes:
        held: the population's tensors, where recordings find and leave them; none before the first recording, for an
            optimiser may make its state in its first step.
        recordings: by kind.
        works: whether updates are still recorded.
    """

    def __init__(self, population: Population, take: Take, record: Record) -> None:
        self.population, self.take, self.record = population, take, record
        self.held: tuple[Tensor, ...] = ()
        self.recordings: dict[Hashable, _Recording] = {}
        self.works = True
        self._seen: Counter[Hashable] = Counter()

    def run(self, updates: Updates) -> tuple[Tensor, Tensor]:
        """Take updates, by a recording where there is one or one is worth making.

        Returns:
            loss and metric before each update, (updates, replicas).
        """
        kind = updates.measured
        self._seen[kind] += 1
        known = kind in self.recordings or len(self.recordings) < MOST_KINDS
        if not self.works or not known or self._seen[kind] == 1:
            return self.take(updates)
        self._settle()
        if self._seen[kind] > 1 + CHECKED_REPLAYS:
            return self.recordings[kind].run(updates)
        return self._compared(kind, updates)

    def _settle(self) -> None:
        """Write the population's tensors to where recordings find them."""
        self.held = self.held or self.population.state_tensors
        for held, moved in zip(self.held, self.population.state_tensors, strict=True):
            if moved is not held:
                held.copy_(moved)
        self.population.hold(self.held)

    def _compared(self, kind: Hashable, updates: Updates) -> tuple[Tensor, Tensor]:
        """Take updates plainly and, from the same start, by a recording, which is made where there is none.

        Returns:
            what the recording gave, or what plain updates give where it cannot be made or gives something else.
        """
        start = [tensor.clone() for tensor in self.held]
        try:
            with without_waiting(self.held[0].device):
                expected = self.take(updates)
                self._settle()
            state = [tensor.clone() for tensor in self.held]
            self._go_back_to(start)
            if kind not in self.recordings:
                self.recordings[kind] = self._recorded(updates)
            losses, metrics = self.recordings[kind].run(updates)
        except RuntimeError as error:
            self._go_back_to(start)
            if ran_out_of_memory(error):
                raise
            self._go_on_plainly(f"cannot be recorded as a CUDA graph ({str(error).splitlines()[0]})")
            return self.take(updates)
        if all(map(is_close, (losses, metrics, *self.held), (*expected, *state))):
            return losses, metrics
        self._go_back_to(start)
        self._go_on_plainly("give other numbers when they are recorded as a CUDA graph")
        return self.take(updates)

    def _recorded(self, updates: Updates) -> _Recording:
        loss, metric = updates.latest
        batches = updates.batches.clone() if isinstance(updates.batches, Tensor) else None
        first = torch.tensor(0, device=loss.device)
        held = Updates(first, updates.measured, batches, (loss.clone(), metric.clone()))
        results: list[Tensor] = []

        def run() -> None:
            with recording():
                results.extend(self.take(held))
                self._settle()

        try:
            replay = self.record(run)
        finally:
            self.population.hold(self.held)
        return _Recording(held, (results[0], results[1]), replay)

    def _go_back_to(self, start: Sequence[Tensor]) -> None:
        for held, kept in zip(self.held, start, strict=True):
            held.copy_(kept)
        self.population.hold(self.held)

    def _go_on_plainly(self, reason: str) -> None:
        self.works = False
        self.recordings.clear()
        warnings.warn(
            f"updates {reason}; training goes on without, more slowly. A network or loss that looks at numbers in "
            "Python (.item(), a branch on a value) or makes tensors on the CPU is the usual reason",
            stacklevel=2,
        )
