"""Schedules: hyperparameters that change with the update."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_count, check_number, checked_arguments
from lossact.errors import InputError


class Schedule(ABC):
    """A hyperparameter that changes with the update, such as cosine(1e-3, warmup=100).

    A schedule takes the place of a number of an optimiser: `SGD(learning_rate=cosine(0.1))`. It ends with the
    condition's budget. The numbers of those that have a name are axes of a map: `optimizer.learning_rate.peak`.
    """

    kind: ClassVar[str]
    positional: ClassVar[int] = 1  # arguments that are shown without their names

    @abstractmethod
    def values(self, budget: int) -> NDArray[np.float64]:
        """Return the value at each update, (budget,); the first is that of the first update.

        Args:
            budget: updates, >= 1.

        Raises:
            InputError: the schedule does not fit into the budget.
        """

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""
        numbers = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {"kind": self.kind, **numbers}

    def __repr__(self) -> str:
        given = [(field, getattr(self, field.name)) for field in fields(self)]  # type: ignore[arg-type]
        first = [str(value) for _, value in given[: self.positional]]
        named = [f"{field.name}={value}" for field, value in given[self.positional :] if value != field.default]
        return f"{self.kind}({', '.join(first + named)})"


@partial(checked_arguments, written_as="linear")
@dataclass(frozen=True, repr=False)
class Linear(Schedule):
    """From `start` at the first update to `end` at the last, in equal steps.

    Args:
        start, end: finite numbers.

    Raises:
        InputError: a value breaks its rule.
    """

    kind: ClassVar[str] = "linear"
    positional: ClassVar[int] = 2

    start: float
    end: float

    def __post_init__(self) -> None:
        check_number("start", self.start, hint=0.1)
        check_number("end", self.end, hint=0.0)

    def values(self, budget: int) -> NDArray[np.float64]:
        return np.linspace(self.start, self.end, budget)


@partial(checked_arguments, written_as="cosine")
@dataclass(frozen=True, repr=False)
class Cosine(Schedule):
    """Half a cosine from `peak` down to `end`, after a linear warm-up.

    Update u of H learns at peak (u + 1) / warmup while u < warmup, and then at
    end + (peak - end) (1 + cos(pi (u - warmup) / (H - warmup))) / 2. Without a warm-up these are the rates of
    torch.optim.lr_scheduler.CosineAnnealingLR with T_max = H.

    Args:
        peak: the largest value.
        end: what it would come to after the last update.
        warmup: updates, >= 0.

    Raises:
        InputError: a value breaks its rule.

    Reference: Loshchilov and Hutter, SGDR, ICLR 2017.

    Example:
        >>> cosine(1.0, warmup=2).values(6).round(2).tolist()
        [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """

    kind: ClassVar[str] = "cosine"

    peak: float
    end: float = 0.0
    warmup: int = 0

    def __post_init__(self) -> None:
        check_number("peak", self.peak, hint=1e-3)
        check_number("end", self.end, hint=0.0)
        check_count("warmup", self.warmup, at_least=0, hint=100)

    def values(self, budget: int) -> NDArray[np.float64]:
        after = np.arange(budget - _within("warmup", self.warmup, budget)) / (budget - self.warmup)
        falling = self.end + (self.peak - self.end) * (1 + np.cos(np.pi * after)) / 2
        return np.concatenate([_rising(self.peak, self.warmup), falling])


@partial(checked_arguments, written_as="warmup_hold_decay")
@dataclass(frozen=True, repr=False)
class WarmupHoldDecay(Schedule):
    """A linear warm-up, a plateau, and a linear decay at the end: "WSD", warm-up, stable, decay.

    Update u learns at peak (u + 1) / warmup while u < warmup; the last `decay` updates at
    end + (peak - end) (H - u) / (decay + 1); those between at `peak`.

    Args:
        peak: the value between.
        warmup: updates, >= 0.
        decay: updates, >= 0.
        end: what it would come to after the last update.

    Raises:
        InputError: a value breaks its rule.

    Reference: Hu et al., MiniCPM, 2024.

    Example:
        >>> warmup_hold_decay(1.0, warmup=2, decay=3).values(6).tolist()
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """

    kind: ClassVar[str] = "warmup_hold_decay"

    peak: float
    warmup: int = 0
    decay: int = 0
    end: float = 0.0

    def __post_init__(self) -> None:
        check_number("peak", self.peak, hint=1e-3)
        check_count("warmup", self.warmup, at_least=0, hint=100)
        check_count("decay", self.decay, at_least=0, hint=100)
        check_number("end", self.end, hint=0.0)

    def values(self, budget: int) -> NDArray[np.float64]:
        held = budget - _within("warmup + decay", self.warmup + self.decay, budget, all_of_it=True)
        left = np.arange(self.decay, 0, -1) / (self.decay + 1)
        falling = self.end + (self.peak - self.end) * left
        return np.concatenate([_rising(self.peak, self.warmup), np.full(held, self.peak), falling])


@partial(checked_arguments, written_as="step_decay")
@dataclass(frozen=True, repr=False)
class StepDecay(Schedule):
    """`start`, times `factor` after every so many updates, as torch.optim.lr_scheduler.StepLR has it.

    Args:
        start: the first value.
        every: updates, >= 1.
        factor: > 0.

    Raises:
        InputError: a value breaks its rule.
    """

    kind: ClassVar[str] = "step_decay"

    start: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_number("start", self.start, hint=0.1)
        check_count("every", self.every, hint=100)
        check_number("factor", self.factor, above=0, hint=0.1)

    def values(self, budget: int) -> NDArray[np.float64]:
        return np.asarray(self.start * self.factor ** (np.arange(budget) // self.every), dtype=np.float64)


@partial(checked_arguments, written_as="exponential")
@dataclass(frozen=True, repr=False)
class Exponential(Schedule):
    """`start`, times `factor` after each update, as torch.optim.lr_scheduler.ExponentialLR has it.

    Args:
        start: the first value.
        factor: > 0; 0.999, say.

    Raises:
        InputError: a value breaks its rule.
    """

    kind: ClassVar[str] = "exponential"

    start: float
    factor: float

    def __post_init__(self) -> None:
        check_number("start", self.start, hint=0.1)
        check_number("factor", self.factor, above=0, hint=0.999)

    def values(self, budget: int) -> NDArray[np.float64]:
        return np.asarray(self.start * self.factor ** np.arange(budget), dtype=np.float64)


@partial(checked_arguments, written_as="one_cycle")
@dataclass(frozen=True, repr=False)
class OneCycle(Schedule):
    """Up to `peak` and down again, each along half a cosine, as torch.optim.lr_scheduler.OneCycleLR has it.

    Args:
        peak: the largest value.
        rise: share of the budget that goes upwards, in (0, 1).
        start_divisor: peak / this is the first value, > 0.
        end_divisor: the first value / this is the last one, > 0.

    Raises:
        InputError: a value breaks its rule.

    Reference: Smith and Topin, Super-convergence, 2018.
    """

    kind: ClassVar[str] = "one_cycle"

    peak: float
    rise: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4

    def __post_init__(self) -> None:
        check_number("peak", self.peak, hint=0.1)
        check_number("rise", self.rise, above=0, below=1, hint=0.3)
        check_number("start_divisor", self.start_divisor, above=0, hint=25)
        check_number("end_divisor", self.end_divisor, above=0, hint=1e4)

    def values(self, budget: int) -> NDArray[np.float64]:
        start = self.peak / self.start_divisor
        end = start / self.end_divisor
        top, last = self.rise * budget - 1, budget - 1
        if top <= 0:
            raise InputError(f"rise={self.rise} of {budget} updates is less than two of them; choose a larger rise")
        updates = np.arange(budget, dtype=np.float64)
        rising = _half_cosine(start, self.peak, updates / top)
        falling = _half_cosine(self.peak, end, (updates - top) / (last - top))
        return np.where(updates <= top, rising, falling)


# As users write them: SGD(learning_rate=cosine(0.1, warmup=100)).
linear, cosine, warmup_hold_decay, one_cycle = Linear, Cosine, WarmupHoldDecay, OneCycle
step_decay, exponential = StepDecay, Exponential


def _rising(peak: float, warmup: int) -> NDArray[np.float64]:
    return peak * np.arange(1, warmup + 1) / max(warmup, 1)


def _half_cosine(start: float, end: float, share: NDArray[np.float64]) -> NDArray[np.float64]:
    return end + (start - end) / 2 * (1 + np.cos(math.pi * share))


def _within(name: str, updates: int, budget: int, *, all_of_it: bool = False) -> int:
    if updates > budget - (not all_of_it):
        rule = "at most" if all_of_it else "below"
        raise InputError(f"{name}={updates} must be {rule} the budget of {budget} updates")
    return updates
