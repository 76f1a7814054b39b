"""Recorded runs of one condition against a constant."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from lossact.errors import InputError
from lossact.stats.mean_evidence import have_spread
from lossact.stats.recorded.binomial import clopper_pearson, lower_tail, upper_tail
from lossact.stats.recorded.fixed import FixedDecision, fewest_by_power, verdict_of


def decide_share(
    successes: int, undetermined: int, n: int, *, alpha: float, support: float, refute: float
) -> FixedDecision:
    """Decide "more than a share `support` of runs succeed" from n runs.

    Null of support: P(success) <= support. Null of refutation: P(success) >= refute. Undetermined runs count against
    either verdict. The interval is Clopper and Pearson's.

    Args:
        successes, undetermined: how many runs succeed, and of how many that is not known.
        n: runs in all, >= 1.
        alpha: error probability a side, in (0, 1/2).
        support, refute: probabilities in (0, 1), ascending.

    Returns:
        the decision, with the share and its bounds.
    """
    p_support = upper_tail(successes, n, support)
    p_refute = lower_tail(successes + undetermined, n, refute)
    low, high = clopper_pearson(successes, successes + undetermined, n, alpha=alpha)
    return FixedDecision(
        verdict=verdict_of(p_support, p_refute, alpha=alpha),
        value=(successes + undetermined / 2) / n,
        low=low,
        high=high,
        alpha=alpha,
        p_support=p_support,
        p_refute=p_refute,
        smallest_p=support**n,
        fewest_runs=fewest_by_power(support, alpha),
        sample=f"{n} recorded runs; a fixed number",
        wins=successes,
        ties=0,
        losses=n - successes - undetermined,
        undetermined=undetermined,
    )


def decide_at_most(values: NDArray[np.float64], constant: float, *, alpha: float, delta: float = 0.1) -> FixedDecision:
    """Decide "the median is at most `constant`" by the sign test.

    W = 1 for a run whose value is at most the constant. Null of support: P(W = 1) <= 1/2; null of refutation:
    P(W = 1) >= 1/2 + delta.

    Args:
        values: (n,) one a run.
        constant: in the unit of the values.
        alpha: error probability a side, in (0, 1/2).
        delta: the smallest margin that matters, in (0, 1/2).

    Returns:
        the decision, with the share of runs that are at most the constant.
    """
    successes = int((values <= constant).sum())
    return decide_share(successes, 0, len(values), alpha=alpha, support=0.5, refute=0.5 + delta)


@dataclass(frozen=True)
class StudentTest:
    """Student's t for the mean of normal values.

    Attributes:
        mean: the estimate.
        low, high: its interval, alpha a side.
        t: (mean - constant) / (sd / sqrt(n)).
        p_below: p-value against the null "mean >= constant".
        p_above: p-value against the null "mean <= constant".
    """

    mean: float
    low: float
    high: float
    t: float
    p_below: float
    p_above: float


def student_t(values: NDArray[np.float64], constant: float, *, alpha: float) -> StudentTest:
    """Compare a mean with a constant, assuming independent normal values.

    Args:
        values: (n,), n >= 2, that differ by more than rounding.
        constant: in the unit of the values.
        alpha: error probability a side, in (0, 1/2).

    Returns:
        the mean with its interval, and both one-sided p-values.

    Raises:
        InputError: the values have no spread, or there is only one.
    """
    n = len(values)
    if n < 2 or not have_spread(values)[-1]:
        raise InputError(f"{n} values without spread have no t statistic; use the sign test")
    error = float(np.std(values, ddof=1)) / np.sqrt(n)
    mean = float(np.mean(values))
    t = float((mean - constant) / error)
    half = float(stdtrit(n - 1, 1 - alpha) * error)
    return StudentTest(mean, mean - half, mean + half, t, float(stdtr(n - 1, t)), float(stdtr(n - 1, -t)))


def median_interval(values: NDArray[np.float64], *, alpha: float) -> tuple[float, float]:
    """Return the sign test's interval for the median: two order statistics, infinite where n is too small.

    The bounds are the c-th smallest and the c-th largest value, c the number of k with P(Bin(n, 1/2) <= k) <= alpha.

    Args:
        values: (n,), n >= 0.
        alpha: error probability a side, in (0, 1/2).

    Returns:
        the lower and the upper bound.

    >>> median_interval(np.arange(6.0), alpha=0.025)
    (0.0, 5.0)
    >>> median_interval(np.arange(5.0), alpha=0.025)
    (-inf, inf)
    """
    ascending = np.sort(values)
    c = 0
    while 2 * c < len(values) and lower_tail(c, len(values), 0.5) <= alpha:
        c += 1
    if c == 0:
        return -np.inf, np.inf
    return float(ascending[c - 1]), float(ascending[-c])
