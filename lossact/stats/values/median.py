"""A confidence sequence for a median, by inverting the sign test at every moment."""

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossact.stats.betting import MIXTURE, Bets, Counts, Floats, log_evidence


@dataclass(frozen=True, eq=False)
class MedianSequence:
    """A median with bounds that hold at all times at once.

    Attributes:
        value: the median of the defined numbers; NaN where there are none.
        lows, highs: (n,) closed bounds after 1, 2, ... numbers, each the tightest so far; infinite while too few
            numbers are known.
        level: their joint coverage.
    """

    value: float
    lows: Floats
    highs: Floats
    level: float

    @property
    def low(self) -> float:
        """The lower bound after all numbers."""
        return float(self.lows[-1])

    @property
    def high(self) -> float:
        """The upper bound after all numbers."""
        return float(self.highs[-1])


def rank_boundary(n: int, *, alpha: float, bets: Bets = MIXTURE) -> NDArray[np.int64]:
    """Return how many of the first 1 ... n signs must be positive for evidence of 1 / alpha that most are.

    Args:
        n: moments, >= 1.
        alpha: error probability of a side.
        bets: of the mixture.

    Returns:
        (n,) the smallest w with E(w, 0, moment - w; 1/2) >= 1 / alpha; moment + 1 where no w suffices.
    """
    moments = np.arange(1, n + 1)
    low, high = np.zeros(n, dtype=np.int64), moments + 1  # evidence at `low` is too small, at `high` it is not
    while (high - low > 1).any():
        middle = (low + high) // 2
        wins = np.minimum(middle, moments)
        counts = Counts.of(wins, np.zeros(n), moments - wins)
        enough = log_evidence(counts, 0.5, bets) >= -math.log(alpha)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


def median_sequence(numbers: ArrayLike, boundary: NDArray[np.int64], *, alpha: float) -> MedianSequence:
    """Bound the median of what the numbers are drawn from, whatever its distribution.

    With U_n the number of positive signs that shows a positive median, at least U_n of the first n numbers are above
    any point that is excluded from below. So the lower bound is the largest, over n, of the U_n-th largest of the first
    n numbers; the upper bound is the smallest, over n, of the U_n-th smallest. Undefined numbers count as -inf for the
    lower and as inf for the upper bound.

    Args:
        numbers: (n,) in the order in which they came; NaN where undefined, infinite where that is known.
        boundary: (at least n,) as `rank_boundary` gives it.
        alpha: error probability of a side, that of the boundary.

    Returns:
        the median and its bounds.

    Reference: Howard and Ramdas, Sequential estimation of quantiles, Bernoulli 2022, doi 10.3150/21-BEJ1388.
    """
    values = np.asarray(numbers, dtype=np.float64)
    undefined = np.isnan(values)
    lows = _greatest_order_statistics(np.where(undefined, -np.inf, values), boundary)
    highs = -_greatest_order_statistics(np.where(undefined, -np.inf, -values), boundary)
    return MedianSequence(_median(values[~undefined]), lows, highs, 1 - 2 * alpha)


def _median(values: Floats) -> float:
    """The median; of infinities of both signs in the middle, NaN."""
    if not len(values):
        return math.nan
    ordered = np.sort(values)
    lower, upper = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return float(lower) if lower == upper else float((lower + upper) / 2)


def _greatest_order_statistics(values: Floats, boundary: NDArray[np.int64]) -> Floats:
    """Return the running maximum of the boundary[n]-th largest of the first n values; -inf before there is one."""
    greatest = np.full(len(values), -math.inf)
    top: list[float] = []  # the largest so far, as many as the boundary asks for; its root is the smallest of them
    rest: list[float] = []  # all others, negated: its root is the largest of them
    for n, value in enumerate(values.tolist(), start=1):
        if top and value > top[0]:
            heapq.heappush(rest, -heapq.heapreplace(top, value))
        else:
            heapq.heappush(rest, -value)
        rank = int(boundary[n - 1])
        if rank > n:
            continue
        while len(top) < rank:
            heapq.heappush(top, -heapq.heappop(rest))
        greatest[n - 1] = top[0]
    return np.maximum.accumulate(greatest)
