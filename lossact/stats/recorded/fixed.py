"""A verdict from a fixed number of recorded runs."""

import math
from dataclasses import dataclass

from lossact.stats.replay import VerdictName


@dataclass(frozen=True)
class FixedDecision:
    """A verdict at one level, from all recorded runs at once.

    Attributes:
        verdict: SUPPORTED is asked for first.
        value: the estimate.
        low, high: its interval, closed; it never contradicts the verdict.
        alpha: error probability a side.
        p_support: p-value against the null of support.
        p_refute: p-value against the null of refutation.
        smallest_p: the smallest p_support that so many runs can have.
        fewest_runs: the fewest runs of each condition (pairs, where paired) that could show support, without ties.
        sample: the runs in words, such as "10 and 8 recorded runs; a fixed number".
        wins, ties, losses, undetermined: pairs of runs behind the estimate.
        is_exact: whether p_support is that of an exact test; otherwise it is an upper bound.
    """

    verdict: VerdictName
    value: float
    low: float
    high: float
    alpha: float
    p_support: float
    p_refute: float
    smallest_p: float
    fewest_runs: int
    sample: str
    wins: int
    ties: int
    losses: int
    undetermined: int
    is_exact: bool = True

    @property
    def level(self) -> float:
        """The interval's confidence level, 1 - 2 alpha."""
        return 1 - 2 * self.alpha

    @property
    def can_support(self) -> bool:
        """Whether so many runs could show support at this level at all."""
        return self.smallest_p <= self.alpha


def verdict_of(p_support: float, p_refute: float, *, alpha: float) -> VerdictName:
    """Return SUPPORTED where p_support allows it, else REFUTED where p_refute does.

    Args:
        p_support: p-value against the null of support.
        p_refute: p-value against the null of refutation.
        alpha: error probability a side, in (0, 1/2).

    Returns:
        "supported", "refuted" or "inconclusive".
    """
    if p_support <= alpha:
        return "supported"
    return "refuted" if p_refute <= alpha else "inconclusive"


def fewest_by_power(base: float, alpha: float) -> int:
    """Return the least n with base^n <= alpha.

    Args:
        base: in (0, 1).
        alpha: in (0, 1).

    Returns:
        n.
    """
    return math.ceil(math.log(alpha) / math.log(base) - 1e-12)


def runs_needed(alpha: float) -> tuple[int, int]:
    """Return the fewest runs that could show support at alpha.

    Args:
        alpha: error probability a side, in (0, 1/2).

    Returns:
        pairs of runs, and unpaired runs of each condition.

    >>> runs_needed(0.025)
    (6, 4)
    >>> runs_needed(0.025 / 45)
    (11, 7)
    """
    pairs = fewest_by_power(0.5, alpha)
    runs = 1
    while math.comb(2 * runs, runs) * alpha < 1:
        runs += 1
    return pairs, runs
