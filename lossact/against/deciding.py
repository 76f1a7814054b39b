"""One measure of one condition, decided look by look between two states of the code."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lossact.against.matching import Pair, ValueInfo
from lossact.against.results import MeasureResult, Verdict
from lossact.against.settings import Settings
from lossact.claims.verdict_summary import Estimate
from lossact.stats import (
    ClaimEvidence,
    Comparison,
    Decider,
    Decision,
    EquivalenceEvidence,
    Margins,
    MedianWithinEvidence,
    Outcome,
    Outcomes,
    censored_as_undetermined,
    compare_steps,
)
from lossact.stats.values import at_most_worse, compare_values, differences, median_sequence, rank_boundary, rounding_of
from lossact.storage import Trials

STEPS = "steps"
CENSORED = "too many replicas do not reach the target within the budget"
UNDEFINED = "too many replicas have no value"


@dataclass(frozen=True, eq=False)
class Quantity:
    """A measure of one side, by replica.

    Attributes:
        values: (replicas,) updates to the target, or a measured value; NaN where there is none.
        lost: (replicas,) whether it counts as worse than any value.
        epsilon: (replicas,) machine epsilon of what it was computed in.
    """

    values: NDArray[np.float64]
    lost: NDArray[np.bool_]
    epsilon: NDArray[np.float64]


class MeasureDecider:
    """Decide whether a measure is equivalent, worse or better after a change; the first crossing stands.

    Without a margin in the measure's unit, equivalence of the win probability is tested, as lossact.equivalent does:
    SUPPORTED is "equivalent", REFUTED is "worse" or "better". With a margin it is the median difference's, as
    lossact.equivalent_in does.

    Args:
        pair: whose measure it is.
        measure: its name.
        settings: margins and directions.
        alpha: error probability of a side, of this measure alone.
        limit: replicas at most.

    Attributes:
        measure, direction, within: as its results have them.
        evidence: what the comparisons' counts are evidence of.
    """

    def __init__(self, pair: Pair, measure: str, settings: Settings, *, alpha: float, limit: int) -> None:
        self.measure, self._pair, self._alpha = measure, pair, alpha
        self._info = _STEPS_INFO if measure == STEPS else pair.after.values[measure]
        self.direction = settings.directions.get(measure, self._info.direction)
        self.within = settings.within.get(measure)
        self.evidence: ClaimEvidence = EquivalenceEvidence(settings.delta)
        if self.within is not None:
            self.evidence = MedianWithinEvidence(Margins.of_wins(settings.delta))
        self.evidence.censoring_reason = CENSORED if measure == STEPS else UNDEFINED
        self._decider = Decider(self.evidence, alpha=alpha, limit=limit)
        self._of_lost = Decider(EquivalenceEvidence(settings.delta), alpha=alpha, limit=limit)

    def comparisons(self, before: Trials, after: Trials) -> list[Comparison]:
        """Return what each replica shows.

        Args:
            before: trials under the revision.
            after: trials of the same replicas under the working tree.

        Returns:
            one comparison, in which WIN is for the working tree; with a margin two, one for each side.
        """
        if self.within is None:
            return [Comparison("better", self._outcomes(before, after))]
        return [
            Comparison("not worse by more than the margin", self._beyond(after, before, self.within)),
            Comparison("not better by more than the margin", self._beyond(before, after, self.within)),
        ]

    def decide(self, before: Trials, after: Trials) -> tuple[MeasureResult, bool]:
        """Return what the first replicas show, and whether that is final.

        Args:
            before, after: the same replicas of both sides, those of earlier looks first.
        """
        comparisons = self.comparisons(before, after)
        decision = self._decider.decide(comparisons)
        verdict, is_final, decided_at = self._verdict(decision, comparisons), decision.final, decision.decided_at
        reason = decision.reason if decision.verdict == "inconclusive" or "different" in decision.reason else ""
        lost_before, lost_after = self._quantity(before).lost, self._quantity(after).lost
        if self.direction is None and (lost_before != lost_after).any():
            of_lost = self._decide_lost(lost_before, lost_after)
            if of_lost.verdict == "refuted":  # whichever values are better
                verdict, is_final = "better" if of_lost.low > 0.5 else "worse", True
                decided_at = of_lost.decided_at
            elif of_lost.verdict == "inconclusive":
                is_final = of_lost.final
                if verdict == "equivalent":
                    verdict, reason = "not yet", of_lost.reason
        result = MeasureResult(
            measure=self.measure,
            verdict=verdict,
            reason=reason,
            replicas=decision.replicas,
            decided_at=decided_at,
            replicas_to_go=decision.replicas_to_go,
            before=self._median(before),
            after=self._median(after),
            difference=self.difference(before, after),
            win_probability=None
            if self.within is not None
            else Estimate("win probability", decision.value, decision.low, decision.high, decision.level),
            within=self.within,
            direction=self.direction,
        )
        return result, is_final

    def identical(self, before: Trials, after: Trials) -> MeasureResult:
        """Return the result where every bit of both sides is equal.

        Args:
            before: trials under the revision.
            after: trials of the same replicas under the working tree.

        Returns:
            the result, with a difference of 0.
        """
        return MeasureResult(
            measure=self.measure,
            verdict="identical",
            reason="",
            replicas=len(after),
            decided_at=len(after),
            replicas_to_go=None,
            before=self._median(before),
            after=self._median(after),
            difference=Estimate("median difference", 0.0, 0.0, 0.0, 1.0, self._unit, self.measure),
            win_probability=None,
            within=self.within,
            direction=self.direction,
        )

    def difference(self, before: Trials, after: Trials) -> Estimate:
        """Return the median of after minus before with its confidence sequence.

        Args:
            before: trials under the revision.
            after: trials of the same replicas under the working tree.

        Returns:
            the estimate, in the measure's unit.
        """
        old, new = self._quantity(before), self._quantity(after)
        sign = 1 if self._is_higher else -1
        numbers = sign * differences(sign * new.values, sign * old.values, new.lost, old.lost)
        margins = (0.0,) if self.within is None else (-self.within, 0.0, self.within)
        for margin in margins:  # what ties with a margin is at it, so that the bounds agree with the verdict
            ties = self._compare(new, old, by=margin, higher=True) == Outcome.TIE
            numbers = np.where(ties, margin, numbers)
        scale = 100.0 if self._info.is_share else 1.0
        sequence = median_sequence(scale * numbers, _boundary(len(numbers), self._alpha), alpha=self._alpha)
        return Estimate(
            "median difference", sequence.value, sequence.low, sequence.high, sequence.level, self._unit, self.measure
        )

    @property
    def _unit(self) -> str:
        return "updates" if self.measure == STEPS else "points" if self._info.is_share else self.measure

    @property
    def _is_higher(self) -> bool:
        """Whether a replica with the higher value wins; so it is too where the better direction is unknown."""
        return self.direction != "lower"

    def _outcomes(self, before: Trials, after: Trials) -> Outcomes:
        if self.measure != STEPS:
            return self._compare(self._quantity(after), self._quantity(before))
        old, new = (_within_budget(trials, self._pair.budget) for trials in (before, after))
        outcomes = compare_steps(new.steps, new.reached, old.steps, old.reached, budget=self._pair.budget)
        return censored_as_undetermined(outcomes)

    def _beyond(self, first: Trials, second: Trials, margin: float) -> Outcomes:
        """Whether one is at most `margin` worse than the other; equality counts."""
        return at_most_worse(self._compare(self._quantity(first), self._quantity(second), by=-margin))

    def _compare(self, first: Quantity, second: Quantity, *, by: float = 0.0, higher: bool | None = None) -> Outcomes:
        return compare_values(
            first.values,
            second.values,
            first.lost,
            second.lost,
            by=by,
            higher=self._is_higher if higher is None else higher,
            epsilon=np.fmax(first.epsilon, second.epsilon),
        )

    def _quantity(self, trials: Trials) -> Quantity:
        if self.measure == STEPS:
            trials = _within_budget(trials, self._pair.budget)
            values = np.where(trials.reached, trials.steps, np.nan)
            return Quantity(values, ~trials.reached, np.zeros(len(trials)))
        values = trials.values[self.measure]
        lost = trials.diverged if self._info.at_end else trials.diverged & np.isnan(values)
        return Quantity(values.astype(np.float64), lost, rounding_of(values))

    def _median(self, trials: Trials) -> float | None:
        quantity = self._quantity(trials)
        worst = -np.inf if self._is_higher else np.inf
        values = np.where(quantity.lost, worst, quantity.values)
        median = float(np.median(values[~np.isnan(values)])) if not np.isnan(values).all() else np.nan
        return median if np.isfinite(median) else None

    def _verdict(self, decision: Decision, comparisons: list[Comparison]) -> Verdict:
        if decision.verdict == "inconclusive":
            return "not yet"
        if decision.verdict == "supported":
            return "equivalent"
        if self.direction is None:
            return "different"
        if self.within is None:
            return "better" if decision.low > 0.5 else "worse"
        holds = [int((comparison.outcomes == Outcome.WIN).sum()) for comparison in comparisons]
        return "better" if holds[0] > holds[1] else "worse"

    def has_values(self, before: Trials, after: Trials) -> bool:
        """Return whether some replica of one side does not count as worse than any value.

        Args:
            before, after: the same replicas of both sides.

        Returns:
            False where all count so, on both sides.
        """
        return not (self._quantity(before).lost.all() and self._quantity(after).lost.all())

    def _decide_lost(self, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Decision:
        """Decide whether replicas are lost on both sides alike: one that is lost on one side only is worse there."""
        outcomes = np.where(before == after, Outcome.TIE, np.where(after, Outcome.LOSS, Outcome.WIN)).astype(np.int8)
        return self._of_lost.decide([Comparison("better", outcomes)])


@cache
def _boundary(n: int, alpha: float) -> NDArray[np.int64]:
    return rank_boundary(n, alpha=alpha)


_STEPS_INFO = ValueInfo(direction="lower", is_share=False, at_end=True)


def _within_budget(trials: Trials, budget: int) -> Trials:
    """The same trials as if training had ended after `budget` updates."""
    if trials.budget <= budget:
        return trials
    return Trials(trials.steps, trials.reached & (trials.steps <= budget), trials.diverged, budget)
