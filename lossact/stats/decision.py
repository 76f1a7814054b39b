"""From the index sequence of outcomes to a verdict.

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

from lossact.checks import check_number
from lossact.errors import InputError
from lossact.stats.betting import Counts, bets, log_evidence, lower_bound, upper_bound
from lossact.stats.outcomes import (
    Outcome,
    Outcomes,
    refutation_counts,
    running_totals,
    support_counts,
)

VerdictName = Literal["supported", "refuted", "inconclusive"]

BUDGET_TOO_SHORT = "budget too short"
LIMIT_REACHED = "limit reached"


@dataclass(frozen=True, eq=False)
class Comparison:
    """What every replica said about one pair.

    Attributes:
        name: the pair in words, "A before B".
        outcomes: (replicas,) Outcome values by replica index.
    """

    name: str
    outcomes: Outcomes


@dataclass(frozen=True)
class Decision:
    """A verdict and the evidence for it.

    Attributes:
        verdict: "inconclusive" means not yet, or not with these runs.
        reason: why, where the verdict alone does not say it; else "".
        replicas: how many were looked at; all below is over these.
        decided_at: after how many of them the verdict fell, None where none has.
        final: False where more replicas may still decide.
        value: the observed win probability; of several pairs the smallest.
        low, high: the tightest bounds of its confidence sequence so far.
        level: the confidence sequence's level, 1 - 2 alpha.
        log_support, log_refute: natural logarithms of the largest e-values so far.
        wins, ties, losses: replicas of the pair that `value` is of, both censored counted as ties.
        undecided: replicas of that pair which censoring leaves without a winner, also counted above where it ties.
        weakest: name of that pair.
    """

    verdict: VerdictName
    reason: str
    replicas: int
    decided_at: int | None
    final: bool
    value: float
    low: float
    high: float
    level: float
    log_support: float
    log_refute: float
    wins: int
    ties: int
    losses: int
    undecided: int
    weakest: str

    @property
    def p_value(self) -> float:
        """Anytime-valid p-value of the null of support: one over the largest e-value."""
        return min(1.0, math.exp(-self.log_support))


def decide(comparisons: Sequence[Comparison], *, alpha: float, delta: float, limit: int) -> Decision:
    """Replay the evidence from replica 0 and let the first crossing stand.

    Args:
        comparisons: the pairs that must all hold, each with the same number (>= 1) of replicas.
        alpha: error probability of either side, in (0, 1/2).
        delta: the smallest margin over 1/2 that matters, in (0, 1/2).
        limit: replicas to look at, at most.

    Raises:
        InputError: one of these rules is broken.

    SUPPORTED when every pair's E(w, t, l; 1/2) has reached 1/alpha at some time (intersection-union, no correction).
    REFUTED when the average over pairs of E(l, t, w; 1/2 - delta) reaches 1/alpha. INCONCLUSIVE early when
    censoring is shown, at level alpha, to hide so many comparisons that neither could come.

    Replicas after the crossing do not change the verdict, but sharpen value and bounds: a confidence sequence holds at
    all times at once, so that its tightest bounds so far may be used. They invert just the statistics that decide,
    so that an interval never contradicts its verdict.
    """
    _check(comparisons, alpha, delta)
    n = min(len(comparisons[0].outcomes), limit)
    totals = [running_totals(comparison.outcomes[:n]) for comparison in comparisons]
    support = [support_counts(total) for total in totals]
    refute = [refutation_counts(total) for total in totals]
    bet, threshold = bets(delta), -math.log(alpha)

    log_supports = np.stack([log_evidence(counts, 0.5, bet) for counts in support])
    running_support = np.maximum.accumulate(log_supports, axis=1).min(axis=0)
    log_refutes = np.stack([log_evidence(counts.mirrored(), 0.5 - delta, bet) for counts in refute])
    average_refute = logsumexp(log_refutes, axis=0) - math.log(len(comparisons))
    hidden = np.stack([_log_hidden(total, delta) for total in totals]).min(axis=0)

    crossings: list[tuple[int, VerdictName]] = [
        (_first(running_support >= threshold), "supported"),
        (_first(average_refute >= threshold), "refuted"),
        (_first(hidden >= threshold), "inconclusive"),
    ]
    at, verdict = min(crossings, key=lambda crossing: crossing[0])
    crossed = at < n
    verdict = verdict if crossed else "inconclusive"

    values = [_share(total[:, -1]) for total in totals]
    weakest = int(np.argmin(values))
    high = upper_bound(refute, alpha, bet)
    broken = [
        comparison.name
        for comparison, evidence in zip(comparisons, log_refutes, strict=True)
        if evidence.max() >= threshold + math.log(len(comparisons))
    ]
    loss, tie, win, censored, undecided = (int(count) for count in totals[weakest][:, -1])
    return Decision(
        verdict=verdict,
        reason=_reason(verdict, high, len(comparisons), broken, crossed, (censored + undecided) / n, n),
        replicas=n,
        decided_at=at + 1 if crossed else None,
        final=crossed or n >= limit,
        value=values[weakest],
        low=min(lower_bound([counts], alpha, bet) for counts in support),
        high=high,
        level=1 - 2 * alpha,
        log_support=float(running_support[-1]),
        log_refute=float(average_refute.max()),
        wins=win,
        ties=tie + censored,
        losses=loss,
        undecided=censored + undecided,
        weakest=comparisons[weakest].name,
    )


def _check(comparisons: Sequence[Comparison], alpha: float, delta: float) -> None:
    check_number("alpha", alpha, above=0, below=0.5, hint=0.025)
    check_number("delta", delta, above=0, below=0.5, hint=0.1)
    lengths = {len(comparison.outcomes) for comparison in comparisons}
    if not comparisons or lengths == {0}:
        raise InputError("comparisons hold no replica; at least one is needed")
    if len(lengths) > 1:
        raise InputError(f"lengths {sorted(lengths)} of the comparisons differ; cut them to their common prefix first")
    for comparison in comparisons:
        if not np.isin(comparison.outcomes, list(Outcome)).all():
            raise InputError(f"{comparison.name}: outcomes must be Outcome values 0 … 4; compare_steps makes them")


def _log_hidden(totals: NDArray[np.int64], delta: float) -> NDArray[np.float64]:
    """Evidence that censoring hides more comparisons than leave room for a margin of delta either way.

    OPEN ones count against both sides: above 1/2 + delta of them neither verdict can be true to its margin. CENSORED
    ones are ties to support, so that takes 1 - 2 delta of them.
    """
    censored, undecided = totals[Outcome.CENSORED], totals[Outcome.OPEN]
    seen = totals.sum(axis=0)
    bet = bets(delta, 0.99)
    room = {"censored": max(1 - 2 * delta, 0.5 + delta), "open": 0.5 + delta}
    logs = [
        log_evidence(Counts.of(count, 0 * count, seen - count), room[name], bet)
        for name, count in (("censored", censored), ("open", undecided))
    ]
    hidden: NDArray[np.float64] = np.maximum(*logs)
    return hidden


def _first(crossed: NDArray[np.bool_]) -> int:
    return int(crossed.argmax()) if crossed.any() else len(crossed)


def _share(totals: NDArray[np.int64]) -> float:
    _, tie, win, censored, undecided = totals
    return float((win + (tie + censored + undecided) / 2) / totals.sum())


def _reason(
    verdict: VerdictName,
    high: float,
    n_pairs: int,
    broken: Sequence[str],
    crossed: bool,
    hidden_share: float,
    n: int,
) -> str:
    if verdict == "supported":
        return ""
    if verdict == "refuted":
        tag = "reversed" if high < 0.5 else "negligible"
        if n_pairs == 1:
            return tag
        return f"{tag}; broken: {', '.join(broken) or 'at least one pair'}"
    if crossed or hidden_share > 0.5:
        return BUDGET_TOO_SHORT
    return f"{LIMIT_REACHED} ({n} replicas)"
