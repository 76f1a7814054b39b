"""Functions recorded once and replayed: on a GPU a CUDA graph, so that nothing returns to Python within.

A recording holds addresses of tensors, and whatever Python computed while it was made. So what changes from one replay
to the next lies in tensors that stay.
"""

import gc
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lossact.checks import ran_out_of_memory
from lossact.replicas.named_tensors import is_close, recording

MOST_KINDS = 8  # recordings kept
CHECKED_REPLAYS = 2
OF_MEMORY = "A recording takes memory of its own, beside what training takes"

Replay = Callable[[], None]
Record = Callable[[Callable[[], None]], Replay]
Given = Sequence[Any]  # numbers and tensors
Function = Callable[[Given], Sequence[Tensor]]


class CudaGraphs:
    """Records CUDA graphs that share their memory, for they never run at the same time."""

    may_record = True  # of the process: what failed in a recording may have left more behind than is seen
    failed: ClassVar[list[torch.cuda.CUDAGraph]] = []  # torch's allocator may go on asking them

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], None]) -> Replay:
        """Record what a function does on the GPU; what is returned does it."""
        if not CudaGraphs.may_record:
            raise RuntimeError("an earlier recording failed in this process")
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with _nothing_collected(), torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                run()
        except RuntimeError as error:
            CudaGraphs.may_record = ran_out_of_memory(error)
            CudaGraphs.failed += [] if CudaGraphs.may_record else [graph]
            self._end()
            raise
        finally:
            torch.cuda.set_stream(stream)  # a recording that fails leaves its own behind
        return graph.replay

    def _end(self) -> None:
        """End a recording that failed, where torch has not: its allocator would free nothing from then on.

        Its generator, too, would draw nothing outside of a recording.
        """
        device = torch.cuda.current_device()
        with suppress(RuntimeError, AttributeError):  # it has ended, or another torch ends it otherwise
            torch._C._cuda_endAllocateToPool(device, self.pool)
            torch._C._cuda_releasePool(device, self.pool)
        generator = torch.cuda.default_generators[device]
        generator.graphsafe_set_state(generator.clone_state())


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Keep Python from collecting garbage, in which there may be a graph: none may be freed while one is recorded."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def without_waiting(device: torch.device) -> Iterator[None]:
    """Raise RuntimeError where what runs within waits for a GPU, as nothing that is recorded may."""
    if device.type != "cuda":
        yield
        return
    mode = torch.cuda.get_sync_debug_mode()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Synchronization debug mode")  # that it is a prototype
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)


@dataclass(frozen=True)
class _Recording:
    """A recording, the tensors that it reads what it is given from, and those that it writes."""

    given: Sequence[Tensor]
    results: Sequence[Tensor]
    replay: Replay

    def run(self, given: Given) -> list[Tensor]:
        """Replay it for something else."""
        for held, value in zip(self.given, given, strict=True):
            if isinstance(value, Tensor):
                held.copy_(value)
            else:
                held.fill_(value)
        self.replay()
        return [result.clone() for result in self.results]


class Recordings(ABC):
    """Calls of functions, recorded as they come again.

    Calls are of one kind where Python does the same in them. The first of a kind is a plain one, which also sets up
    what is set up once. The second is recorded. The first replays are compared with plain calls: where they differ, all
    goes on plainly.

    Args:
        record: records what a function does, without doing it.

    Attributes:
        recordings: by kind.
        works: whether calls are still recorded.
    """

    what: str  # is recorded, for a warning
    usual_reason: str  # for which it cannot be

    def __init__(self, record: Record) -> None:
        self.record = record
        self.recordings: dict[Hashable, _Recording] = {}
        self.works = True
        self._seen: Counter[Hashable] = Counter()

    @abstractmethod
    def settle(self) -> Sequence[Tensor]:
        """Write what functions change to where recordings find and leave it, and return the tensors there."""

    @abstractmethod
    def hold(self) -> None:
        """Have the tensors that `settle` returned be those that are held, whatever a call put in their place."""

    def is_replay(self, kind: Hashable) -> bool:
        """Return whether the next call of a kind is a replay that is compared with nothing."""
        return self.works and kind in self.recordings and self._seen[kind] > CHECKED_REPLAYS

    def call(self, kind: Hashable, function: Function, given: Given) -> Sequence[Tensor]:
        """Call a function, by a recording where there is one or one is worth making.

        Args:
            kind: of the call.
            function: what it computes depends on what it is given, on its kind and on what it changes.
            given: what it is called with; where it is recorded, numbers are () int64 tensors.

        Returns:
            what the function returns.
        """
        is_replay = self.is_replay(kind)
        self._seen[kind] += 1
        known = kind in self.recordings or len(self.recordings) < MOST_KINDS
        if not self.works or not known or self._seen[kind] == 1:
            return function(given)
        state = self.settle()
        if is_replay:
            return self.recordings[kind].run(given)
        return self._compared(kind, function, given, state)

    def _compared(self, kind: Hashable, function: Function, given: Given, state: Sequence[Tensor]) -> Sequence[Tensor]:
        """Call a function plainly and, from the same start, by a recording, which is made where there is none.

        Returns:
            what the recording gave, or what a plain call gives where it cannot be made or gives something else.
        """
        start = [tensor.clone() for tensor in state]
        try:
            with recording(), without_waiting(_device_of((*given, *state))):
                expected = function(given)
                self.settle()
            after = [tensor.clone() for tensor in state]
            self.go_back(state, start)
            if kind not in self.recordings:
                self.recordings[kind] = self._recorded(function, given, _device_of((*given, *state)))
            results = self.recordings[kind].run(given)
        except RuntimeError as error:
            reason = f"cannot be recorded as a CUDA graph ({str(error).splitlines()[0]})"
            usual_reason = OF_MEMORY if ran_out_of_memory(error) else self.usual_reason
        else:
            if len(results) == len(expected) and all(map(is_close, (*results, *state), (*expected, *after))):
                return results
            reason, usual_reason = "give other numbers when they are recorded as a CUDA graph", self.usual_reason
        self.go_back(state, start)
        self.go_on_plainly(reason, usual_reason)
        # Not above, where the error still holds tensors. If memory runs out here too, the launch is halved.
        return function(given)

    def _recorded(self, function: Function, given: Given, device: torch.device) -> _Recording:
        held = [value.clone() if isinstance(value, Tensor) else torch.tensor(value, device=device) for value in given]
        results: list[Tensor] = []

        def run() -> None:
            with recording():
                results.extend(function(held))
                self.settle()

        try:
            replay = self.record(run)
        finally:
            self.hold()
        return _Recording(held, results, replay)

    def go_back(self, state: Sequence[Tensor], start: Sequence[Tensor]) -> None:
        """Put back what tensors held before.

        Args:
            state: those that `settle` returned.
            start: their copies.
        """
        for held, kept in zip(state, start, strict=True):
            held.copy_(kept)
        self.hold()

    def go_on_plainly(self, reason: str, usual_reason: str) -> None:
        """Record nothing from now on, and warn."""
        self.works = False
        self.recordings.clear()
        warnings.warn(f"{self.what} {reason}; training goes on without, more slowly. {usual_reason}", stacklevel=2)


def _device_of(values: Given) -> torch.device:
    return next(value.device for value in values if isinstance(value, Tensor))
