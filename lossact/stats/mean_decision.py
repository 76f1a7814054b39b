"""From the index sequence of numbers to a verdict about their mean."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from lossact.checks import check_number
from lossact.errors import InputError
from lossact.stats.betting import Floats
from lossact.stats.claim_evidence import Effect
from lossact.stats.decision import Comparison, Decision, open_reason
from lossact.stats.evidence_path import EvidencePath
from lossact.stats.mean_evidence import BoundedMean, MeanEvidence, NormalMean, have_spread
from lossact.stats.outcomes import Outcome
from lossact.stats.planning import later_moments, planned_moments, round_up
from lossact.stats.replay import VerdictName, first_crossing


class MeanDecider:
    """Decide look by look whether a mean is above (or below) a constant, from all replicas since index 0.

    SUPPORTED where the evidence for a mean on the claimed side of the constant reaches 1 / alpha, REFUTED where that
    for a mean on the other side does; the first crossing stands. An undefined number is the least favourable for either
    verdict: one end of the range, or the other. Normal numbers have no range, so that one undefined number ends the
    claim as INCONCLUSIVE.

    Args:
        evidence: of a mean above a constant.
        constant: in the unit of the numbers.
        alpha: error probability of either side, in (0, 1/2).
        limit: replicas to look at, at most.
        below: whether the claim is that the mean is below the constant.
        refutation_labels: what REFUTED is called where the mean is shown to be on the other side of 0, and where not.

    Raises:
        InputError: alpha breaks its rule.
    """

    def __init__(
        self,
        evidence: MeanEvidence,
        constant: float,
        *,
        alpha: float,
        limit: int,
        below: bool = False,
        refutation_labels: tuple[str, str] = ("reversed", "reversed"),
    ) -> None:
        check_number("alpha", alpha, above=0, below=0.5, hint=0.025)
        self._evidence, self._constant, self._alpha, self._limit = evidence, constant, alpha, limit
        self._below, self._labels = below, refutation_labels
        self._seen: Floats = np.zeros(0)

    def decide(self, comparisons: Sequence[Comparison]) -> Decision:
        """Return the decision on the first replicas, up to the limit.

        Args:
            comparisons: one, with numbers, at the next look those of the last look first.

        Returns:
            the decision; its value and bounds are in the unit of the numbers.

        Raises:
            InputError: there is no replica, or a number seen before has changed.
        """
        (comparison,) = comparisons
        numbers = np.asarray(comparison.numbers, dtype=np.float64)[: self._limit]
        if not len(numbers):
            raise InputError("comparisons hold no replica; at least one is needed")
        if not np.array_equal(numbers[: len(self._seen)], self._seen, equal_nan=True):
            raise InputError(
                f"{comparison.name}: numbers of the first {len(self._seen)} replicas changed when {len(numbers)} were "
                "looked at; make each replica's number depend on its own trials alone"
            )
        self._seen = numbers
        undefined = int(np.isnan(numbers).sum())
        if undefined and isinstance(self._evidence, NormalMean):
            return self._without_a_mean(comparison, numbers, undefined)
        return self._decision(comparison, numbers)

    def replicas_at(self, numbers: Floats, probability: float) -> int | None:
        """Return about how many replicas a verdict takes with the spread of these numbers and another mean.

        A plan, not evidence, along the expected path; chance makes many claims end sooner.

        Args:
            numbers: (n,) of the first replicas; NaN where undefined.
            probability: share of replicas on the claimed side of the constant, were the numbers normal, in (0, 1).

        Returns:
            the number, None where the limit comes first.
        """
        known = numbers[~np.isnan(numbers)]
        deviation = float(known.std()) if len(known) else 0.0
        shift = float(ndtri(probability)) * deviation * (-1 if self._below else 1)
        lowest, highest = self._evidence.lowest, self._evidence.highest
        moved = np.clip(known - known.mean() + self._constant + shift, lowest, highest) if deviation else known
        return self._first(moved, moved, planned_moments(self._limit))

    def _decision(self, comparison: Comparison, numbers: Floats) -> Decision:
        least, most = self._extremes(numbers)
        above = self._evidence.log_above(least, self._constant)
        below = self._evidence.mirrored().log_above(-most, -self._constant)
        support, refute = (below, above) if self._below else (above, below)
        threshold = -math.log(self._alpha)
        decided_at, verdict = first_crossing((support >= threshold, "supported"), (refute >= threshold, "refuted"))
        effect = self._effect(numbers)
        to_go = self._to_go(least, most) if decided_at is None else None
        highest = np.maximum.accumulate(support)
        return self._of(
            comparison,
            effect,
            verdict=verdict,
            reason=self._reason(verdict, effect, numbers, to_go),
            decided_at=decided_at,
            final=decided_at is not None or len(numbers) >= self._limit,
            log_support=float(highest[-1]),
            log_refute=float(refute.max()),
            replicas_to_go=to_go,
            at_decision=None if decided_at is None else self._effect(numbers[:decided_at]),
            evidence_path=EvidencePath.of(np.arange(1, len(numbers) + 1), highest, refute, decided_at),
        )

    def _without_a_mean(self, comparison: Comparison, numbers: Floats, undefined: int) -> Decision:
        """The decision where normal numbers are not all defined: no verdict can come."""
        known = numbers[~np.isnan(numbers)]
        value = float(known.mean()) if len(known) else math.nan
        return self._of(
            comparison,
            Effect(value, -math.inf, math.inf, 0),
            verdict="inconclusive",
            reason=f"{undefined} of {len(numbers)} replicas diverged or have no value, and a mean of normal values has "
            'no place for them; claim it without of="mean", or give value_range in place of normal=True',
            final=True,
        )

    def _of(
        self,
        comparison: Comparison,
        effect: Effect,
        *,
        verdict: VerdictName,
        reason: str,
        final: bool,
        decided_at: int | None = None,
        log_support: float = 0.0,
        log_refute: float = 0.0,
        replicas_to_go: int | None = None,
        at_decision: Effect | None = None,
        evidence_path: EvidencePath | None = None,
    ) -> Decision:
        outcomes = comparison.outcomes[: len(self._seen)]
        loss, tie, win, censored, undetermined = (int((outcomes == outcome).sum()) for outcome in Outcome)
        return Decision(
            verdict=verdict,
            reason=reason,
            replicas=len(self._seen),
            decided_at=decided_at,
            final=final,
            value=effect.value,
            low=effect.low,
            high=effect.high,
            alpha=self._alpha,
            level=1 - 2 * self._alpha,
            log_support=log_support,
            log_refute=log_refute,
            wins=win,
            ties=tie + censored,
            losses=loss,
            undecided=undetermined + censored,
            weakest_comparison=comparison.name,
            replicas_to_go=replicas_to_go,
            at_decision=at_decision,
            evidence_path=evidence_path,
        )

    def _extremes(self, numbers: Floats) -> tuple[Floats, Floats]:
        """The numbers with the lowest, and with the highest possible one in place of those that are undefined."""
        undefined = np.isnan(numbers)
        return (
            np.where(undefined, self._evidence.lowest, numbers),
            np.where(undefined, self._evidence.highest, numbers),
        )

    def _effect(self, numbers: Floats) -> Effect:
        """The mean of the numbers that are defined, with bounds that hold for all."""
        least, most = self._extremes(numbers)
        known = numbers[~np.isnan(numbers)]
        return Effect(
            value=float(known.mean()) if len(known) else math.nan,
            low=self._evidence.lower_bound(least, self._alpha),
            high=-self._evidence.mirrored().lower_bound(-most, self._alpha),
            weakest=0,
        )

    def _reason(self, verdict: VerdictName, effect: Effect, numbers: Floats, to_go: int | None) -> str:
        match verdict:
            case "supported":
                return ""
            case "refuted":
                return self._labels[0 if (effect.low > 0 if self._below else effect.high < 0) else 1]
        if isinstance(self._evidence, NormalMean) and not have_spread(numbers)[-1]:
            return (
                f"the values of {len(numbers)} replicas have no spread, and without it a mean of normal values has no "
                'evidence; claim it without of="mean", or give value_range in place of normal=True'
            )
        reason = open_reason(None, len(numbers), to_go)
        if isinstance(self._evidence, BoundedMean):
            above = effect.value > self._constant
            evidence, sign = (self._evidence, 1) if above else (self._evidence.mirrored(), -1)
            excess = abs(effect.value - self._constant)
            fewest = evidence.fewest(excess, sign * self._constant, self._alpha)
            if fewest is not None and fewest > self._limit:
                reason += (
                    f"; in a range of {self._evidence.highest - self._evidence.lowest:g}, a mean {excess:.2g} away "
                    f"from {self._constant:g} is not shown by fewer than {fewest}"
                )
        return reason

    def _to_go(self, least: Floats, most: Floats) -> int | None:
        """About how many more replicas would settle it, if numbers go on as they are."""
        n = len(least)
        first = self._first(least, most, later_moments(n))
        return None if first is None else round_up(first - n)

    def _first(self, least: Floats, most: Floats, moments: Floats) -> int | None:
        """The first of these moments with a verdict, if numbers go on as they are."""
        if not len(least):
            return None
        logs = np.maximum(
            self._evidence.log_above_as_observed(least, self._constant, moments),
            self._evidence.mirrored().log_above_as_observed(-most, -self._constant, moments),
        )
        crossed = logs >= -math.log(self._alpha)
        return int(moments[crossed.argmax()]) if crossed.any() else None
