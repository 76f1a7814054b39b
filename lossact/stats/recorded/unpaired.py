"""Two sets of recorded runs that nothing pairs."""

import numpy as np
from numpy.typing import NDArray

from lossact.stats.margins import Margins
from lossact.stats.recorded import hoeffding
from lossact.stats.recorded.fixed import FixedDecision, fewest_by_power, runs_needed, verdict_of
from lossact.stats.recorded.outcome_counts import OutcomeCounts
from lossact.stats.recorded.ranks import (
    is_countable,
    is_countable_untied,
    rank_sum_p,
    smallest_p,
    tie_groups,
    untied_p,
)


def outcomes_of_values(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.int8]:
    """Return the outcome of "the first is larger" for every pair of runs.

    Args:
        first: (n1,) finite values.
        second: (n2,) finite values.

    Returns:
        (n1, n2) Outcome values.
    """
    return (np.sign(np.subtract.outer(first, second)) + 1).astype(np.int8)


def decide_unpaired(
    outcomes: NDArray[np.int8],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    alpha: float,
    margins: Margins,
) -> FixedDecision:
    """Decide "a run of A wins against a run of B" from two sets of runs, fixed numbers.

    theta is the probability that a run of A wins against a run of B, ties counting one half. At a margin of 1/2,
    support is tested by the exact permutation distribution of the midranks; the null is that both sets have one
    distribution. Otherwise, and for the interval, by Hoeffding's bound with the smaller n, which assumes nothing about
    the distributions. Where the permutation distribution takes too long to count, ties count as lost, which makes the
    test conservative; and where that is too much as well, Hoeffding's bound serves there too.

    Args:
        outcomes: (n1, n2) Outcome values, A against B.
        first, second: (n1,) and (n2,) scores, larger is better, with every undetermined pair lost to A.
        alpha: error probability a side, in (0, 1/2).
        margins: (1/2, 1/2 + delta) or (1/2 - delta, 1/2).

    Returns:
        the decision; its interval begins at margins.support or above where, and only where, it is SUPPORTED.

    Reference: Hoeffding, Probability inequalities for sums of bounded random variables, JASA 1963.
    """
    counts = OutcomeCounts.of(outcomes)
    n_first, n_second = outcomes.shape
    n = min(n_first, n_second)
    low = hoeffding.lower_bound(counts.lowest_mean, n, alpha=alpha)
    high = hoeffding.upper_bound(counts.highest_mean, n, alpha=alpha)
    groups = tie_groups(np.concatenate([first, second]))
    is_exact = margins.support == 0.5 and is_countable(groups, n_first)
    if is_exact:
        p_support, least_p = rank_sum_p(first, second), smallest_p(groups, n_first)
        if counts.undetermined:  # the scores tie runs that need not tie, which would make the distribution narrower
            p_support = max(p_support, untied_p(n_first, n_second, counts.lowest_mean * counts.n))
    elif margins.support == 0.5 and is_countable_untied(n_first, n_second):
        is_exact = len(groups) == n_first + n_second
        p_support, least_p = untied_p(n_first, n_second, counts.wins), untied_p(n_first, n_second, counts.n)
    else:
        p_support, least_p = hoeffding.p_above(counts.lowest_mean, n, margins.support), margins.support**n
    p_refute = hoeffding.p_below(counts.highest_mean, n, margins.refute)
    verdict = verdict_of(p_support, p_refute, alpha=alpha)
    # The rank test and Hoeffding's bound are different statistics; the interval keeps to the side of the verdict.
    low = max(low, margins.support) if verdict == "supported" else min(low, margins.support)
    return FixedDecision(
        verdict=verdict,
        value=counts.mean,
        low=low,
        high=max(high, low),
        alpha=alpha,
        p_support=p_support,
        p_refute=p_refute,
        smallest_p=least_p,
        fewest_runs=runs_needed(alpha)[1] if margins.support == 0.5 else fewest_by_power(margins.support, alpha),
        sample=f"{n_first} and {n_second} recorded runs; a fixed number",
        wins=counts.wins,
        ties=counts.ties + counts.censored,
        losses=counts.losses,
        undetermined=counts.undetermined,
        is_exact=is_exact and not counts.undetermined,
    )


def decide_larger(
    first: NDArray[np.float64], second: NDArray[np.float64], *, alpha: float, delta: float = 0.1
) -> FixedDecision:
    """Decide "a value of the first set is larger" from two sets of runs, fixed numbers.

    Args:
        first, second: (n1,) and (n2,) finite values.
        alpha: error probability a side, in (0, 1/2).
        delta: the smallest margin over 1/2 that matters, in (0, 1/2).

    Returns:
        the decision, with the probability and its bounds.

    >>> decide_larger(np.array([5.0, 6, 7, 8]), np.array([1.0, 2, 3, 4]), alpha=0.025).verdict
    'supported'
    """
    return decide_unpaired(
        outcomes_of_values(first, second), first, second, alpha=alpha, margins=Margins.of_wins(delta)
    )


def unlike(first: NDArray[np.float64], second: NDArray[np.float64]) -> str:
    """Return a warning where interquartile ranges or sizes of two sets differ twofold.

    The permutation test's null is equal distributions. With unlike spreads and sizes it rejects equal medians
    too often.

    Args:
        first: (n1,) finite values.
        second: (n2,) finite values.

    Returns:
        the warning, "" for none.
    """
    reasons = []
    sizes = sorted((len(first), len(second)))
    if sizes[1] >= 2 * sizes[0]:
        reasons.append(f"the numbers of runs ({len(first)} and {len(second)}) differ twofold")
    spreads = sorted(float(np.subtract(*np.percentile(values, [75, 25]))) for values in (first, second))
    if spreads[1] > 0 and spreads[1] >= 2 * spreads[0]:
        reasons.append("the interquartile spreads differ twofold")
    if not reasons:
        return ""
    return (
        f"{' and '.join(reasons)}: the rank test's null is that both distributions are equal, so a difference in "
        "spread alone can also lead to SUPPORTED"
    )
