"""Schedules of a user's own: a function of the update, a scheduler of torch's."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_number, check_signature, checked_arguments
from lossact.conditions.schedules import Schedule
from lossact.errors import InputError
from lossact.fingerprint import fingerprint


class FingerprintedSchedule(Schedule):
    """A schedule that is told from others by the code of its function."""

    _content: dict[str, Any]

    def content(self) -> dict[str, Any]:
        return self._content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self.content() == other.content()

    def __hash__(self) -> int:
        return hash(str(self.content()))


@partial(checked_arguments, written_as="schedule")
class FunctionSchedule(FingerprintedSchedule):
    """What a function of the update returns.

    Args:
        function: updates that were applied before, 0 to budget - 1 -> value.

    Raises:
        InputError: the function holds values that cannot be fingerprinted.

    Example:
        >>> schedule(lambda update: 0.1 / (1 + update)).values(2).tolist()
        [0.1, 0.05]
    """

    kind: ClassVar[str] = "function"

    def __init__(self, function: Callable[[int], float]) -> None:
        if not callable(function):
            raise InputError(f"schedule({function!r}): give a function of the update, as lambda u: 0.1 / (u + 1)")
        check_signature("schedule", function, like="schedule(update)", values=1)
        self.function = function
        self._content = {"kind": self.kind, **fingerprint(function, "schedule")}

    def values(self, budget: int) -> NDArray[np.float64]:
        values = self._called(budget)
        if not np.array_equal(values, self._called(budget), equal_nan=True):
            raise InputError(
                f"{self} returns another number when it is called again; make it a function of the update alone"
            )
        return values

    def _called(self, budget: int) -> NDArray[np.float64]:
        values = np.empty(budget)
        for update in range(budget):
            try:
                value = self.function(update)
            except Exception as error:
                raise InputError(f"{self} failed for update {update}: {type(error).__name__}: {error}") from error
            try:
                values[update] = float(value)
            except (TypeError, ValueError, OverflowError):
                raise InputError(f"{self} returned {value!r} for update {update}; a number is needed") from None
        return values

    def __repr__(self) -> str:
        return f"schedule({getattr(self.function, '__qualname__', type(self.function).__name__)})"


@partial(checked_arguments, written_as="torch_schedule")
class TorchSchedule(FingerprintedSchedule):
    """The learning rates of a scheduler of torch.optim.lr_scheduler, one step an update.

    Args:
        start: the learning rate that the scheduler is given, > 0.
        make: optimizer -> scheduler.

    Raises:
        InputError: `make` returns no scheduler, or one that watches a metric.

    Example:
        >>> from torch.optim.lr_scheduler import StepLR
        >>> torch_schedule(0.1, lambda optimizer: StepLR(optimizer, step_size=2)).values(3).round(3).tolist()
        [0.1, 0.1, 0.01]
    """

    kind: ClassVar[str] = "torch"

    def __init__(self, start: float, make: Callable[..., Any]) -> None:
        check_number("start", start, above=0, hint=0.1)
        if not callable(make):
            raise InputError(f"torch_schedule takes a function of an optimizer that makes a scheduler, not {make!r}")
        self.start, self.make = start, make
        self._content = {"kind": self.kind, "start": start, **fingerprint(make, "schedule")}
        self.values(1)

    def values(self, budget: int) -> NDArray[np.float64]:
        import torch

        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=self.start, momentum=0.9)
        try:
            scheduler = self.make(optimizer)
        except (TypeError, ValueError) as error:
            raise InputError(f"{self}: {error}") from None
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            raise InputError(
                f"{self} watches a metric, and a condition's schedule knows the update alone; take a "
                "LightningCondition, whose module may log the metric"
            )
        if not isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler):
            raise InputError(f"{self} made {type(scheduler).__name__}; return a scheduler of torch.optim.lr_scheduler")
        values = np.empty(budget)
        for update in range(budget):
            values[update] = float(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if update < budget - 1:
                self._step(scheduler, update + 1)
        return values

    def _step(self, scheduler: Any, update: int) -> None:
        try:
            scheduler.step()
        except (TypeError, ValueError) as error:
            raise InputError(f"{self}, before update {update}: {error}") from None

    def __repr__(self) -> str:
        return f"torch_schedule({self.start}, {getattr(self.make, '__qualname__', type(self.make).__name__)})"


# As users write them: SGD(learning_rate=schedule(lambda update: 0.1 / (1 + update))).
schedule, torch_schedule = FunctionSchedule, TorchSchedule
