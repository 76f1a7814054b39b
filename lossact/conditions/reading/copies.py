"""Runs that are copies of other runs, as tables padded to a length hold them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lossact.conditions.recorded_runs import RecordedRun
from lossact.errors import InputError

FINE_DIGITS = 5  # significant digits from which on two runs do not agree by chance
LONG_CURVE = 10
REPEATED = 8
BY_CHANCE = 0.001  # what a table of honest runs may at most look like copies with
WAY_OUT = "a copy is no run: drop the copies, and if the training ignores its seed, let it use it"


def check_copies(name: str, members: Sequence[RecordedRun], place: str) -> None:
    """Raise InputError where runs of one condition are copies of others.

    Args:
        name: of the condition.
        members: its runs, in the order of the table.
        place: what errors call the table.

    Raises:
        InputError: two long curves agree in every number, numbers of many digits occur more than once each, or the
            numbers repeat after some runs.
    """
    first_with: dict[bytes, str] = {}
    for run in members:
        if _is_unmistakable(run.values):
            other = first_with.setdefault(run.values.tobytes(), run.name)
            if other != run.name:
                raise InputError(
                    f"{place}: runs {other!r} and {run.name!r} of {name!r} agree in every number; {WAY_OUT}"
                )
    last = _last_values(members)
    distinct, counts = np.unique(last, return_counts=True)
    if not 3 <= len(distinct) <= len(last) // 2:
        return
    if counts.min() > 1 and has_many_digits(distinct):
        raise InputError(
            f"{place}: {len(members)} runs of {name!r} hold {len(distinct)} different numbers, each more than once; "
            f"{WAY_OUT}"
        )
    for period in range(3, len(last) // 2 + 1):
        if len(last) - period >= REPEATED and (last[period:] == last[:-period]).all():
            raise InputError(
                f"{place}: the numbers of {name!r} repeat after {period} of {len(members)} runs; {WAY_OUT}"
            )


def check_multiples(runs: Mapping[str, Sequence[RecordedRun]], place: str) -> None:
    """Raise InputError where each number of each condition occurs k times, 2 k times, …, as k copies of all runs do.

    Few levels can look so by chance. Each condition's numbers are taken to be drawn from those of the table, all
    equally likely; the table is refused where so many coincidences have a probability below 0.001.

    Args:
        runs: of each condition, in the order of the table.
        place: what errors call the table.

    Raises:
        InputError: all conditions are k copies, k >= 2, of at least three different numbers each.
    """
    lasts = [_last_values(members) for members in runs.values()]
    counted = [np.unique(last, return_counts=True) for last in lasts]
    copies = math.gcd(*(int(count) for _, counts in counted for count in counts))
    if copies < 2 or min(len(distinct) for distinct, _ in counted) < 3:
        return
    levels = len(np.unique(np.concatenate(lasts)))
    if math.prod(chance_of_multiples(len(last), levels, copies) for last in lasts) < BY_CHANCE:
        name, (distinct, _) = next(zip(runs, counted, strict=True))
        raise InputError(
            f"{place}: every number of every condition occurs {copies} times or a multiple of it, as the "
            f"{len(distinct)} different numbers in {len(lasts[0])} runs of {name!r}; {WAY_OUT}"
        )


def chance_of_multiples(draws: int, levels: int, copies: int) -> float:
    """Return the probability that every level is drawn a multiple of `copies` times.

    It is n! [x^n] (sum_j x^(jk) / (jk)!)^m / m^n for n draws from m equally likely levels and k copies.

    Args:
        draws: n, a multiple of k.
        levels: m >= 1.
        copies: k >= 1.

    Returns:
        a probability.

    >>> round(chance_of_multiples(2, 10, 2), 12)
    0.1
    """
    most = draws // copies
    log_series = -np.array([math.lgamma(j * copies + 1) for j in range(most + 1)])
    power = np.full(most + 1, -np.inf)
    power[0] = 0.0
    exponent = levels
    while exponent:
        if exponent & 1:
            power = _log_product(power, log_series)
        exponent >>= 1
        if exponent:
            log_series = _log_product(log_series, log_series)
    return math.exp(min(0.0, math.lgamma(draws + 1) + float(power[most]) - draws * math.log(levels)))


def _log_product(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the coefficients of a product of two series with positive ones, cut to their length."""
    n = len(first)
    return np.array([np.logaddexp.reduce(first[: k + 1] + second[k::-1]) for k in range(n)])


def _last_values(members: Sequence[RecordedRun]) -> NDArray[np.float64]:
    return np.array([run.values[-1] for run in members])


def _is_unmistakable(values: NDArray[np.float64]) -> bool:
    """Return whether a curve has so many points, or digits, that two runs do not agree on it by chance."""
    return len(np.unique(values)) >= 3 and (len(values) >= LONG_CURVE or has_many_digits(values))


def has_many_digits(values: NDArray[np.float64]) -> bool:
    """Return whether numbers have so many significant digits that two runs do not agree by chance.

    Args:
        values: (n,) numbers, of which the first are looked at.
    """
    mantissas = [f"{abs(value):.11e}".partition("e")[0] for value in values[:LONG_CURVE]]
    digits = [len(mantissa.replace(".", "").rstrip("0")) for mantissa in mantissas]
    return float(np.median(digits)) >= FINE_DIGITS
