"""Hypotheses about the values that conditions reach: higher, lower, at least, at most, equivalent."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_number
from lossact.claims.hypotheses import Hypothesis, check_comparable, check_conditions
from lossact.claims.verdict_summary import Estimate
from lossact.conditions import BaseCondition
from lossact.errors import ClaimError
from lossact.stats import ClaimEvidence, Comparison, Margins, MedianWithinEvidence, Outcome, Outcomes
from lossact.stats.values import compare_values, differences, median_sequence, rank_boundary
from lossact.storage import Trials


class ValueHypothesis(Hypothesis):
    """A claim about a measure of trained networks."""

    measure: str

    effect_name = "probability"

    def margins(self, delta: float) -> Margins:
        return replace(
            Margins.of_wins(delta),
            refutation_labels=self.refutation_labels,
            censoring_reason="too many replicas have no value",
        )

    @property
    @abstractmethod
    def refutation_labels(self) -> tuple[str, str]:
        """What REFUTED is called where the opposite is shown, and where it is not."""

    @abstractmethod
    def estimate(self, trials: Sequence[Trials], alpha: float) -> Estimate:
        """Return what people read: a median in the measure's unit, with its confidence sequence."""

    @property
    def budget(self) -> int | None:
        """The updates after which the measure is taken."""
        _, _, moment = self.measure.partition("@")
        return int(moment) if moment else self.conditions[0].budget


@dataclass(frozen=True, repr=False)
class Higher(ValueHypothesis):
    """The measure of `condition` is above that of `than` by more than `by`; below, where `lower`."""

    measure: str
    condition: BaseCondition
    than: BaseCondition
    by: float = 0.0
    is_lower: bool = False

    def __post_init__(self) -> None:
        check_comparable(self.conditions)
        check_measured(self.measure, self.conditions)
        check_number("by", self.by, at_least=0, hint=0)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition, self.than)

    @property
    def refutation_labels(self) -> tuple[str, str]:
        by = f"by more than {self.by:g} " if self.by else ""
        return (
            "reversed" if not self.by else f"mostly not {by}".rstrip(),
            f"{by}at most negligibly more often than not",
        )

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        return [compare_measured(self.measure, self.conditions, trials, 0, 1, by=self.by, lower=self.is_lower)]

    def estimate(self, trials: Sequence[Trials], alpha: float) -> Estimate:
        return median_difference(self.measure, trials[0], trials[1], alpha, lower=self.is_lower)

    def __repr__(self) -> str:
        by = f"by more than {self.by:g} " if self.by else ""
        return f"{self.measure} of {self.condition} is {by}{'below' if self.is_lower else 'above'} that of {self.than}"


@dataclass(frozen=True, repr=False)
class AtLeast(ValueHypothesis):
    """The measure of most replicas of `condition` is at least `value`; at most, where `at_most`."""

    measure: str
    condition: BaseCondition
    value: float
    is_at_most: bool = False

    def __post_init__(self) -> None:
        check_conditions(self.conditions)
        check_measured(self.measure, self.conditions)
        check_number("value", self.value, hint=0.9)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition,)

    @property
    def refutation_labels(self) -> tuple[str, str]:
        return (
            f"mostly {'above' if self.is_at_most else 'below'} {self.value:g}",
            "in at most negligibly more than half",
        )

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        values = trials[0].values[self.measure]
        threshold = values.dtype.type(self.value)  # 0.9 is 0.9 in the type in which the value was computed
        holds = values <= threshold if self.is_at_most else values >= threshold
        outcomes = np.select(
            [trials[0].diverged, np.isnan(values), holds],
            [Outcome.LOSS, Outcome.UNDETERMINED, Outcome.WIN],
            Outcome.LOSS,
        )
        return [Comparison(repr(self), outcomes.astype(np.int8))]

    def estimate(self, trials: Sequence[Trials], alpha: float) -> Estimate:
        worst = np.inf if self.is_at_most else -np.inf
        values = np.where(trials[0].diverged, worst, trials[0].values[self.measure].astype(np.float64))
        return _median("median", values, alpha, unit=self.measure)

    def __repr__(self) -> str:
        return f"{self.measure} of {self.condition} is at {'most' if self.is_at_most else 'least'} {self.value:g}"


@dataclass(frozen=True, repr=False)
class EquivalentIn(ValueHypothesis):
    """The median difference of the measure between two conditions lies within a margin in the measure's unit."""

    measure: str
    condition: BaseCondition
    other: BaseCondition
    within: float

    effect_name = "smaller probability of lying on the claimed side of a margin"

    def __post_init__(self) -> None:
        check_comparable(self.conditions)
        check_measured(self.measure, self.conditions)
        check_number("within", self.within, above=0, hint=0.01)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition, self.other)

    @property
    def refutation_labels(self) -> tuple[str, str]:
        return (f"different by more than {self.within:g}", f"different by more than {self.within:g}")

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        def beyond(i: int, j: int) -> Outcomes:
            """Whether the value of one exceeds that of the other minus the margin; equality counts."""
            outcomes = _compare(self.measure, trials[i], trials[j], by=-self.within)
            return np.where(outcomes == Outcome.TIE, Outcome.WIN, outcomes).astype(np.int8)

        return [
            Comparison(f"{self.condition} at most {self.within:g} below {self.other}", beyond(0, 1)),
            Comparison(f"{self.condition} at most {self.within:g} above {self.other}", beyond(1, 0)),
        ]

    def evidence(self, comparisons: Sequence[Comparison], delta: float) -> ClaimEvidence:
        return MedianWithinEvidence(self.margins(delta))

    def thresholds(self, delta: float) -> tuple[float, ...]:
        return ()

    def estimate(self, trials: Sequence[Trials], alpha: float) -> Estimate:
        return median_difference(self.measure, trials[0], trials[1], alpha)

    def __repr__(self) -> str:
        return f"{self.measure} of {self.condition} and {self.other} differs by at most {self.within:g}"


def higher(measure: str, condition: BaseCondition, *, than: BaseCondition, by: float = 0.0) -> Higher:
    """Claim that a measure of one condition is above that of another in most replicas.

    The claim is about P(A - B > by) + P(A - B = by) / 2 for the values A and B of one replica. It is SUPPORTED where
    that is shown to exceed 1/2, and REFUTED where it is shown to be below 1/2 + delta. A replica that diverged loses to
    one that did not. Nothing is assumed about the distribution of the values.

    Args:
        measure: the name of a measure of both conditions, such as "accuracy", or "accuracy@100" after 100 updates.
        condition, than: two different conditions with one budget.
        by: a margin >= 0 in the measure's unit.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the conditions cannot be compared, or do not have the measure.
        InputError: the margin is not a number >= 0.
    """
    return Higher(measure, condition, than, by)


def lower(measure: str, condition: BaseCondition, *, than: BaseCondition, by: float = 0.0) -> Higher:
    """Claim that a measure of one condition is below that of another in most replicas; see `higher`.

    Args:
        measure: the name of a measure of both conditions, such as "loss".
        condition, than: two different conditions with one budget.
        by: a margin >= 0 in the measure's unit.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the conditions cannot be compared, or do not have the measure.
        InputError: the margin is not a number >= 0.
    """
    return Higher(measure, condition, than, by, is_lower=True)


def at_least(measure: str, condition: BaseCondition, value: float) -> AtLeast:
    """Claim that a measure is at least a value in most replicas of a condition, so that its median is.

    Args:
        measure: the name of a measure of the condition.
        condition: what is trained.
        value: in the measure's unit.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the condition does not have the measure.
        InputError: the value is not a number.
    """
    return AtLeast(measure, condition, value)


def at_most(measure: str, condition: BaseCondition, value: float) -> AtLeast:
    """Claim that a measure is at most a value in most replicas of a condition, so that its median is.

    Args:
        measure: the name of a measure of the condition.
        condition: what is trained.
        value: in the measure's unit.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the condition does not have the measure.
        InputError: the value is not a number.
    """
    return AtLeast(measure, condition, value, is_at_most=True)


def equivalent_in(measure: str, condition: BaseCondition, other: BaseCondition, *, within: float) -> EquivalentIn:
    """Claim that the median difference of a measure lies within a margin in the measure's unit.

    SUPPORTED where the median's confidence sequence at alpha a side lies in [-within, within], REFUTED where the one at
    alpha / 2 a side lies outside.

    Args:
        measure: the name of a measure of both conditions.
        condition, other: two different conditions with one budget.
        within: the margin, > 0, in the measure's unit.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the conditions cannot be compared, or do not have the measure.
        InputError: the margin is not a number > 0.
    """
    return EquivalentIn(measure, condition, other, within)


def check_measured(measure: str, conditions: Sequence[BaseCondition]) -> None:
    """Raise ClaimError unless every condition has the measure."""
    for condition in conditions:
        names = condition.value_names
        if measure not in names:
            has = f"it has {', '.join(names)}" if names else "it has none; give it measures="
            raise ClaimError(f"measure={measure!r} is not a measure of {condition}; {has}")


def compare_measured(
    measure: str,
    conditions: Sequence[BaseCondition],
    trials: Sequence[Trials],
    i: int,
    j: int,
    *,
    by: float = 0.0,
    lower: bool = False,
) -> Comparison:
    """Return what the replicas show about condition i above (or below) condition j."""
    name = f"{conditions[i]} {'below' if lower else 'above'} {conditions[j]}"
    return Comparison(name, _compare(measure, trials[i], trials[j], by=by, lower=lower))


def _compare(measure: str, first: Trials, second: Trials, *, by: float, lower: bool = False) -> Outcomes:
    a, b = first.values[measure], second.values[measure]
    epsilon = float(max(np.finfo(a.dtype).eps, np.finfo(b.dtype).eps))
    return compare_values(a, b, first.diverged, second.diverged, by=by, higher=not lower, epsilon=epsilon)


def median_difference(measure: str, first: Trials, second: Trials, alpha: float, *, lower: bool = False) -> Estimate:
    """Return the median difference of a measure, first minus second, with its confidence sequence.

    Args:
        measure: its name.
        first, second: trials of both conditions over the same replicas.
        alpha: error probability of a side.
        lower: whether smaller values are better, so that a replica that diverged is at the larger end.
    """
    sign = -1 if lower else 1
    a, b = (sign * trials.values[measure].astype(np.float64) for trials in (first, second))
    return _median("median difference", sign * differences(a, b, first.diverged, second.diverged), alpha, unit=measure)


def _median(name: str, numbers: NDArray[np.float64], alpha: float, *, unit: str) -> Estimate:
    sequence = median_sequence(numbers, rank_boundary(len(numbers), alpha=alpha), alpha=alpha)
    return Estimate(name, sequence.value, sequence.low, sequence.high, sequence.level, unit)
