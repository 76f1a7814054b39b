"""From the index sequence of outcomes to a verdict with its effect and interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_number
from lossact.errors import InputError
from lossact.stats.betting import Floats
from lossact.stats.claim_evidence import ClaimEvidence, Effect, PairwiseEvidence
from lossact.stats.equivalence import EquivalenceEvidence
from lossact.stats.evidence_path import EvidencePath
from lossact.stats.margins import Margins
from lossact.stats.outcomes import Outcome, Outcomes
from lossact.stats.planning import replicas_to_go
from lossact.stats.replay import Replay, VerdictName

LIMIT_REACHED = "limit reached"


@dataclass(frozen=True, eq=False)
class Comparison:
    """What every replica shows about one pair.

    Attributes:
        name: the pair in words, "A before B".
        outcomes: (replicas,) Outcome values by replica index.
        member: which of several joint hypotheses it belongs to, from 0.
        numbers: (replicas,) what a claim about a mean is decided by, NaN where undefined; None for other claims.
    """

    name: str
    outcomes: Outcomes
    member: int = 0
    numbers: Floats | None = None


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
        level: the confidence sequence's, 1 - 2 alpha.
        log_support, log_refute: natural logarithms of the largest e-values so far.
        wins, ties, losses: replicas of the pair that `value` is of, both censored counted as ties.
        undecided: replicas of that pair which censoring leaves without a winner, also counted above where it ties.
        weakest_comparison: name of that pair.
        indifference_zone: the zone of indifference where `value` lies in it, else None.
        replicas_to_go: how many more would probably settle it, None where settled or where replicas are not short.
        at_decision: the effect after `decided_at` replicas, which chance has carried towards the verdict; None where
            none has fallen.
        evidence_path: how the evidence grew, None where nothing is sampled.
        sample: recorded runs in words, where a fixed number of them decides; log_support and log_refute are then
            logarithms of 1 / p. Empty for replicas that lossact trained.
        out_of_time: whether time was up before the evidence sufficed.
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
    at_decision: Effect | None = None
    evidence_path: EvidencePath | None = field(default=None, repr=False, compare=False)
    sample: str = ""
    out_of_time: bool = False

    @property
    def p_value(self) -> float:
        """Anytime-valid p-value of the null of support: one over the largest e-value."""
        return min(1.0, math.exp(-self.log_support))


class Decider:
    """Decide a claim look by look; the verdict is that of all replicas read from index 0.

    Args:
        evidence: what the counts are evidence of.
        alpha: error probability of either side, in (0, 1/2).
        limit: replicas to look at, at most.

    Raises:
        InputError: alpha breaks its rule.
    """

    def __init__(self, evidence: ClaimEvidence, *, alpha: float, limit: int) -> None:
        check_number("alpha", alpha, above=0, below=0.5, hint=0.025)
        self._evidence, self._limit = evidence, limit
        self._replay = Replay(evidence, alpha=alpha)
        self._seen: list[Outcomes] = []

    def decide(self, comparisons: Sequence[Comparison]) -> Decision:
        """Return the decision on the first replicas of these comparisons, up to the limit.

        Args:
            comparisons: each with the same number (>= 1) of replicas, at the next look those of the last one first.

        Raises:
            InputError: the comparisons cannot be decided, or show other outcomes for replicas seen before.
        """
        check_comparisons(comparisons)
        n = min(len(comparisons[0].outcomes), self._limit)
        outcomes = [comparison.outcomes[:n] for comparison in comparisons]
        before = self._replay.replicas
        for comparison, seen in zip(comparisons, self._seen, strict=False):
            if n < before or not np.array_equal(comparison.outcomes[:before], seen):
                raise InputError(
                    f"{comparison.name}: outcomes of the first {before} replicas changed when {n} were looked at; "
                    "make each replica's outcome depend on its own trials alone"
                )
        if n > before:
            self._replay.extend([part[before:] for part in outcomes])
        self._seen = outcomes
        return self._decision(comparisons)

    def _decision(self, comparisons: Sequence[Comparison]) -> Decision:
        replay, evidence = self._replay, self._evidence
        n, totals, effect = replay.replicas, replay.totals, replay.effect
        loss, tie, win, censored, undetermined = (int(count) for count in totals[effect.weakest])
        hidden = censored + undetermined
        decided = replay.decided_at is not None
        budget_short = decided or 2 * hidden > n
        to_go = None
        if replay.verdict == "inconclusive" and not budget_short:
            to_go = replicas_to_go(totals, self._crosses)
        log_support, log_refute = replay.log_support, replay.log_refute
        match replay.verdict:
            case "supported":
                reason = evidence.support_reason(effect)
            case "refuted":
                reason = evidence.refutation_reason(effect, self._broken(comparisons))
            case _:
                reason = open_reason(evidence.censoring_reason if budget_short else None, n, to_go)
        return Decision(
            verdict=replay.verdict,
            reason=reason,
            replicas=n,
            decided_at=replay.decided_at,
            final=decided or n >= self._limit,
            value=effect.value,
            low=effect.low,
            high=effect.high,
            alpha=replay.alpha,
            level=evidence.level(replay.alpha),
            log_support=float(log_support[-1]),
            log_refute=float(log_refute.max()),
            wins=win,
            ties=tie + censored,
            losses=loss,
            undecided=hidden,
            weakest_comparison=comparisons[effect.weakest].name,
            indifference_zone=effect.zone,
            replicas_to_go=to_go,
            at_decision=replay.effect_at_decision,
            evidence_path=EvidencePath.of(replay.moments, log_support, log_refute, replay.decided_at),
        )

    def _broken(self, comparisons: Sequence[Comparison]) -> list[str]:
        """Names of the comparisons whose own evidence against, corrected for their number, refutes them."""
        n = len(comparisons)
        if n == 1:
            return []
        needed = math.log(n / self._replay.alpha)
        highest = self._evidence.highest_by_comparison(self._replay.highest_refute_parts, n)
        broken = [pair.name for pair, log in zip(comparisons, highest, strict=True) if log >= needed]
        return broken or ["at least one of them"]

    def _crosses(self, totals: Sequence[Floats]) -> NDArray[np.bool_]:
        support = self._evidence.support_parts(totals).min(axis=0)
        refute = self._evidence.combine_refutation(self._evidence.refute_parts(totals))
        crosses: NDArray[np.bool_] = np.maximum(support, refute) >= -math.log(self._replay.alpha)
        return crosses


def decide(comparisons: Sequence[Comparison], *, alpha: float, margins: Margins, limit: int) -> Decision:
    """Return the decision on comparisons that must all hold, from all of their replicas at once.

    Args:
        comparisons: each with the same number (>= 1) of replicas.
        alpha: error probability of either side, in (0, 1/2).
        margins: what the means are held against.
        limit: replicas to look at, at most.

    Returns:
        the verdict of the first crossing, with effect and interval over all replicas. The bounds invert the statistics
        that decide, so that an interval never contradicts its verdict.

    Raises:
        InputError: one of these rules is broken.

    >>> wins = Comparison("A before B", np.full(20, Outcome.WIN, np.int8))
    >>> decision = decide([wins], alpha=0.025, margins=Margins.of_wins(0.1), limit=2048)
    >>> decision.verdict, decision.decided_at, round(decision.low, 3)
    ('supported', 10, 0.712)
    """
    return Decider(PairwiseEvidence(margins), alpha=alpha, limit=limit).decide(comparisons)


def decide_equivalence(comparison: Comparison, *, alpha: float, delta: float, limit: int) -> Decision:
    """Return the decision on "within delta of 1/2" by two one-sided tests, from all replicas at once.

    Args:
        comparison: what every replica showed, UNDETERMINED where neither arrived.
        alpha: error probability of either side, in (0, 1/2).
        delta: the smallest margin that matters, in (0, 1/2).
        limit: replicas to look at, at most.

    Returns:
        the verdict of the first crossing.

    Raises:
        InputError: one of these rules is broken.

    >>> ties = Comparison("A before B", np.full(400, Outcome.TIE, np.int8))
    >>> decide_equivalence(ties, alpha=0.025, delta=0.1, limit=2048).verdict
    'supported'
    """
    return Decider(EquivalenceEvidence(delta), alpha=alpha, limit=limit).decide([comparison])


def check_comparisons(comparisons: Sequence[Comparison]) -> None:
    """Raise InputError where the comparisons cannot be decided.

    Args:
        comparisons: of one claim.

    Raises:
        InputError: they hold no replica, differ in length, or hold values that are no Outcome.
    """
    lengths = {len(comparison.outcomes) for comparison in comparisons}
    if not comparisons or lengths == {0}:
        raise InputError("comparisons hold no replica; at least one is needed")
    if len(lengths) > 1:
        raise InputError(f"lengths {sorted(lengths)} of the comparisons differ; cut them to their common prefix first")
    for comparison in comparisons:
        if not np.isin(comparison.outcomes, list(Outcome)).all():
            raise InputError(f"{comparison.name}: outcomes must be Outcome values 0 … 4; compare_steps makes them")


def open_reason(censoring_reason: str | None, n: int, to_go: int | None) -> str:
    """Return why a claim is INCONCLUSIVE.

    Args:
        censoring_reason: why censoring allows no verdict, None where it does.
        n: replicas so far.
        to_go: about how many more would settle it, None where that is not known.

    Returns:
        `censoring_reason` where given, else the limit and what would help.
    """
    if censoring_reason:
        return censoring_reason
    plan = f"about {to_go} more would probably settle it" if to_go else "many times as many would hardly settle it"
    return f"{LIMIT_REACHED} ({n} replicas); {plan}"
