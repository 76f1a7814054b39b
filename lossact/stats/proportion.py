"""A probability with its confidence sequence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossact.stats.betting import Counts, bets, lower_bound, upper_bound


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


def proportion(happened: NDArray[np.bool_], *, alpha: float, delta: float) -> Proportion:
    """Bounds by the betting engine, without ties and with bets up to 0.99.

    Args:
        happened: (n,), n >= 1.
        alpha: error probability a side.
        delta: the smallest bet.
    """
    successes, n = int(happened.sum()), len(happened)
    counts = [Counts.of(successes, 0, n - successes)]
    bet = bets(delta, 0.99)
    return Proportion(successes, n, lower_bound(counts, alpha, bet), upper_bound(counts, alpha, bet), 1 - 2 * alpha)
