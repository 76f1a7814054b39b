"""From the index sequence of outcomes to a verdict with its effect and interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_number
from lossact.errors import InputError
from lossact.stats.betting import Floats, lower_bound, upper_bound
from lossact.stats.evidence_path import EvidencePath
from lossact.stats.outcomes import Outcome, Outcomes, refutation_counts, support_counts
from lossact.stats.planning import replicas_to_go
from lossact.stats.replay import Margins, VerdictName, log_evidence_of_pairs, replay

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
        alpha: the error probability of either verdict; evidence of 1 / alpha decides.
        level: the confidence sequence's level: 1 - 2 alpha, or 1 - alpha where each bound has half of it.
        log_support, log_refute: natural logarithms of the largest e-values so far.
        wins, ties, losses: replicas of the pair that `value` is of, both censored counted as ties.
        undecided: replicas of that pair which censoring leaves without a winner, also counted above where it ties.
        weakest: name of that pair.
        zone: the zone of indifference where `value` lies in it, else None.
        replicas_to_go: how many more would probably settle it, None where settled or where replicas are not short.
        growth: of the evidence, None where nothing is sampled.
        sample: recorded runs in words, where a fixed number of them decides; log_support and log_refute are then
            logarithms of 1 / p. Empty for replicas that lossact trained.
    """

    verdict: VerdictName
    reason: str
    replicas: int
    decided_at: int | None
    final: bool
    value: float
    low: float
    high: float
    alpha: float
    level: float
    log_support: float
    log_refute: float
    wins: int
    ties: int
    losses: int
    undecided: int
    weakest_comparison: str
    indifference_zone: tuple[float, float] | None = None
    replicas_to_go: int | None = None
    evidence_path: EvidencePath | None = field(default=None, repr=False, compare=False)
    sample: str = ""

    @property
    def p_value(self) -> float:
        """Anytime-valid p-value of the null of support: one over the largest e-value."""
        return min(1.0, math.exp(-self.log_support))


def decide(comparisons: Sequence[Comparison], *, alpha: float, margins: Margins, limit: int) -> Decision:
    """Replay the evidence from replica 0 and let the first crossing stand.

    Args:
        comparisons: the pairs that must all hold, each with the same number (>= 1) of replicas.
        alpha: error probability of either side, in (0, 1/2).
        margins: what the probabilities are held against.
        limit: replicas to look at, at most.

    Raises:
        InputError: one of these rules is broken.

    Replicas after the crossing do not change the verdict, but sharpen value and bounds: a confidence sequence holds at
    all times at once, so that its tightest bounds so far may be used. They invert just the statistics that decide,
    so that an interval never contradicts its verdict.
    """
    check_evidence(comparisons, alpha, margins)
    n = min(len(comparisons[0].outcomes), limit)
    outcomes = [comparison.outcomes[:n] for comparison in comparisons]
    evidence = replay(outcomes, alpha=alpha, margins=margins)
    totals = evidence.totals
    bet = margins.bets
    high = upper_bound([refutation_counts(total) for total in totals], alpha, bet)
    broken = [
        comparison.name
        for comparison, log_refute in zip(comparisons, evidence.pair_log_refute, strict=True)
        if log_refute.max() >= math.log(len(comparisons) / alpha)
    ]
    values = [observed_win_probability(total[:, -1]) for total in totals]
    weakest_comparison = int(np.argmin(values))
    loss, tie, win, censored, undecided = (int(count) for count in totals[weakest_comparison][:, -1])
    censoring_reason = censored + undecided
    decided = evidence.decided_at is not None
    budget_short = decided or 2 * censoring_reason > n
    to_go = None
    if evidence.verdict == "inconclusive" and not budget_short:
        to_go = replicas_to_go(totals, partial(_crosses, alpha=alpha, margins=margins))
    if evidence.verdict == "refuted":
        reason = _refuted(margins.refutation_labels[0 if high < margins.support else 1], len(comparisons), broken)
    else:
        reason = (
            ""
            if evidence.verdict == "supported"
            else open_reason(margins.censoring_reason if budget_short else None, n, to_go)
        )
    return Decision(
        verdict=evidence.verdict,
        reason=reason,
        replicas=n,
        decided_at=evidence.decided_at,
        final=decided or n >= limit,
        value=values[weakest_comparison],
        low=min(lower_bound([support_counts(total)], alpha, bet) for total in totals),
        high=high,
        alpha=alpha,
        level=1 - 2 * alpha,
        log_support=float(evidence.log_support[-1]),
        log_refute=float(evidence.log_refute.max()),
        wins=win,
        ties=tie + censored,
        losses=loss,
        undecided=censoring_reason,
        weakest_comparison=comparisons[weakest_comparison].name,
        indifference_zone=(margins.support, margins.refute)
        if margins.support < values[weakest_comparison] < margins.refute
        else None,
        replicas_to_go=to_go,
        evidence_path=EvidencePath.of(evidence.log_support, evidence.log_refute, evidence.decided_at),
    )


def check_evidence(comparisons: Sequence[Comparison], alpha: float, margins: Margins) -> None:
    """Raise InputError where the comparisons cannot be decided with these margins."""
    check_number("alpha", alpha, above=0, below=0.5, hint=0.025)
    check_number("smallest_bet", margins.smallest_bet, above=0, below=0.5, hint=0.1)
    check_number("support", margins.support, above=0, below=margins.refute, hint=0.5)
    check_number("refute", margins.refute, above=margins.support, below=1, hint=0.6)
    lengths = {len(comparison.outcomes) for comparison in comparisons}
    if not comparisons or lengths == {0}:
        raise InputError("comparisons hold no replica; at least one is needed")
    if len(lengths) > 1:
        raise InputError(f"lengths {sorted(lengths)} of the comparisons differ; cut them to their common prefix first")
    for comparison in comparisons:
        if not np.isin(comparison.outcomes, list(Outcome)).all():
            raise InputError(f"{comparison.name}: outcomes must be Outcome values 0 … 4; compare_steps makes them")


def observed_win_probability(totals: NDArray[np.int64]) -> float:
    """The observed mean of W, where hidden outcomes count one half; totals (5,)."""
    _, tie, win, censored, undecided = totals
    return float((win + (tie + censored + undecided) / 2) / totals.sum())


def _crosses(totals: Sequence[Floats], *, alpha: float, margins: Margins) -> NDArray[np.bool_]:
    log_support, _, log_refute = log_evidence_of_pairs(totals, margins)
    return np.maximum(log_support, log_refute) >= -math.log(alpha)


def _refuted(tag: str, n_pairs: int, broken: Sequence[str]) -> str:
    return tag if n_pairs == 1 else f"{tag}; broken: {', '.join(broken) or 'at least one pair'}"


def open_reason(censoring_reason: str | None, n: int, to_go: int | None) -> str:
    """Why a claim is INCONCLUSIVE: `hidden` where that is given, else the limit, and what would help."""
    if censoring_reason:
        return censoring_reason
    plan = f"about {to_go} more would probably settle it" if to_go else "many times as many would hardly settle it"
    return f"{LIMIT_REACHED} ({n} replicas); {plan}"
