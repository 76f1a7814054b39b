"""Bounds for the mean of numbers in [0, 1], and for the probability of superiority of two sets.

For the mean of n independent numbers in [0, 1] with expectation theta, P(mean >= m) <= exp(-n KL(m, theta)) for
m > theta, with KL the relative entropy of two coins. The probability of superiority is an average over all n1 n2 pairs.
It can be written as an average of averages over min(n1, n2) disjoint pairs, so the same bound holds with that n.

Reference: Hoeffding, Probability inequalities for sums of bounded random variables, JASA 1963, sections 2 and 5.
"""

import math

SMALLEST = 1e-300


def coin_entropy(mean: float, theta: float) -> float:
    """Return KL(mean, theta), the relative entropy of two coins.

    Args:
        mean: of the first coin, in [0, 1].
        theta: of the second coin, in [0, 1].

    Returns:
        nats; inf where theta excludes what the first coin may show.
    """
    parts = [(mean, theta), (1 - mean, 1 - theta)]
    return sum(p * math.log(p / q) if q > 0 else math.inf for p, q in parts if p > 0)


def p_above(mean: float, n: int, margin: float) -> float:
    """Return an upper bound of the p-value against the null "theta <= margin".

    Args:
        mean: observed, in [0, 1].
        n: independent values in [0, 1] that it is the mean of.
        margin: in (0, 1).

    Returns:
        a probability.
    """
    return math.exp(-n * coin_entropy(mean, margin)) if mean > margin else 1.0


def p_below(mean: float, n: int, margin: float) -> float:
    """Return an upper bound of the p-value against the null "theta >= margin".

    Args:
        mean: observed, in [0, 1].
        n: independent values in [0, 1] that it is the mean of.
        margin: in (0, 1).

    Returns:
        a probability.
    """
    return p_above(1 - mean, n, 1 - margin)


def lower_bound(mean: float, n: int, *, alpha: float) -> float:
    """Return the theta below `mean` at which n KL(mean, theta) = ln(1/alpha).

    Args:
        mean: observed, in [0, 1].
        n: independent values in [0, 1] that it is the mean of.
        alpha: error probability, in (0, 1).

    Returns:
        the bound, in [0, mean].
    """
    from scipy.optimize import brentq

    if mean <= 0:
        return 0.0
    needed = -math.log(alpha) / n
    if mean >= 1:
        return math.exp(-needed)
    if coin_entropy(mean, SMALLEST) < needed:
        return 0.0
    # In logarithms, because a bound near 0 needs its relative precision.
    root = brentq(
        lambda log: coin_entropy(mean, math.exp(log)) - needed, math.log(SMALLEST), math.log(mean), xtol=1e-13
    )
    return min(mean, math.exp(root))


def upper_bound(mean: float, n: int, *, alpha: float) -> float:
    """Return the theta above `mean` at which n KL(mean, theta) = ln(1/alpha).

    Args:
        mean: observed, in [0, 1].
        n: independent values in [0, 1] that it is the mean of.
        alpha: error probability, in (0, 1).

    Returns:
        the bound, in [mean, 1].
    """
    return 1 - lower_bound(1 - mean, n, alpha=alpha)
