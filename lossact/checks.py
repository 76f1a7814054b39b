"""Checks at the public doors: one line a rule, one sentence an error."""

import math
from collections.abc import Callable, Iterable
from numbers import Integral, Real

from lossact.errors import InputError


def check_number(
    name: str,
    value: float,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
    hint: float | str,
) -> None:
    """Raise InputError unless `value` is a finite number within the bounds; `hint` is a value that works."""
    bounds: list[tuple[str, bool, Callable[[float], bool]]] = [
        (f"> {above:g}", above > -math.inf, lambda v: v > above),
        (f">= {at_least:g}", at_least > -math.inf, lambda v: v >= at_least),
        (f"< {below:g}", below < math.inf, lambda v: v < below),
        (f"<= {at_most:g}", at_most < math.inf, lambda v: v <= at_most),
    ]
    stated = [(text, holds) for text, given, holds in bounds if given]
    rule = " and ".join(text for text, _ in stated) or "a finite number"
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not all(holds(value) for _, holds in stated):
        raise InputError(f"{name}={value!r} must be {rule}; try {hint}")


def check_count(
    name: str, value: int, *, at_least: int = 1, at_most: float = math.inf, hint: int | None = None
) -> None:
    """Raise InputError unless `value` is an integer within the bounds."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not at_least <= value <= at_most:
        rule = f">= {at_least}" + (f" and <= {at_most}" if at_most < math.inf else "")
        raise InputError(f"{name}={value!r} must be an integer {rule}; try {at_least if hint is None else hint}")


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise InputError unless `value` is one of `choices`."""
    known = sorted(choices)
    if value not in known:
        raise InputError(f"{name}={value!r} is not known; choose one of {', '.join(known)}")
