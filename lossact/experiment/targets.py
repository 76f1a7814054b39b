"""When a replica is done."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from lossact.checks import check_choice, check_number, check_takes
from lossact.errors import InputError
from lossact.fingerprint import described

SETS = ("training", "validation")


class Target(ABC):
    """When a replica is done: Accuracy, Loss or Metric.

    Attributes:
        on: "training" or "validation" examples.
    """

    on: str

    @property
    @abstractmethod
    def threshold(self) -> float:
        """Of the measured value."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """What decides an outcome, for the store's key."""


@dataclass(frozen=True)
class Accuracy(Target):
    """The target: the share of examples answered rightly is at least `at_least`.

    Right is the side of p = 1/2 where a network answers with one logit, the largest of several outputs elsewhere.

    Attributes:
        at_least: in (0, 1].
        on: "training" or "validation" examples.
    """

    at_least: float = 1.0
    on: str = "training"

    def __post_init__(self) -> None:
        check_number("at_least", self.at_least, above=0, at_most=1, hint=1.0)
        check_choice("on", self.on, SETS)

    @property
    def threshold(self) -> float:
        return self.at_least

    def content(self) -> dict[str, Any]:
        """What decides an outcome, for the store's key."""
        return {"kind": "accuracy", **asdict(self)}

    def __str__(self) -> str:
        return f"{self.at_least:.0%} {_on(self.on)}accuracy"


@dataclass(frozen=True)
class Loss(Target):
    """The target: the mean loss is at most `at_most`.

    Attributes:
        at_most: a number.
        on: "training" or "validation" examples.
    """

    at_most: float
    on: str = "training"

    def __post_init__(self) -> None:
        check_number("at_most", self.at_most, hint=0.1)
        check_choice("on", self.on, SETS)

    @property
    def threshold(self) -> float:
        return self.at_most

    def content(self) -> dict[str, Any]:
        """What decides an outcome, for the store's key."""
        return {"kind": "loss", **asdict(self)}

    def __str__(self) -> str:
        return f"a {_on(self.on)}loss of {self.at_most:g}"


@dataclass(frozen=True)
class Metric(Target):
    """The target: a function of a network's outputs is at least, or at most, a number.

    Attributes:
        function: (outputs, targets) -> a number, or one an example, to be averaged; tensors in and out, in operations
            that torch.func.vmap knows.
        at_least, at_most: the threshold; one of the two.
        on: "training" or "validation" examples.
    """

    function: Callable[[Any, Any], Any]
    at_least: float | None = None
    at_most: float | None = None
    on: str = "training"

    def __post_init__(self) -> None:
        check_takes("metric", self.function, like="metric(outputs, targets)", values=2)
        check_one_side(self.at_least, self.at_most)
        check_choice("on", self.on, SETS)
        self.content()

    @property
    def threshold(self) -> float:
        return threshold_of(self.at_least, self.at_most)

    def content(self) -> dict[str, Any]:
        """What decides an outcome, for the store's key."""
        function = described(self.function, "metric")
        return {
            "kind": "metric", "function": function, "at_least": self.at_least, "at_most": self.at_most, "on": self.on,
        }  # fmt: skip

    def __str__(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        side = "at least" if self.at_most is None else "at most"
        return f"{_on(self.on)}{name} {side} {self.threshold:g}"


def check_one_side(at_least: float | None, at_most: float | None) -> None:
    """Raise InputError unless one of the two is given, and a number."""
    if (at_least is None) == (at_most is None):
        raise InputError(f"at_least={at_least} and at_most={at_most}: give one of the two, the threshold of the target")
    check_number("at_least" if at_most is None else "at_most", threshold_of(at_least, at_most), hint=0.9)


def threshold_of(at_least: float | None, at_most: float | None) -> float:
    """The one that is given."""
    found = at_least if at_least is not None else at_most
    assert found is not None
    return found


def _on(examples: str) -> str:
    return "validation " if examples == "validation" else ""
