"""Sign tests for pairs of recorded runs."""

from lossact.stats.margins import Margins
from lossact.stats.recorded import hoeffding
from lossact.stats.recorded.binomial import clopper_pearson, lower_tail, upper_tail
from lossact.stats.recorded.fixed import FixedDecision, fewest_by_power, verdict_of
from lossact.stats.recorded.outcome_counts import OutcomeCounts


def decide_paired(counts: OutcomeCounts, *, alpha: float, margins: Margins) -> FixedDecision:
    """Decide "A wins" from n pairs of runs, a fixed number.

    W = 1, 1/2 or 0 for a pair that A wins, ties or loses. Null of support: E[W] <= margins.support. Null of
    refutation: E[W] >= margins.refute. The pairs are independent; nothing else is assumed.

    For a claim about wins ties are dropped from support, P(Bin(wins + losses, 1/2) >= wins), and count as wins in
    refutation, P(Bin(n, 1/2 + delta) <= wins + ties). For a claim of no loss ties count one half, by Hoeffding's bound
    for the mean. Undetermined pairs count against either verdict; pairs of which neither reached the target are ties
    to support and wins to refutation.

    Args:
        counts: over at least one pair.
        alpha: error probability a side, in (0, 1/2).
        margins: (1/2, 1/2 + delta) or (1/2 - delta, 1/2).

    Returns:
        the decision. Its value is wins / (wins + losses) with the Clopper-Pearson interval; for a claim of no loss the
        mean of W with Hoeffding's.

    >>> decide_paired(OutcomeCounts(6, 0, 0), alpha=0.025, margins=Margins.of_wins(0.1)).verdict
    'supported'
    >>> decide_paired(OutcomeCounts(0, 0, 5), alpha=0.025, margins=Margins.of_wins(0.1)).verdict
    'refuted'
    """
    n, hidden = counts.n, counts.undetermined
    not_lost = counts.wins + counts.censored + hidden
    left_out = ""
    if margins.support == 0.5:
        tied = counts.ties + counts.censored
        left_out = f", {tied} of them tied and left out" if tied else ""
        decisive = counts.wins + counts.losses + hidden
        value = (counts.wins + hidden / 2) / decisive if decisive else 0.5
        p_support = upper_tail(counts.wins, decisive, 0.5)
        p_refute = lower_tail(not_lost + counts.ties, n, margins.refute)
        low, _ = clopper_pearson(counts.wins, counts.wins, decisive, alpha=alpha)
        _, high = clopper_pearson(not_lost, not_lost, decisive + counts.censored, alpha=alpha)
    else:
        value = counts.mean
        p_support = hoeffding.p_above(counts.lowest_mean, n, margins.support)
        p_refute = hoeffding.p_below(counts.highest_mean, n, margins.refute)
        low = hoeffding.lower_bound(counts.lowest_mean, n, alpha=alpha)
        high = hoeffding.upper_bound(counts.highest_mean, n, alpha=alpha)
    return FixedDecision(
        verdict=verdict_of(p_support, p_refute, alpha=alpha),
        value=value,
        low=low,
        high=high,
        alpha=alpha,
        p_support=p_support,
        p_refute=p_refute,
        smallest_p=margins.support**n,
        fewest_runs=fewest_by_power(margins.support, alpha),
        sample=f"{n} pairs of recorded runs{left_out}; a fixed number",
        wins=counts.wins,
        ties=counts.ties + counts.censored,
        losses=counts.losses,
        undetermined=hidden,
    )
