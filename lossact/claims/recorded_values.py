"""Hypotheses about values that were recorded already: decided from a table, nothing is trained."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lossact.claims.mean_values import MeanAtLeast
from lossact.claims.recorded_evidence import RecordedEvidence, as_decision, orders_of_pairs, unit_of
from lossact.claims.recorded_means import decide_recorded_mean
from lossact.claims.recorded_measures import recorded_values
from lossact.claims.recorded_order import check_order
from lossact.claims.value_hypothesis import ValueHypothesis
from lossact.claims.value_orders import Highest
from lossact.claims.values import AtLeast, EquivalentIn, Higher
from lossact.claims.verdict_summary import Estimate
from lossact.conditions.recorded_runs import RecordedRuns
from lossact.errors import ClaimError
from lossact.stats import Margins, Outcome
from lossact.stats.recorded import (
    FixedDecision,
    Shift,
    decide_all,
    decide_extendable,
    decide_share,
    decide_value_pair,
    decide_within,
    difference_interval,
    median_interval,
    median_of_growing,
    unlike,
    value_differences,
)
from lossact.storage import Trials

Values = NDArray[np.float64]


def decide_recorded_values(
    hypothesis: ValueHypothesis, conditions: Sequence[RecordedRuns], *, alpha: float, delta: float
) -> RecordedEvidence:
    """Decide a hypothesis about values from recorded runs.

    Args:
        hypothesis: about a measure that all runs have.
        conditions: of the hypothesis.
        alpha: error probability a side, in (0, 1/2).
        delta: the smallest margin over 1/2 that matters, in (0, 1/2).

    Returns:
        the decision, each condition's values as trials, and the estimate in the measure's unit.

    Raises:
        ClaimError: the hypothesis, or the runs, cannot be decided so.
        InputError: more runs may follow, and those of a condition are sorted by their values.
    """
    values = [recorded_values(hypothesis.measure, condition) for condition in conditions]
    trials = [_trials(hypothesis.measure, *each) for each in zip(conditions, values, strict=True)]
    if conditions[0].extendable:
        for condition, each in zip(conditions, _aligned(conditions, values), strict=True):
            check_order(str(condition), each)
    match hypothesis:
        case MeanAtLeast():
            return decide_recorded_mean(hypothesis, conditions[0], values[0], trials, alpha=alpha)
        case AtLeast():
            return _decide_one(hypothesis, conditions[0], values[0], trials, alpha=alpha, delta=delta)
        case Higher():
            return _Pairs(hypothesis, conditions, values, hypothesis.is_lower, hypothesis.by).decide(
                trials, alpha, delta
            )
        case Highest():
            return _Pairs(hypothesis, conditions, values, hypothesis.is_lowest, 0.0).decide(trials, alpha, delta)
        case EquivalentIn():
            return _decide_equivalent(hypothesis, conditions, values, trials, alpha=alpha, delta=delta)
    raise ClaimError(f"{hypothesis!r} is not decided from recorded runs")


def _trials(measure: str, condition: RecordedRuns, values: Values) -> Trials:
    none = np.zeros(len(values), dtype=bool)
    return Trials(np.zeros(len(values), np.int64), none, none, condition.budget, values={measure: values})


class _Pairs:
    """Higher and highest: the first condition against each other one, values oriented so that larger is claimed."""

    def __init__(
        self,
        hypothesis: ValueHypothesis,
        conditions: Sequence[RecordedRuns],
        values: Sequence[Values],
        is_lower: bool,
        by: float,
    ) -> None:
        self.hypothesis, self.conditions = hypothesis, conditions
        self.is_lower, self.by = is_lower, by
        self.paired, self.extendable = conditions[0].is_paired, conditions[0].extendable
        sign = -1.0 if is_lower else 1.0
        self.values = [sign * each for each in _aligned(conditions, values)]

    def decide(self, trials: list[Trials], alpha: float, delta: float) -> RecordedEvidence:
        margins = self.hypothesis.margins(delta)
        decide_at = [
            partial(self._decide_pair, other=other, margins=margins) for other in range(1, len(self.conditions))
        ]
        several = decide_all(decide_at, alpha=alpha)
        pairs = [decide(alpha) for decide in decide_at]
        names = [f"{self.conditions[0]} {'below' if self.is_lower else 'above'} {each}" for each in self.conditions[1:]]
        decision = as_decision(
            several,
            names,
            margins.refutation_labels,
            support=margins.support,
            n=min(map(len, self.values)),
            unit=unit_of(self.conditions),
        )
        notes = self._notes(pairs) if decision.verdict == "supported" else ()
        return RecordedEvidence(decision, trials, self._estimate(pairs, alpha), notes)

    def _decide_pair(self, alpha: float, *, other: int, margins: Margins) -> FixedDecision:
        return decide_value_pair(
            self.values[0],
            self.values[other],
            by=self.by,
            paired=self.paired,
            alpha=alpha,
            margins=margins,
            extendable=self.extendable,
        )

    def _estimate(self, pairs: Sequence[FixedDecision], alpha: float) -> Estimate:
        """The difference to the condition against which the claim holds least; one that is not shown comes first."""
        shifts = [self._shift(other, pair.verdict == "supported", alpha) for other, pair in enumerate(pairs, start=1)]
        least = min(range(len(pairs)), key=lambda k: (pairs[k].verdict == "supported", shifts[k].value))
        shift = shifts[least]
        if self.is_lower:
            shift = Shift(-shift.value, -shift.high, -shift.low)
        name = _name(paired=self.paired, extendable=self.extendable)
        if len(pairs) > 1:
            name = f"{name}, {self.conditions[0]} minus {self.conditions[1 + least]},"
        return _as_estimate(name, shift, self.hypothesis.measure, alpha, extendable=self.extendable)

    def _shift(self, other: int, supported: bool, alpha: float) -> Shift:
        """The difference, its interval above `by` where, and only where, the pair is supported."""
        differences = value_differences(self.values[0], self.values[other], [self.by], paired=self.paired)
        shift = difference_interval(differences, alpha=alpha, extendable=self.extendable)
        low = max(shift.low, self.by) if supported else min(shift.low, self.by)
        return Shift(shift.value, low, max(low, shift.high))

    def _notes(self, pairs: Sequence[FixedDecision]) -> tuple[str, ...]:
        """What to know of a claim that is supported: spreads that differ, and ties."""
        notes = []
        for other, pair in enumerate(pairs, start=1):
            warning = "" if self.paired or self.extendable else unlike(self.values[0], self.values[other])
            if warning and pair.low <= 0.5:  # above it Hoeffding's bound, which assumes nothing, shows it too
                notes.append(f"{self.conditions[0]} and {self.conditions[other]}: {warning}")
            total = pair.wins + pair.ties + pair.losses
            if 2 * pair.ties >= total:
                both = f"{self.conditions[0]} and {self.conditions[other]}"
                equal = f"differ by {self.by:g}" if self.by else "are equal"
                notes.append(
                    f"the values of {both} {equal} in {pair.ties} of {total} pairs of runs; the difference is at ties"
                )
        return tuple(notes)


def _decide_one(
    hypothesis: AtLeast, condition: RecordedRuns, values: Values, trials: list[Trials], *, alpha: float, delta: float
) -> RecordedEvidence:
    margins = hypothesis.margins(delta)
    (comparison,) = hypothesis.comparisons(trials)

    def decide(level: float) -> FixedDecision:
        if condition.extendable:
            decision = decide_extendable(comparison.outcomes, alpha=level, margins=margins)
            return replace(decision, sample=f"{len(values)} recorded runs; more may follow")
        wins = int((comparison.outcomes == Outcome.WIN).sum())
        return decide_share(wins, 0, len(values), alpha=level, support=margins.support, refute=margins.refute)

    several = decide_all([decide], alpha=alpha)
    decision = as_decision(
        several, [comparison.name], margins.refutation_labels, support=margins.support, n=len(values), unit="runs"
    )
    values = hypothesis.at_threshold(values)
    if condition.extendable:
        median = median_of_growing(values, alpha=alpha)
    else:
        median = Shift(float(np.median(values)), *median_interval(values, alpha=alpha))
    estimate = _as_estimate("median", median, hypothesis.measure, alpha, extendable=condition.extendable)
    return RecordedEvidence(decision, trials, estimate)


def _decide_equivalent(
    hypothesis: EquivalentIn,
    conditions: Sequence[RecordedRuns],
    values: Sequence[Values],
    trials: list[Trials],
    *,
    alpha: float,
    delta: float,
) -> RecordedEvidence:
    if conditions[0].extendable:
        raise ClaimError(
            "equivalent_in is decided for a fixed number of recorded runs; read them without extendable=True"
        )
    paired = conditions[0].is_paired
    first, second = _aligned(conditions, values)
    margins = (-hypothesis.within, hypothesis.within)
    differences = value_differences(first, second, margins, paired=paired)
    several = decide_all([lambda level: decide_within(differences, hypothesis.within, alpha=level)], alpha=alpha)
    decision = as_decision(
        several,
        [repr(hypothesis)],
        hypothesis.refutation_labels,
        support=0.5,
        n=min(map(len, values)),
        unit=unit_of(conditions),
    )
    shift = difference_interval(differences, alpha=alpha)
    warning = "" if paired or decision.verdict == "inconclusive" else unlike(first, second)
    notes = (
        (warning.partition(":")[0] + ": the shift's interval takes both distributions to differ by a shift alone",)
        if warning
        else ()
    )
    estimate = _as_estimate(_name(paired=paired, extendable=False), shift, hypothesis.measure, alpha, extendable=False)
    return RecordedEvidence(decision, trials, estimate, notes)


def _aligned(conditions: Sequence[RecordedRuns], values: Sequence[Values]) -> list[Values]:
    """The values in the order of the first condition's pairs, where a column pairs the runs."""
    if not conditions[0].is_paired:
        return list(values)
    return [each[order] for each, order in zip(values, orders_of_pairs(conditions), strict=True)]


def _name(*, paired: bool, extendable: bool) -> str:
    return "median difference" if paired or extendable else "Hodges-Lehmann shift"


def _as_estimate(name: str, shift: Shift, measure: str, alpha: float, *, extendable: bool) -> Estimate:
    return Estimate(name, shift.value, shift.low, shift.high, 1 - 2 * alpha, measure, measure, is_fixed=not extendable)
