"""Whether two conditions are as good as each other: a win probability within 1/2 - delta … 1/2 + delta."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lossact.stats.betting import Floats, bets, log_evidence, lower_bound, upper_bound
from lossact.stats.decision import Comparison, Decision, check_evidence, observed_win_probability, open_reason
from lossact.stats.evidence_path import EvidencePath
from lossact.stats.outcomes import refutation_counts, running_totals, support_counts
from lossact.stats.planning import replicas_to_go
from lossact.stats.replay import Margins, first_crossing, log_evidence_censoring


def decide_equivalence(comparison: Comparison, *, alpha: float, delta: float, limit: int) -> Decision:
    """Replay a comparison from replica 0 until its confidence sequence says "within delta of 1/2" or "not 1/2".

    SUPPORTED when the sequence lies within (1/2 - delta, 1/2 + delta), REFUTED when it leaves 1/2; each bound has
    alpha / 2, the first crossing stands. Under theta = 1/2 +- delta SUPPORTED has probability alpha / 2 at most, under
    theta = 1/2 REFUTED alpha at most.

    Args:
        comparison: what every replica said, with OPEN where it could not tell.
        alpha: in (0, 1/2).
        delta: the smallest margin that matters, in (0, 1/2).
        limit: replicas to look at, at most.

    Raises:
        InputError: one of these rules is broken.
    """
    margins = Margins.of_wins(delta)
    check_evidence([comparison], alpha, margins)
    n = min(len(comparison.outcomes), limit)
    totals = running_totals(comparison.outcomes[:n])
    log_within, log_apart = _log_evidence(totals, delta)
    threshold = math.log(2 / alpha)
    decided_at, verdict = first_crossing(
        (log_within >= threshold, "supported"),
        (log_apart >= threshold, "refuted"),
        (log_evidence_censoring(totals, margins) >= threshold, "inconclusive"),
    )
    loss, tie, win, censored, undecided = (int(count) for count in totals[:, -1])
    censoring_reason = censored + undecided
    decided = decided_at is not None
    # Above 2 delta of hidden comparisons nothing shows equality; a difference may still show.
    budget_short = verdict == "inconclusive" and (
        decided or (censoring_reason > 2 * delta * n and 2 * max(win, loss) <= n)
    )
    to_go = None
    if not decided and not budget_short:
        to_go = replicas_to_go([totals], partial(_crosses, alpha=alpha, delta=delta))
    low = lower_bound([support_counts(totals)], alpha / 2, margins.bets)
    high = upper_bound([refutation_counts(totals)], alpha / 2, margins.bets)
    reasons = {
        "supported": "",
        "refuted": f"{'sooner' if low > 0.5 else 'later'} more often than not",
        "inconclusive": open_reason(margins.censoring_reason if budget_short else None, n, to_go),
    }
    value = observed_win_probability(totals[:, -1])
    sides = ((0.5 - delta, 0.5), (0.5, 0.5 + delta))
    return Decision(
        verdict=verdict,
        reason=reasons[verdict],
        replicas=n,
        decided_at=decided_at,
        final=decided or n >= limit,
        value=value,
        low=low,
        high=high,
        alpha=alpha,
        level=1 - alpha,
        log_support=float(log_within[-1]) - math.log(2),
        log_refute=float(log_apart.max()) - math.log(2),
        wins=win,
        ties=tie + censored,
        losses=loss,
        undecided=censoring_reason,
        weakest_comparison=comparison.name,
        indifference_zone=next((side for side in sides if side[0] < value < side[1]), None),
        replicas_to_go=to_go,
        evidence_path=EvidencePath.of(log_within - math.log(2), log_apart - math.log(2), decided_at),
    )


def _log_evidence(totals: NDArray[np.int64] | Floats, delta: float) -> tuple[Floats, Floats]:
    """Of "within delta of 1/2", the less certain bound's largest so far, and of "not 1/2", the more certain one's."""
    sides = (support_counts(totals), refutation_counts(totals).mirrored())
    bet = bets(delta)
    within = [np.maximum.accumulate(log_evidence(counts, 0.5 - delta, bet)) for counts in sides]
    apart = [log_evidence(counts, 0.5, bet) for counts in sides]
    return np.minimum(*within), np.maximum(*apart)


def _crosses(totals: Sequence[Floats], *, alpha: float, delta: float) -> NDArray[np.bool_]:
    return np.maximum(*_log_evidence(totals[0], delta)) >= math.log(2 / alpha)
