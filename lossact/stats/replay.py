"""The evidence replica by replica, and its first crossing.

A claim is one comparison ("A before B") or several that must all hold ("A before B before C", pair by pair). With
theta the probability that a replica says so, the null of support is theta <= 1/2 for some pair, the null of
refutation theta >= 1/2 + delta for every pair. Between the two lies the zone of indifference, in which either
verdict may come.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from lossact.stats.betting import Counts, Floats, bets, log_evidence
from lossact.stats.outcomes import Outcome, Outcomes, refutation_counts, running_totals, support_counts

VerdictName = Literal["supported", "refuted", "inconclusive"]


@dataclass(frozen=True)
class Margins:
    """What the mean of W is held against.

    Attributes:
        support: the null of support is E[W] <= this.
        refute: the null of refutation is E[W] >= this, greater than `support`.
        smallest_bet, largest_bet: the range of the bets, in (0, 1).
        tags: what REFUTED is called where the mean is shown to be below `support`, and where it is not.
        hidden: what INCONCLUSIVE is called where too many replicas cannot tell.
    """

    support: float
    refute: float
    smallest_bet: float
    largest_bet: float = 0.5
    refutation_labels: tuple[str, str] = ("reversed", "negligible")
    censoring_reason: str = "budget too short"

    @classmethod
    def of_wins(cls, delta: float) -> "Margins":
        """For "who is first": 1/2, and 1/2 + delta, the smallest margin that matters."""
        return cls(0.5, 0.5 + delta, delta)

    @classmethod
    def of_no_loss(cls, delta: float) -> "Margins":
        """For "is not later by a margin that matters": 1/2 - delta, and 1/2."""
        return cls(0.5 - delta, 0.5, delta, refutation_labels=("later by more than delta", "later"))

    @property
    def bets(self) -> Floats:
        """(60,) bets."""
        return bets(self.smallest_bet, self.largest_bet)


@dataclass(frozen=True, eq=False)
class Replay:
    """How the evidence grew.

    Attributes:
        verdict: of the first crossing; "inconclusive" where nothing crossed, or where censoring was shown to hide
            too much.
        decided_at: after how many replicas, None where nothing crossed.
        log_support: (replicas,) logarithm of the least pair's largest e-value so far.
        log_refute: (replicas,) logarithm of the e-value averaged over pairs.
        pair_log_refute: (pairs, replicas).
        totals: a pair's running totals, as running_totals gives them, for each pair.
    """

    verdict: VerdictName
    decided_at: int | None
    log_support: Floats
    log_refute: Floats
    pair_log_refute: Floats
    totals: list[NDArray[np.int64]]


def replay(outcomes: Sequence[Outcomes], *, alpha: float, margins: Margins) -> Replay:
    """Replay the evidence of all pairs from replica 0 and let the first crossing stand.

    SUPPORTED when every pair's E(w, t, l; support) has reached 1/alpha at some time (intersection-union, no
    correction). REFUTED when the average over pairs of E(l, t, w; 1 - refute) reaches 1/alpha. INCONCLUSIVE early when
    censoring is shown, at level alpha, to hide what either would need.

    Args:
        outcomes: one (replicas,) array of Outcome values a pair, all of one length >= 1.
        alpha: error probability of either side.
        margins: what the means are held against.
    """
    totals = [running_totals(one) for one in outcomes]
    threshold = -math.log(alpha)
    log_support, pair_refute, log_refute = log_evidence_of_pairs(totals, margins)
    censoring_reason = np.stack([log_evidence_censoring(total, margins) for total in totals]).min(axis=0)
    decided_at, verdict = first_crossing(
        (log_support >= threshold, "supported"),
        (log_refute >= threshold, "refuted"),
        (censoring_reason >= threshold, "inconclusive"),
    )
    return Replay(
        verdict=verdict,
        decided_at=decided_at,
        log_support=log_support,
        log_refute=log_refute,
        pair_log_refute=pair_refute,
        totals=totals,
    )


def log_evidence_of_pairs(
    totals: Sequence[NDArray[np.int64] | Floats], margins: Margins
) -> tuple[Floats, Floats, Floats]:
    """The e-values of all pairs together, at every moment of their running totals.

    Returns:
        the least pair's largest evidence for support so far (moments,), the evidence of refutation of each pair
        (pairs, moments) and its average (moments,), all as logarithms.
    """
    bet = margins.bets
    pair_support = np.stack([log_evidence(support_counts(total), margins.support, bet) for total in totals])
    pair_refute = np.stack(
        [log_evidence(refutation_counts(total).mirrored(), 1 - margins.refute, bet) for total in totals]
    )
    log_support = np.maximum.accumulate(pair_support, axis=1).min(axis=0)
    return log_support, pair_refute, logsumexp(pair_refute, axis=0) - math.log(len(totals))


def log_evidence_censoring(totals: NDArray[np.int64], margins: Margins) -> NDArray[np.float64]:
    """Evidence that censoring hides what would be needed for either verdict.

    OPEN comparisons count against both sides: above `refute` of them there is no refutation, above 1 - `support` no
    support. CENSORED ones are ties to support, which any few arrivals can decide: they end the looks only while
    nobody has arrived at all.
    """
    censored, undecided = totals[Outcome.CENSORED], totals[Outcome.OPEN]
    seen = totals.sum(axis=0)
    bet = bets(margins.smallest_bet, 0.99)
    neither = max(margins.refute, 1 - margins.support)
    open_share = log_evidence(Counts.of(undecided, 0 * seen, seen - undecided), neither, bet)
    nobody = log_evidence(Counts.of(seen, 0 * seen, 0 * seen), max(2 * (1 - margins.refute), margins.refute), bet)
    return np.where(censored == seen, nobody, open_share)


def first_crossing(*crossings: tuple[NDArray[np.bool_], VerdictName]) -> tuple[int | None, VerdictName]:
    """After how many replicas the first verdict falls, and which; None and "inconclusive" where none does."""
    times = [int(crossed.argmax()) if crossed.any() else len(crossed) for crossed, _ in crossings]
    first = int(np.argmin(times))
    crossed, verdict = crossings[first]
    return (times[first] + 1, verdict) if crossed.any() else (None, "inconclusive")
