"""Whether the values of two sets of recorded runs differ by a margin at most."""

import numpy as np
from numpy.typing import NDArray

from lossact.stats.recorded import hoeffding
from lossact.stats.recorded.binomial import clopper_pearson, lower_tail
from lossact.stats.recorded.fixed import FixedDecision, runs_needed, verdict_of
from lossact.stats.recorded.ranks import is_countable_untied, untied_p


def decide_within(differences: NDArray[np.float64], within: float, *, alpha: float) -> FixedDecision:
    """Decide "the difference lies within [-within, within]" by its interval.

    The difference is the Hodges-Lehmann shift of unpaired runs, the median of pairs. SUPPORTED where its interval at
    alpha a side lies in [-within, within]; REFUTED where the one at alpha / 2 a side lies outside. The p-values are
    those that invert these intervals: P(U <= u), U Mann and Whitney's without ties, or P(Bin(n, 1/2) <= u), of the
    number u of differences beyond a margin.

    Args:
        differences: (n1, n2) of all pairs of runs, (n,) where paired; one that ties with a margin is that margin.
        within: the margin, > 0.
        alpha: error probability a side, in (0, 1/2).

    Returns:
        the decision. Its value is the smaller of the two shares of differences on the claimed side of a margin, with
        its interval.
    """
    n = differences.size
    sides = [(differences >= -within), (differences <= within)]
    held = [int(side.sum()) for side in sides]
    beyond = [int((differences > within).sum()), int((differences < -within).sum())]
    p_support = max(_p(n - count, differences.shape) for count in held)
    p_refute = min(1.0, 2 * min(_p(n - count, differences.shape) for count in beyond))
    verdict = verdict_of(p_support, p_refute, alpha=alpha)
    low = min(_bounds(count, differences.shape, alpha)[0] for count in held)
    high = max(low, min(_bounds(count, differences.shape, alpha / 2)[1] for count in held))
    if differences.ndim == 2:  # the interval of a share is Hoeffding's, the verdict that of ranks
        low = max(low, 0.5) if verdict == "supported" else min(low, 0.5)
        high = min(high, 0.5) if verdict == "refuted" else max(high, low)
        low = min(low, high)
    sizes = " and ".join(map(str, differences.shape)) + " recorded runs"
    pairs, unpaired = runs_needed(alpha)
    return FixedDecision(
        verdict=verdict,
        value=min(held) / n,
        low=low,
        high=high,
        alpha=alpha,
        p_support=p_support,
        p_refute=p_refute,
        smallest_p=_p(0, differences.shape),
        fewest_runs=pairs if differences.ndim == 1 else unpaired,
        sample=f"{f'{n} pairs of recorded runs' if differences.ndim == 1 else sizes}; a fixed number",
        wins=int((sides[0] & sides[1]).sum()),
        ties=0,
        losses=n - int((sides[0] & sides[1]).sum()),
        undetermined=0,
    )


def _p(count: int, shape: tuple[int, ...]) -> float:
    """The probability of so few differences on one side of their true centre, or of fewer."""
    if len(shape) == 1:
        return lower_tail(count, shape[0], 0.5)
    n_first, n_second = shape
    n = n_first * n_second
    if not is_countable_untied(n_first, n_second):
        return hoeffding.p_above(max(0.0, 1 - (count + 1) / n), min(shape), 0.5)
    return untied_p(n_first, n_second, n - count)


def _bounds(count: int, shape: tuple[int, ...], alpha: float) -> tuple[float, float]:
    """An interval for the probability of what `count` differences show."""
    if len(shape) == 1:
        return clopper_pearson(count, count, shape[0], alpha=alpha)
    mean, n = count / (shape[0] * shape[1]), min(shape)
    return hoeffding.lower_bound(mean, n, alpha=alpha), hoeffding.upper_bound(mean, n, alpha=alpha)
