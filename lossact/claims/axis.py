"""A number of the conditions and the values that it takes along one side of a map."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from lossact.checks import check_count, check_number
from lossact.conditions import BaseCondition
from lossact.conditions.frozen_mapping import FrozenMapping
from lossact.errors import InputError

FORM = "optimizer.learning_rate=1e-3:1:log:12"
FORMS = "path=low:high:count, path=low:high:log:count or path=value,value"
MOST_VALUES = 10_000  # of an axis


@dataclass(frozen=True)
class Axis:
    """One number of every condition, and the values that it takes.

    Args:
        path: the field, from the condition on: "optimizer.learning_rate".
        values: increasing, at least one.
        log: whether they are evenly spaced in logarithm.

    Raises:
        InputError: there are no values, one is not finite, or they do not increase.
    """

    path: str
    values: tuple[float, ...]
    log: bool = False

    def __post_init__(self) -> None:
        if not self.values or any(b <= a for a, b in zip(self.values, self.values[1:], strict=False)):
            values = ",".join(f"{value:g}" for value in self.values)
            raise InputError(f"{self.path}={values} must be increasing values, at least one; try {FORM}")
        for value in self.values:
            check_number(self.path, value, hint=FORM)

    @classmethod
    def parse(cls, text: str) -> "Axis":
        """Read an axis as the command line has it.

        Args:
            text: path=low:high:count, path=low:high:log:count, or the values themselves, path=0.1,0.2,0.5.

        Returns:
            the axis, its values rounded to 12 digits.

        Raises:
            InputError: the text has another form, or an empty range.
        """
        path, equals, numbers = text.partition("=")
        parts = numbers.split(":")
        if path and len(parts) == 1 and (values := _numbers(numbers)):
            return cls(path, values)
        log = len(parts) == 4 and parts[2] == "log"
        try:
            low, high, count = float(parts[0]), float(parts[1]), int(parts[-1])
        except (ValueError, IndexError):
            raise InputError(f"axis {text!r} must be {FORMS}; try {FORM}") from None
        if not equals or not path or len(parts) != 3 + log:
            raise InputError(f"axis {text!r} must be {FORMS}; try {FORM}")
        check_number(f"{path}'s lowest value", low, hint="1e-3", **({"above": 0} if log else {}))
        check_number(f"{path}'s highest value", high, above=low, hint=low + 1)
        check_count(f"{path}'s count", count, at_least=2, at_most=MOST_VALUES, hint=12)
        spaced = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
        return cls(path, tuple(float(f"{value:.12g}") for value in spaced), log)

    def at(self, condition: BaseCondition, value: float) -> BaseCondition:
        """Return a condition, moved to a value of this axis.

        Args:
            condition: has a number at the axis's path.
            value: the new number.

        Returns:
            the changed condition.

        Raises:
            InputError: it has no such field, or the field does not take the value.
        """
        changed = _set(condition, self.path.split("."), value, self.path)
        assert isinstance(changed, BaseCondition)
        return changed

    def of(self, condition: BaseCondition) -> float:
        """Return where a condition lies on this axis.

        Args:
            condition: has a number at the axis's path.

        Returns:
            that number.
        """
        value: Any = condition
        for name in self.path.split("."):
            value = value[name] if isinstance(value, FrozenMapping) else getattr(value, name)
        return float(value)


def _numbers(text: str) -> tuple[float, ...]:
    """Return numbers with commas between them, none where there is anything else."""
    try:
        numbers = tuple(map(float, text.split(",")))
    except ValueError:
        return ()
    return numbers if all(map(math.isfinite, numbers)) and len(numbers) <= MOST_VALUES else ()


def _set(owner: Any, path: Sequence[str], value: float, whole: str) -> Any:
    name, *rest = path
    known = _names(owner)
    if name not in known:
        choices = f"; choose one of {', '.join(known)}" if known else ""
        kind = "config" if isinstance(owner, FrozenMapping) else type(owner).__name__
        raise InputError(f"{whole}: {kind} has no {name!r}{choices}")
    now = owner[name] if isinstance(owner, FrozenMapping) else getattr(owner, name)
    if not rest and (not isinstance(now, (int, float)) or isinstance(now, bool)):
        inner = [f"{whole}.{field}" for field in _names(now)]
        hint = f"; go on with one of {', '.join(inner)}" if inner else ""
        raise InputError(f"{whole}={now} is no number{hint}")
    if not rest and isinstance(now, int) and not _takes_any_number(owner, name) and value != int(value):
        raise InputError(f"{whole}={value:g} must be an integer; choose a count that steps by whole numbers")
    new = _set(now, rest, value, whole) if rest else float(value) if _takes_any_number(owner, name) else int(value)
    return type(owner)({**owner, name: new}) if isinstance(owner, FrozenMapping) else replace(owner, **{name: new})


def _takes_any_number(owner: Any, name: str) -> bool:
    """Whether a field takes fractions, also where an integer was given."""
    if isinstance(owner, FrozenMapping):
        return isinstance(owner[name], float)
    return any("float" in str(field.type) for field in fields(owner) if field.name == name)


def _names(owner: Any) -> list[str]:
    """The parts that a path can go on with."""
    if isinstance(owner, FrozenMapping):
        return sorted(owner)
    return [field.name for field in fields(owner)] if is_dataclass(owner) else []
