"""Binomial tails and the Clopper-Pearson interval, by the incomplete beta function."""

from scipy.special import betainc, betaincinv


def upper_tail(count: int, n: int, probability: float) -> float:
    """Return P(Bin(n, probability) >= count).

    Args:
        count: successes.
        n: trials, >= 0.
        probability: of a success, in [0, 1].

    Returns:
        a probability.
    """
    return float(betainc(count, n - count + 1, probability)) if count > 0 else 1.0


def lower_tail(count: int, n: int, probability: float) -> float:
    """Return P(Bin(n, probability) <= count).

    Args:
        count: successes.
        n: trials, >= 0.
        probability: of a success, in [0, 1].

    Returns:
        a probability.
    """
    return float(betainc(n - count, count + 1, 1 - probability)) if count < n else 1.0


def clopper_pearson(low_count: int, high_count: int, n: int, *, alpha: float) -> tuple[float, float]:
    """Return exact bounds of a probability, each wrong with probability alpha at most.

    Args:
        low_count: successes as the lower bound counts them.
        high_count: successes as the upper bound counts them; larger where some outcomes are not determined.
        n: trials; the bounds are 0 and 1 where it is 0.
        alpha: error probability a side, in (0, 1/2).

    Returns:
        the lower and the upper bound.

    Reference: Clopper and Pearson, The use of confidence or fiducial limits, Biometrika 1934.
    """
    low = float(betaincinv(low_count, n - low_count + 1, alpha)) if low_count else 0.0
    high = float(betaincinv(high_count + 1, n - high_count, 1 - alpha)) if high_count < n else 1.0
    return low, high
