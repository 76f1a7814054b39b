"""Averages of weights that a condition's measures look at."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from lossact.checks import check_count, check_number, checked_arguments


class Average(ABC):
    """An average of a replica's weights over its training: EMA or SWA."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""


@checked_arguments
@dataclass(frozen=True)
class EMA(Average):
    """An exponential moving average: a <- decay a + (1 - decay) w after each update, from the weights after the first.

    Args:
        decay: in (0, 1).

    Raises:
        InputError: a value breaks its rule.
    """

    decay: float

    def __post_init__(self) -> None:
        check_number("decay", self.decay, above=0, below=1, hint=0.999)

    def content(self) -> dict[str, Any]:
        return {"kind": "ema", "decay": self.decay}


@checked_arguments
@dataclass(frozen=True)
class SWA(Average):
    """The plain mean of the weights after updates start + every, start + 2 every, ...

    Before the first of these the average is the weights themselves.

    Args:
        start: updates, >= 0.
        every: updates, >= 1.

    Raises:
        InputError: a value breaks its rule.

    Reference: Izmailov et al., Averaging weights leads to wider optima, UAI 2018.
    """

    start: int
    every: int = 1

    def __post_init__(self) -> None:
        check_count("start", self.start, at_least=0, hint=500)
        check_count("every", self.every, hint=10)

    def content(self) -> dict[str, Any]:
        return {"kind": "swa", "start": self.start, "every": self.every}
