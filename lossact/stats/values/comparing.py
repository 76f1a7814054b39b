"""Compare the values that two conditions reached, replica by replica."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossact.errors import InputError
from lossact.stats.betting import Floats
from lossact.stats.outcomes import Outcome, Outcomes

TIE_ULPS = 4  # values closer than this many rounding errors of their own type are equal


def compare_values(
    values_a: ArrayLike,
    values_b: ArrayLike,
    diverged_a: NDArray[np.bool_],
    diverged_b: NDArray[np.bool_],
    *,
    by: float = 0.0,
    higher: bool = True,
    epsilon: ArrayLike = 0.0,
) -> Outcomes:
    """Decide for each replica whether A's value exceeds B's by more than `by`.

    A replica that diverged loses to one that did not. Where both diverged, a value is NaN, or both are the same
    infinity, the comparison is undetermined. Differences within the rounding error of the measure's type are ties: the
    difference of two accuracies that differ by exactly 0.01 comes out above 0.01 in most cases otherwise.

    Args:
        values_a, values_b: (replicas,) in the measure's unit.
        diverged_a, diverged_b: (replicas,).
        by: the margin, in the measure's unit.
        higher: whether larger values are better; False compares -A with -B.
        epsilon: machine epsilon of the type in which each replica's values were computed, 0 for exact numbers.

    Returns:
        (replicas,) Outcome values.

    Raises:
        InputError: the arrays differ in length.
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (values_a, values_b))
    lengths = {len(array) for array in (a, b, diverged_a, diverged_b)}
    if len(lengths) > 1:
        raise InputError(f"lengths {sorted(lengths)} of the two conditions' replicas differ; pair them by index first")
    sign = 1 if higher else -1
    excess = differences(sign * a, sign * b, diverged_a, diverged_b) - by
    with np.errstate(invalid="ignore"):  # infinite values have no rounding error, and never tie
        rounding = TIE_ULPS * np.asarray(epsilon) * np.fmax(np.fmax(np.abs(a), np.abs(b)), abs(by))
    tie = np.isfinite(excess) & (np.abs(excess) <= rounding)
    cases = [np.isnan(excess), tie, excess > 0]
    outcomes = [Outcome.UNDETERMINED, Outcome.TIE, Outcome.WIN]
    return np.select(cases, outcomes, Outcome.LOSS).astype(np.int8)


def is_single(values: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return which numbers single precision holds exactly.

    A function that computes in single precision may return Python floats.

    Args:
        values: any shape.

    Returns:
        the same shape.
    """
    with np.errstate(over="ignore"):
        same: NDArray[np.bool_] = values.astype(np.float32) == values
    return same


def rounding_of(values: NDArray[np.floating[Any]]) -> Floats:
    """Return the machine epsilon of the type in which each number was computed.

    Args:
        values: (replicas,).

    Returns:
        (replicas,): single precision's where a number is exactly one of that, else that of the array's type.
    """
    epsilon = np.finfo(values.dtype).eps
    return np.where(is_single(values), np.fmax(epsilon, np.finfo(np.float32).eps), epsilon).astype(np.float64)


def without_rounding(numbers: Floats, tolerance: Floats) -> Floats:
    """Return numbers in which those that differ from the first by rounding alone are equal to it.

    Args:
        numbers: (n,), NaN where undefined.
        tolerance: (n,) of each, >= 0, or infinite where the number is.

    Returns:
        (n,) the numbers.
    """
    defined = numbers[~np.isnan(numbers)]
    if not len(defined):
        return numbers
    with np.errstate(invalid="ignore"):  # of two infinities
        is_close = np.isfinite(numbers) & (np.abs(numbers - defined[0]) <= tolerance)
    return np.where(is_close, defined[0], numbers)


def at_most_worse(outcomes: Outcomes) -> Outcomes:
    """Return outcomes of "better by more than a margin" as those of "better by at least it": equality counts.

    Args:
        outcomes: any shape.
    """
    return np.where(outcomes == Outcome.TIE, Outcome.WIN, outcomes).astype(np.int8)


def differences(
    values_a: ArrayLike, values_b: ArrayLike, diverged_a: NDArray[np.bool_], diverged_b: NDArray[np.bool_]
) -> Floats:
    """Subtract B's values from A's, replica by replica, with infinities where one diverged.

    Args:
        values_a, values_b: (replicas,) in the measure's unit, the larger the better.
        diverged_a, diverged_b: (replicas,).

    Returns:
        (replicas,): A - B; -inf where A alone diverged, inf where B alone did, NaN where the order is undefined.
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (values_a, values_b))
    lost_a = diverged_a & ~diverged_b & ~np.isnan(b)
    lost_b = diverged_b & ~diverged_a & ~np.isnan(a)
    with np.errstate(invalid="ignore"):
        difference = np.where(diverged_a | diverged_b, np.nan, a - b)
    return np.select([lost_a, lost_b], [-np.inf, np.inf], difference)
