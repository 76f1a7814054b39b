"""Measures, which are numbers of a network on a split of its data, and targets, which are measures with a threshold."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

from lossact.checks import check_choice, check_number, check_signature, checked_arguments, name_of, replaced_arguments
from lossact.errors import InputError
from lossact.fingerprint import fingerprint

SPLITS = ("training", "validation", "test")
TARGET_SPLITS = ("training", "validation")

_OLD_FORM = {
    "on": 'split=, as in Accuracy(split="validation")',
    "at_least": 'a target is a measure with a threshold: Accuracy(split="validation").at_least(0.9)',
    "at_most": "a target is a measure with a threshold: Loss().at_most(0.1)",
}


class Measure(ABC):
    """A number of a trained network: Accuracy, Loss, Metric, OfNetwork or Best.

    Attributes:
        split: "training", "validation" or "test", the examples that are measured; "" where there are none.
    """

    split: str

    def at_least(self, threshold: float) -> "Target":
        """Make the target that is met when the measure is at least `threshold`.

        Args:
            threshold: a finite number; in (0, 1] for the accuracy.

        Returns:
            the target, for a condition.

        Raises:
            InputError: the threshold breaks its rule.
        """
        return Target(self, at_least=threshold)

    def at_most(self, threshold: float) -> "Target":
        """Make the target that is met when the measure is at most `threshold`.

        Args:
            threshold: a finite number; in (0, 1] for the accuracy.

        Returns:
            the target, for a condition.

        Raises:
            InputError: the threshold breaks its rule.
        """
        return Target(self, at_most=threshold)

    @property
    @abstractmethod
    def name(self) -> str:
        """The name in tables and logs."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""

    def check_threshold(self, name: str, threshold: float) -> None:
        """Raise InputError where the measure can never take the value `threshold`.

        Args:
            name: what the error calls the threshold.
            threshold: what a target would ask for.

        Raises:
            InputError: no value of the measure meets it.
        """
        check_number(name, threshold, hint=0.9)

    def __str__(self) -> str:
        return self.name if self.split in {"", "training"} else f"{self.split} {self.name}"


def check_measure_class(name: str, measure: Measure) -> None:
    """Raise InputError where a measure's class is not one of lossact's, for its methods would not be used.

    Args:
        name: what the error calls the measure.
        measure: as a user gave it.

    Raises:
        InputError: its class is a user's own.
    """
    if not type(measure).__module__.startswith("lossact."):
        raise InputError(
            f"{name}={measure!r} is of a class of your own, whose methods would not be used; take Metric(f) with a "
            "function f(outputs, targets)"
        )


@checked_arguments
@dataclass(frozen=True)
class Target:
    """A measure with a threshold; a replica stops training when it meets it.

    A value is compared in the precision in which it was computed: a float32 0.9 meets the threshold 0.9.

    Attributes:
        measure: what is measured.
        at_least, at_most: the threshold; exactly one of the two.

    Raises:
        InputError: `measure` is not a measure, there is not exactly one threshold, or the measure never has its value.
    """

    measure: Measure
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.measure, Measure):
            raise InputError(f"measure={self.measure!r} must be Accuracy, Loss or Metric; try Accuracy().at_least(0.9)")
        check_measure_class("measure", self.measure)
        check_one_side(self.at_least, self.at_most)
        self.measure.check_threshold("at_least" if self.at_most is None else "at_most", self.threshold)
        if self.measure.split not in TARGET_SPLITS:
            raise InputError(
                f"a target on {self.measure.split} examples would choose by them when training ends; measure a target "
                "on training or validation examples, and the test examples with measures="
            )

    @property
    def threshold(self) -> float:
        """The threshold, whichever side it is of."""
        return threshold_of(self.at_least, self.at_most)

    @property
    def split(self) -> str:
        """The split of the measure."""
        return self.measure.split

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""
        return {"measure": self.measure.content(), "at_least": self.at_least, "at_most": self.at_most}

    def __str__(self) -> str:
        return f"{self.measure} {'at least' if self.at_most is None else 'at most'} {self.threshold:g}"


@replaced_arguments(_OLD_FORM)
@checked_arguments
@dataclass(frozen=True)
class Accuracy(Measure):
    """The share of examples that are classified correctly, in [0, 1].

    A network with one logit an example predicts class 1 where the logit is positive. A network with several outputs
    predicts the class of the largest.

    Args:
        split: "training", "validation" or "test" examples.

    Raises:
        InputError: there is no such split.
    """

    split: str = "training"

    def __post_init__(self) -> None:
        check_split(self)

    @property
    def name(self) -> str:
        return "accuracy"

    def check_threshold(self, name: str, threshold: float) -> None:
        """Raise InputError unless the threshold lies in (0, 1].

        Args:
            name: what the error calls the threshold.
            threshold: what a target would ask for.

        Raises:
            InputError: it lies outside.
        """
        is_percent = isinstance(threshold, Real) and 2 <= threshold <= 100
        hint = f"{name}={threshold / 100:g}, for {threshold:g} percent" if is_percent else 1.0
        check_number(name, threshold, above=0, at_most=1, hint=hint)

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""
        return {"kind": "accuracy", **asdict(self)}


@replaced_arguments(_OLD_FORM)
@checked_arguments
@dataclass(frozen=True)
class Loss(Measure):
    """The mean loss over the examples, in the units of the condition's loss.

    Args:
        split: "training", "validation" or "test" examples.

    Raises:
        InputError: there is no such split.
    """

    split: str = "training"

    def __post_init__(self) -> None:
        check_split(self)

    @property
    def name(self) -> str:
        return "loss"

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""
        return {"kind": "loss", **asdict(self)}


@replaced_arguments(_OLD_FORM)
@checked_arguments
@dataclass(frozen=True)
class Metric(Measure):
    """A function of a network's outputs and their targets.

    Args:
        function: (outputs, targets) -> a number, or one number an example, to be averaged. It takes and returns
            tensors and uses operations that torch.func.vmap supports.
        split: "training", "validation" or "test" examples.

    Raises:
        InputError: the function cannot be called so, or there is no such split.
    """

    function: Callable[[Any, Any], Any]
    split: str = "training"

    def __post_init__(self) -> None:
        check_signature("metric", self.function, like="metric(outputs, targets)", values=2)
        check_split(self)
        self.content()

    @property
    def name(self) -> str:
        return name_of(self.function)

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""
        return {"kind": "metric", "function": fingerprint(self.function, "metric"), "split": self.split}


def check_split(measure: Measure) -> None:
    """Raise InputError unless the measure's split is one that data have.

    Args:
        measure: as a user made it.

    Raises:
        InputError: its split is another word, or a threshold.
    """
    if isinstance(measure.split, (int, float)):
        kind = type(measure).__name__
        side = "at_most" if isinstance(measure, Loss) else "at_least"
        raise InputError(
            f"{kind}({measure.split}): a target is a measure with a threshold; write {kind}().{side}({measure.split})"
        )
    check_choice("split", measure.split, SPLITS)


def check_one_side(at_least: float | None, at_most: float | None) -> None:
    """Raise InputError unless exactly one of the two thresholds is given, and is a number.

    Args:
        at_least: the threshold of a target that is met from above.
        at_most: the threshold of one that is met from below.

    Raises:
        InputError: both are given or none, or it is no finite number.
    """
    if (at_least is None) == (at_most is None):
        raise InputError(f"at_least={at_least} and at_most={at_most}: give exactly one of the two")
    check_number("at_least" if at_most is None else "at_most", threshold_of(at_least, at_most), hint=0.9)


def threshold_of(at_least: float | None, at_most: float | None) -> float:
    """Return the one of two thresholds that is not None.

    Args:
        at_least: one threshold.
        at_most: the other; exactly one of the two is None.

    Returns:
        the one that is given.
    """
    threshold = at_least if at_least is not None else at_most
    assert threshold is not None
    return threshold
