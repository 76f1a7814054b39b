"""Steps of a LightningModule's replicas that are recorded and replayed: on a GPU a CUDA graph.

A recording holds what Python computed while it was made. So steps are recorded only where they read neither the Trainer
nor the index of their batch. What else changes by itself, such as the time, is found where steps are compared with
those of one module: at the first batch of each epoch and after 1, 2, 4, 8, … batches.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils import _pytree as pytree

from lossact.replicas.draws import Moment
from lossact.replicas.recordings import Given, Record, Recordings
from lossact.training.epoch_ends import EpochEnd
from lossact.training.stackable import NotStackableError
from lossact.training.stacked_metrics import MetricCalls

ALWAYS_READ = {
    "__class__", "__new__", "__init__", "__init_subclass__", "__subclasshook__", "__getattribute__", "__del__",
    "__doc__", "__dir__", "__reduce__", "__reduce_ex__", "__sizeof__",
}  # fmt: skip
# What a step may end in where it got what is no number.
FAILURES = (TypeError, ValueError, LookupError, AttributeError, AssertionError, NotStackableError)
NO_TENSOR = torch.empty(0)

Result = TypeVar("Result")
Step = Callable[[Any, bool, Any, Moment], Result]


class ReadsPositionError(Exception):
    """A step reads where in the fit it is; the message says what the steps do."""


class Unread:
    """Stands where a step might read where in the fit it is, and raises ReadsPositionError where it does.

    Whatever is done with it reads it, but for `is`, `type` and `id`.

    Args:
        name: of what would be read.
    """

    def __init__(self, name: str) -> None:
        vars(self).update(name=name, was_read=False)

    def __getattr__(self, _: str) -> NoReturn:
        vars(self)["was_read"] = True
        raise ReadsPositionError(f"they read {vars(self)['name']}")

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # isinstance asks for it
        return self.__getattr__("__class__")


def _refuse(unread: Unread, *_: Any) -> NoReturn:
    unread.__getattr__("")


for _name in {*dir(int), *dir(tuple)} - ALWAYS_READ:
    if _name.startswith("__"):
        setattr(Unread, _name, _refuse)


@dataclass(frozen=True)
class _Noted:
    """What Python noted in a step, which replays do not run.

    Attributes:
        structure: of what the step returned.
        calls: of metrics, without their tensors.
        appended: to lists.
    """

    structure: Any
    calls: Any
    appended: Any


class RecordedSteps(Recordings):
    """Steps of a LightningModule's replicas, recorded as their batches come again.

    Steps are of one kind where they have the same name and batches of the same shapes.

    Args:
        template: runs the steps of all replicas.
        buffers: of all replicas, which steps change in place.
        metric_calls, epoch_end: where the template's steps leave what they call and append.
        record: records what a function does, without doing it.
    """

    what = "steps of a LightningModule"
    usual_reason = (
        "Steps that read the Trainer or batch_idx, look at numbers in Python (.item(), a branch on a value) or make "
        "tensors on the CPU are the usual reason"
    )

    def __init__(
        self,
        template: LightningModule,
        buffers: Sequence[Tensor],
        metric_calls: MetricCalls,
        epoch_end: EpochEnd,
        record: Record,
    ) -> None:
        super().__init__(record)
        self.buffers, self.metric_calls, self.epoch_end = buffers, metric_calls, epoch_end
        self._parts = [part for part in template.modules() if isinstance(part, LightningModule)]
        self._noted: dict[Hashable, _Noted] = {}

    def settle(self) -> Sequence[Tensor]:
        return self.buffers

    def hold(self) -> None:
        pass  # steps write into the buffers that are there

    def run(
        self, name: Hashable, step: Step[Result], batch: Any, shared: bool, batch_idx: int, moment: Moment
    ) -> Result:
        """Run a step of all replicas, by a recording where there is one or one is worth making.

        Args:
            name: of the step.
            step: takes the batch, whether it is shared, its index and the moment; returns tensors and logs.
            batch: as the Trainer gives it.
            shared: whether all replicas share it.
            batch_idx: its index.
            moment: of the step.

        Returns:
            what the step returns.
        """
        leaves, structure = pytree.tree_flatten(batch)
        if not self.works or not leaves or not all(isinstance(leaf, Tensor) for leaf in leaves):
            return step(batch, shared, batch_idx, moment)
        kind = (name, shared, str(structure), tuple((leaf.shape, leaf.dtype) for leaf in leaves))

        def function(given: Given) -> list[Tensor]:
            update, *held = given
            self.epoch_end.begin_step()
            with self._nothing_read() as index:
                returned = step(pytree.tree_unflatten(held, structure), shared, index, replace(moment, batch=update))
            results, of_returned = pytree.tree_flatten(returned)
            calls = pytree.tree_map(_without_tensor, self.metric_calls.latest)
            self._noted[kind] = _Noted(of_returned, calls, self.epoch_end.latest)
            return results

        start = self.buffers if self.is_replay(kind) else [buffer.clone() for buffer in self.buffers]
        try:
            results = self.call(kind, function, [moment.batch, *leaves])
        except ReadsPositionError as error:
            self.go_back(self.buffers, start)
            self.go_on_plainly(f"cannot be recorded as a CUDA graph ({error})", self.usual_reason)
            self.epoch_end.begin_step()
            return step(batch, shared, batch_idx, moment)
        noted = self._noted[kind]
        self.metric_calls.latest, self.epoch_end.latest = noted.calls, noted.appended
        returned: Result = pytree.tree_unflatten(list(results), noted.structure)
        return returned

    @contextmanager
    def _nothing_read(self) -> Iterator[Unread]:
        """Hide from steps where in the fit they are; what is yielded stands for the index of a batch.

        Raises:
            ReadsPositionError: they look for it.
        """
        trainer, index = Unread("the Trainer"), Unread("batch_idx")
        trainers = [vars(part)["_trainer"] for part in self._parts]
        for part in self._parts:
            vars(part)["_trainer"] = trainer
        try:
            yield index
        except FAILURES as error:
            raise ReadsPositionError(f"they end in {type(error).__name__} without batch_idx") from error
        finally:
            for part, held in zip(self._parts, trainers, strict=True):
                vars(part)["_trainer"] = held
            for unread in (trainer, index):  # whatever the step's own code made of the error
                if vars(unread)["was_read"]:
                    raise ReadsPositionError(f"they read {vars(unread)['name']}")


def _without_tensor(value: Any) -> Any:
    return NO_TENSOR if isinstance(value, Tensor) else value
