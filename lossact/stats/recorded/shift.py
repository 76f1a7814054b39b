"""By how much one set of runs is larger than another: the Hodges-Lehmann shift."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lossact.stats.recorded.hoeffding import lower_bound
from lossact.stats.recorded.ranks import is_countable_untied, untied_lower_half


@dataclass(frozen=True)
class Shift:
    """A difference in the unit of the values.

    Attributes:
        value: the median of all n1 n2 differences.
        low, high: closed interval; infinite where so few runs bound nothing.
    """

    value: float
    low: float
    high: float


@lru_cache(maxsize=256)
def rejected_counts(n_first: int, n_second: int, alpha: float) -> int:
    """Return the number of u in 0 … n1 n2 with P(U <= u) <= alpha, U Mann-Whitney's without ties.

    Where the distribution cannot be counted, Hoeffding's bound gives a smaller, valid number.

    Args:
        n_first: values in the first set.
        n_second: values in the second set.
        alpha: error probability a side, in (0, 1/2).

    Returns:
        the number, in [0, n1 n2 + 1].
    """
    if not is_countable_untied(n_first, n_second):
        return int(n_first * n_second * (1 - _least_mean(min(n_first, n_second), alpha)))
    return int((untied_lower_half(n_first, n_second) <= alpha).sum())


def _least_mean(n: int, alpha: float) -> float:
    """Return the mean of W from which on Hoeffding's bound excludes 1/2."""
    low, high = 0.5, 1.0
    if lower_bound(1.0, n, alpha=alpha) < 0.5:
        return 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if lower_bound(middle, n, alpha=alpha) >= 0.5:
            high = middle
        else:
            low = middle
    return high


def hodges_lehmann(first: NDArray[np.float64], second: NDArray[np.float64], *, alpha: float) -> Shift:
    """Estimate by how much values of the first set are larger.

    With d_(1) <= … <= d_(n1 n2) all differences first - second, and C = #{u: P(U <= u) <= alpha}, the interval is
    [d_(C), d_(n1 n2 + 1 - C)]. Assumes that the two distributions differ by a shift alone; with ties it covers more.

    Args:
        first, second: (n1,) and (n2,) values.
        alpha: error probability a side, in (0, 1/2).

    Returns:
        the shift with its interval, infinite where there are too few values.

    Reference: Hodges and Lehmann, Estimates of location based on rank tests, Ann. Math. Statistics 1963.
    """
    return shift_of_differences(np.subtract.outer(first, second), alpha=alpha)


def shift_of_differences(differences: NDArray[np.float64], *, alpha: float) -> Shift:
    """Return the Hodges-Lehmann shift of all differences between two sets; see `hodges_lehmann`.

    Args:
        differences: (n1, n2).
        alpha: error probability a side, in (0, 1/2).

    Returns:
        the shift with its interval, infinite where there are too few values.
    """
    ascending = np.sort(differences, axis=None)
    c = rejected_counts(*differences.shape, alpha)
    value = float(np.median(ascending))
    if c == 0:
        return Shift(value, -np.inf, np.inf)
    return Shift(value, float(ascending[c - 1]), float(ascending[-c]))
