"""Hypotheses about the values that conditions reach: higher, lower, at least, at most, equivalent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_number
from lossact.claims.hypotheses import check_comparable, check_conditions
from lossact.claims.measured_values import (
    check_measured,
    check_threshold,
    compare_measured,
    measured_values,
    median_difference,
    median_estimate,
)
from lossact.claims.value_hypothesis import ValueHypothesis
from lossact.claims.verdict_summary import Estimate
from lossact.conditions import BaseCondition
from lossact.stats import ClaimEvidence, Comparison, Decision, MedianWithinEvidence, Outcome, Outcomes
from lossact.stats.values import at_most_worse, is_single
from lossact.storage import Trials


@dataclass(frozen=True, repr=False)
class Higher(ValueHypothesis):
    """The measure of `condition` is above that of `than` by more than `by`; below, where `is_lower`.

    Args:
        measure: its name.
        condition: claimed to be higher.
        than: what it is compared with.
        by: the margin, >= 0, in the measure's unit.
        is_lower: whether the claim is that it is lower.

    Raises:
        ClaimError: the conditions cannot be compared, or one lacks the measure.
        InputError: the margin is out of range.
    """

    measure: str
    condition: BaseCondition
    than: BaseCondition
    by: float = 0.0
    is_lower: bool = False

    def __post_init__(self) -> None:
        check_comparable(self.conditions)
        check_measured(self.measure, self.conditions)
        check_number("by", self.by, at_least=0, hint=0)
        check_threshold("by", self.by, self.measure, self.conditions, hint=0.05, is_difference=True)

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
        return median_difference(
            self.measure,
            self.conditions,
            trials,
            alpha,
            lower=self.is_lower,
            margins=(-self.by if self.is_lower else self.by,),
        )

    def warnings(self, decision: Decision, trials: Sequence[Trials]) -> list[str]:
        if decision.verdict != "supported" or 2 * decision.ties < decision.replicas:
            return []
        equal = f"differ by {self.by:g}" if self.by else "are equal"
        return [
            f"the values {equal} in {decision.ties} of {decision.replicas} replicas; the median difference is at ties"
        ]

    def __repr__(self) -> str:
        by = f"more than {self.by:g} " if self.by else ""
        return f"{self.measure} of {self.condition} is {by}{'below' if self.is_lower else 'above'} that of {self.than}"


@dataclass(frozen=True, repr=False)
class AtLeast(ValueHypothesis):
    """The measure of most replicas of `condition` is at least `value`; at most, where `is_at_most`.

    Args:
        measure: its name.
        condition: what is trained.
        value: finite, in the measure's unit.
        is_at_most: whether the claim is that it is at most the value.

    Raises:
        ClaimError: it is no condition, or lacks the measure.
        InputError: the value is no finite number.
    """

    measure: str
    condition: BaseCondition
    value: float
    is_at_most: bool = False

    def __post_init__(self) -> None:
        check_conditions(self.conditions)
        check_measured(self.measure, self.conditions)
        check_number("value", self.value, hint=0.9)
        check_threshold("value", self.value, self.measure, self.conditions, hint=0.9)

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
        values, lost = measured_values(self.measure, self.condition, trials[0])
        threshold = self._thresholds(values)
        holds = values <= threshold if self.is_at_most else values >= threshold
        outcomes = np.select(
            [lost, np.isnan(values), holds],
            [Outcome.LOSS, Outcome.UNDETERMINED, Outcome.WIN],
            Outcome.LOSS,
        )
        return [Comparison(repr(self), outcomes.astype(np.int8))]

    def estimate(self, trials: Sequence[Trials], alpha: float) -> Estimate:
        worst = np.inf if self.is_at_most else -np.inf
        values, lost = measured_values(self.measure, self.condition, trials[0])
        values = np.where(lost, worst, self.at_threshold(values))
        return median_estimate("median", values, alpha, measure=self.measure, unit=self.measure)

    def at_threshold(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values of which those that meet the threshold in their own type are exactly the threshold.

        Args:
            values: (replicas,).

        Returns:
            (replicas,).
        """
        return np.where(values == self._thresholds(values), self.value, values)

    def _thresholds(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The threshold in the type in which each value was computed, where 0.9 is 0.9."""
        return np.where(is_single(values), np.float64(np.float32(self.value)), self.value)

    def __repr__(self) -> str:
        return f"{self.measure} of {self.condition} is at {'most' if self.is_at_most else 'least'} {self.value:g}"


@dataclass(frozen=True, repr=False)
class EquivalentIn(ValueHypothesis):
    """The median difference of the measure between two conditions lies within a margin in the measure's unit.

    Args:
        measure: its name.
        condition, other: what is compared.
        within: the margin, > 0, in the measure's unit.

    Raises:
        ClaimError: the conditions cannot be compared, or one lacks the measure.
        InputError: the margin is out of range.
    """

    measure: str
    condition: BaseCondition
    other: BaseCondition
    within: float

    effect_name = "smaller probability of lying on the claimed side of a margin"

    def __post_init__(self) -> None:
        check_comparable(self.conditions)
        check_measured(self.measure, self.conditions)
        check_number("within", self.within, above=0, hint=0.01)
        check_threshold("within", self.within, self.measure, self.conditions, hint=0.01, is_difference=True)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition, self.other)

    @property
    def refutation_labels(self) -> tuple[str, str]:
        return (f"different by more than {self.within:g}", f"different by more than {self.within:g}")

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        def beyond(i: int, j: int) -> Outcomes:
            """Whether the value of one exceeds that of the other minus the margin; equality counts."""
            outcomes = compare_measured(self.measure, self.conditions, trials, i, j, by=-self.within).outcomes
            return at_most_worse(outcomes)

        return [
            Comparison(f"{self.condition} at most {self.within:g} below {self.other}", beyond(0, 1)),
            Comparison(f"{self.condition} at most {self.within:g} above {self.other}", beyond(1, 0)),
        ]

    def evidence(self, comparisons: Sequence[Comparison], delta: float) -> ClaimEvidence:
        return MedianWithinEvidence(self.margins(delta))

    def thresholds(self, delta: float) -> tuple[float, ...]:
        return ()

    def estimate(self, trials: Sequence[Trials], alpha: float) -> Estimate:
        return median_difference(self.measure, self.conditions, trials, alpha, margins=(-self.within, self.within))

    def __repr__(self) -> str:
        return f"{self.measure} of {self.condition} and {self.other} differs by at most {self.within:g}"
