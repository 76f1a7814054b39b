"""A probability with its confidence sequence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossact.stats.betting import Counts, lower_bound, upper_bound


@dataclass(frozen=True)
class Proportion:
    """How often something happened, and bounds on its probability that hold however often one looks.

    Attributes:
        successes, n: counts.
        low, high: bounds on the probability.
        level: their joint coverage, 1 - 2 alpha.
    """

    successes: int
    n: int
    low: float
    high: float
    level: float

    @property
    def value(self) -> float:
        """The observed share."""
        return self.successes / self.n


def proportion(happened: NDArray[np.bool_], *, alpha: float) -> Proportion:
    """Return an observed share with its confidence sequence, by the betting engine.

    Args:
        happened: (n,), n >= 1.
        alpha: error probability a side.

    Returns:
        the share and bounds that hold at level 1 - 2 alpha however often one looks.

    >>> share = proportion(np.array([True] * 9 + [False]), alpha=0.025)
    >>> share.value, round(share.low, 3), round(share.high, 3)
    (0.9, 0.393, 1.0)
    """
    successes, n = int(happened.sum()), len(happened)
    counts = [Counts.of(successes, 0, n - successes)]
    return Proportion(successes, n, lower_bound(counts, alpha), upper_bound(counts, alpha), 1 - 2 * alpha)
