"""Whether two sets of recorded runs are as good as each other."""

from lossact.stats.recorded import hoeffding
from lossact.stats.recorded.fixed import FixedDecision, fewest_by_power, verdict_of
from lossact.stats.recorded.outcome_counts import OutcomeCounts


def decide_equal(counts: OutcomeCounts, n: int, sample: str, *, alpha: float, delta: float) -> FixedDecision:
    """Decide "the probability of a win lies within delta of 1/2" by Hoeffding's bound.

    SUPPORTED where both one-sided tests reject at alpha (theta > 1/2 - delta and theta < 1/2 + delta). REFUTED where
    theta is shown, at alpha / 2 a side, to lie outside. Undetermined pairs count against either.

    Args:
        counts: over all pairs, ties counting one half.
        n: pairs, or the smaller number of runs where nothing pairs them.
        sample: the runs in words.
        alpha: error probability a side, in (0, 1/2).
        delta: the smallest margin that matters, in (0, 1/2).

    Returns:
        the decision, with the probability and its bounds.
    """
    least, most = 0.5 - delta, 0.5 + delta
    p_support = max(hoeffding.p_above(counts.lowest_mean, n, least), hoeffding.p_below(counts.highest_mean, n, most))
    p_refute = min(
        1.0,
        2 * hoeffding.p_above(counts.lowest_mean, n, most),
        2 * hoeffding.p_below(counts.highest_mean, n, least),
    )
    return FixedDecision(
        verdict=verdict_of(p_support, p_refute, alpha=alpha),
        value=counts.mean,
        low=hoeffding.lower_bound(counts.lowest_mean, n, alpha=alpha),
        high=hoeffding.upper_bound(counts.highest_mean, n, alpha=alpha),
        alpha=alpha,
        p_support=p_support,
        p_refute=p_refute,
        smallest_p=hoeffding.p_above(0.5, n, least),
        fewest_runs=fewest_by_power(hoeffding.p_above(0.5, 1, least), alpha),
        sample=sample,
        wins=counts.wins,
        ties=counts.ties + counts.censored,
        losses=counts.losses,
        undetermined=counts.undetermined,
    )
