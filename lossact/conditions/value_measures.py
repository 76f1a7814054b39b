"""Further measures of a trained network: functions of the network itself, and the best value of another measure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossact.checks import check_choice, check_count, check_signature, checked_arguments, name_of
from lossact.conditions.frozen_mapping import FrozenMapping
from lossact.conditions.measures import Measure, check_measure_class, check_split
from lossact.errors import InputError
from lossact.fingerprint import fingerprint

STEPS = "steps"  # how hypotheses call the updates to the target; no measure may have that name


@checked_arguments
@dataclass(frozen=True)
class OfNetwork(Measure):
    """A function of the trained network itself, such as the norm of a layer's weights or of its gradient.

    Args:
        function: (network) -> a number, or with a split (network, inputs, targets) -> a number. It is called for each
            replica with an ordinary module that holds the replica's weights, in evaluation mode. Gradients can be
            taken, and hooks set, where there is a split; without one there are no gradients.
        split: "training", "validation" or "test", whose examples the function gets: inputs (n, ...) and targets
            (n, ...) as tensors, several inputs as a tuple or dict; "" for none.

    Raises:
        InputError: the function cannot be called so, or there is no such split.
    """

    function: Callable[..., Any]
    split: str = ""

    def __post_init__(self) -> None:
        if self.split == "":
            check_signature("measure", self.function, like="measure(network)", values=1)
        else:
            check_split(self)
            check_signature("measure", self.function, like="measure(network, inputs, targets)", values=3)
        self.content()

    @property
    def name(self) -> str:
        return name_of(self.function)

    def check_threshold(self, name: str, threshold: float) -> None:
        """Raise InputError: a target is measured at every update, and this measure is not.

        Args:
            name: not used.
            threshold: not used.

        Raises:
            InputError: always.
        """
        raise InputError(f"{self.name} is a measure of the network; a target needs Accuracy, Loss or Metric")

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""
        examples = {"split": self.split} if self.split else {}
        return {"kind": "of network", "function": fingerprint(self.function, "measure"), **examples}


@checked_arguments
@dataclass(frozen=True)
class Best(Measure):
    """The best value of a measure over all moments at which it is taken, the end among them.

    Args:
        measure: what is measured; in a LightningCondition the name of a logged value.
        mode: "max" or "min".

    Raises:
        InputError: `measure` is not a measure, or there is no such mode.
    """

    measure: Measure | str
    mode: str = "max"

    def __post_init__(self) -> None:
        if isinstance(self.measure, Best) or not isinstance(self.measure, (Measure, str)):
            raise InputError(f"measure={self.measure!r} must be a measure, or the name of a logged value")
        check_choice("mode", self.mode, ("max", "min"))

    @property
    def split(self) -> str:  # type: ignore[override]
        """The examples that are measured."""
        return self.measure.split if isinstance(self.measure, Measure) else ""

    @property
    def name(self) -> str:
        return f"best {self.measure if isinstance(self.measure, str) else self.measure.name}"

    def check_threshold(self, name: str, threshold: float) -> None:
        """Raise InputError: a target is met at its first value, which needs no best.

        Args:
            name: not used.
            threshold: not used.

        Raises:
            InputError: always.
        """
        raise InputError(f"{self.name} cannot be a target; take the measure itself")

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, ready for JSON."""
        measure = self.measure if isinstance(self.measure, str) else self.measure.content()
        return {"kind": "best", "measure": measure, "mode": self.mode}


def checked_measures(measures: Any) -> FrozenMapping:
    """Return a condition's measures by name.

    Args:
        measures: as a user gave them.

    Returns:
        names to measures, read-only.

    Raises:
        InputError: they are no dict of names to measures.
    """
    example = '{"accuracy": Accuracy(split="validation")}'
    if not isinstance(measures, Mapping):
        raise InputError(f"measures={measures!r} must be a dict of names to measures; try {example}")
    for name, measure in measures.items():
        if not isinstance(name, str) or not name or "@" in name or name == STEPS:
            raise InputError(
                f"measures: {name!r} cannot be a measure's name; take a word without @ other than {STEPS!r}"
            )
        if not isinstance(measure, Measure) or (isinstance(measure, Best) and isinstance(measure.measure, str)):
            raise InputError(f"measures[{name!r}]={measure!r} must be Accuracy, Loss, Metric, OfNetwork or Best of one")
        check_measure_class(f"measures[{name!r}]", measure)
    return FrozenMapping(measures)


def checked_value_names(names: Any) -> tuple[str, ...]:
    """Return the names of numbers that training returns.

    Args:
        names: as a user gave them.

    Returns:
        the names.

    Raises:
        InputError: they are no sequence of different words.
    """
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise InputError(f'measures={names!r} must be names of numbers; try measures=["accuracy"]')
    _check_words(names)
    return tuple(names)


def checked_logged_measures(measures: Any) -> tuple[str | Best, ...]:
    """Return names of logged values, and what is the best of one.

    Args:
        measures: as a user gave them.

    Returns:
        the measures.

    Raises:
        InputError: they are no sequence of such, or two have one name.
    """
    is_sequence = isinstance(measures, Sequence) and not isinstance(measures, str)
    if not is_sequence or not all(
        isinstance(each, str) or (isinstance(each, Best) and isinstance(each.measure, str)) for each in measures
    ):
        raise InputError(
            f"measures={measures!r} must be names of numbers that the module logs, or Best of one; "
            'try measures=["val_acc", Best("val_loss", "min")]'
        )
    _check_words(logged_value_names(measures))
    return tuple(measures)


def logged_value_names(measures: Sequence[str | Best]) -> tuple[str, ...]:
    """Name the values of logged measures: "val_acc", and "best val_loss" for a Best.

    Args:
        measures: as `checked_logged_measures` returns them.

    Returns:
        the names.
    """
    return tuple(each.name if isinstance(each, Best) else each for each in measures)


def _check_words(names: Sequence[str]) -> None:
    for name in names:
        if not name or name == STEPS:
            raise InputError(f"measures: {name!r} cannot be a measure's name; take a word other than {STEPS!r}")
    if len(set(names)) < len(names):
        raise InputError(f"measures={list(names)} names one twice; name each once")


def checked_moments(measured_at: Any, budget: int) -> tuple[int, ...]:
    """Return the updates after which measures are taken besides the last, ascending.

    Args:
        measured_at: as a user gave them.
        budget: the last update; measures are always taken there.

    Returns:
        numbers of updates, in [0, budget).

    Raises:
        InputError: one is no number of updates below the budget, or appears twice.
    """
    if not isinstance(measured_at, Sequence) or isinstance(measured_at, str):
        raise InputError(f"measured_at={measured_at!r} must be numbers of updates; try ({budget // 2},)")
    for moment in measured_at:
        check_count("measured_at", moment, at_least=0, at_most=budget - 1, hint=budget // 2)
    if len(set(measured_at)) < len(measured_at):
        raise InputError(f"measured_at={tuple(measured_at)} names an update twice; name each once")
    return tuple(sorted(int(moment) for moment in measured_at))


def value_names(measures: Mapping[str, Measure], measured_at: Sequence[int]) -> tuple[str, ...]:
    """Name every value that a condition's trials hold: "accuracy@100" after 100 updates, "accuracy" after the last.

    Args:
        measures: by name.
        measured_at: updates, ascending.

    Returns:
        the names; a Best has one value, at the end.
    """
    passing = [name for name, measure in measures.items() if not isinstance(measure, Best)]
    return tuple([f"{name}@{moment}" for moment in measured_at for name in passing] + list(measures))
