"""Hypotheses about the mean of a measure: above that of another condition, or above a constant."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_number
from lossact.claims.hypotheses import check_comparable, check_conditions
from lossact.claims.measured_values import check_measured, compare_measured, difference_unit, measured_values
from lossact.claims.recorded_measures import check_trained
from lossact.claims.value_hypothesis import ValueHypothesis
from lossact.claims.verdict_summary import Estimate
from lossact.conditions import BaseCondition
from lossact.errors import ClaimError, InputError
from lossact.stats import BoundedMean, Comparison, MeanDecider, NormalMean, Outcome
from lossact.stats.values import differences, rounding_of, without_rounding
from lossact.storage import Trials

Range = tuple[float, float]
LARGEST_END = 1e150  # of a range: its width, and products of it, are finite
ROUNDINGS = 4  # of a value, that two which are equal may lie apart by
SLACK = 1e-6  # of the range: how far rounding may carry a value beyond its end


@dataclass(frozen=True)
class MeanAssumption:
    """What a claim about a mean assumes of the measure: a range, or normal values.

    Args:
        value_range: the smallest and the largest value that the measure can have; None for normal values.
    """

    value_range: Range | None

    @classmethod
    def of(
        cls, measure: str, conditions: Sequence[BaseCondition], value_range: Range | None, *, normal: bool
    ) -> "MeanAssumption":
        """Check what a user gave, and fill in the range of an accuracy.

        Args:
            measure: its name.
            conditions: of the claim.
            value_range: as given.
            normal: as given.

        Returns:
            the assumption.

        Raises:
            ClaimError: neither is known, a condition lacks the measure, or was recorded.
            InputError: both are given, or the range is invalid.
        """
        check_conditions(conditions)
        if not normal or len(conditions) > 1:
            check_trained('of="mean", but for at_least and at_most with normal=True,', conditions)
        check_measured(measure, conditions)
        if normal:
            if value_range is not None:
                raise InputError("give value_range, or normal=True, not both: normal values have no range")
            return cls(None)
        if value_range is None:
            if all(condition.is_share(measure) for condition in conditions):
                return cls((0.0, 1.0))
            raise ClaimError(
                f'of="mean" needs the range of {measure}: give value_range=(smallest, largest), the values that it can '
                "have; or normal=True, if each value is drawn from a normal distribution"
            )
        if not isinstance(value_range, tuple | list) or len(value_range) != 2:
            raise InputError(f"value_range={value_range!r} must be two numbers; try value_range=(0, 1)")
        lowest, highest = value_range
        check_number("value_range[0]", lowest, hint=0)
        check_number("value_range[1]", highest, above=lowest, hint=lowest + 1)
        if not max(abs(lowest), abs(highest)) < LARGEST_END:
            raise InputError(f"value_range={value_range!r} must lie within -1e150 and 1e150; give a narrower one")
        return cls((float(lowest), float(highest)))

    @property
    def words(self) -> str:
        """What the claim's sentence says of it."""
        return ", assuming normal values" if self.value_range is None else ""

    def check(self, measure: str, condition: BaseCondition, values: NDArray[np.float64]) -> None:
        """Raise ClaimError where a value lies outside the range, or is infinite where values are normal.

        Args:
            measure, condition: what was measured.
            values: (replicas,), NaN where undefined.

        Raises:
            ClaimError: as above.
        """
        if self.value_range is None:
            infinite = np.flatnonzero(np.isinf(values))
            if len(infinite):
                raise ClaimError(
                    f"{measure} of {condition} is {values[infinite[0]]} in replica {infinite[0]}, and normal "
                    'values are finite; claim it without of="mean"'
                )
            return
        lowest, highest = self.value_range
        slack = SLACK * (highest - lowest)
        outside = np.flatnonzero((values < lowest - slack) | (values > highest + slack))
        if len(outside):
            raise ClaimError(
                f"{measure} of {condition} is {values[outside[0]]:.6g} in replica {outside[0]}, outside "
                f"value_range=({lowest:g}, {highest:g}); give the smallest and the largest value that it can have, or "
                'claim it without of="mean"'
            )


@dataclass(frozen=True, repr=False)
class MeanHypothesis(ValueHypothesis):
    """A claim about the mean of a measure, or of a difference of it.

    Args:
        measure: its name.
        condition: what is claimed about.
        assumption: the range of the measure, or that its values are normal.
    """

    measure: str
    condition: BaseCondition
    assumption: MeanAssumption

    @property
    @abstractmethod
    def is_below(self) -> bool:
        """Whether the claim is that the mean is below the constant."""

    @property
    @abstractmethod
    def constant(self) -> float:
        """What the mean is held against."""

    @property
    @abstractmethod
    def quantity(self) -> str:
        """What the mean is of, in words."""

    @abstractmethod
    def evidence_of_mean(self) -> BoundedMean | NormalMean:
        """Return the evidence for the numbers that `comparisons` give."""

    @property
    def effect_name(self) -> str:  # type: ignore[override]
        """What the reported value is."""
        return f"{self.quantity} (assuming normal values)" if self.assumption.value_range is None else self.quantity

    @property
    def effect_unit(self) -> str:  # type: ignore[override]
        """The measure's unit."""
        return self.measure

    @property
    def refutation_labels(self) -> tuple[str, str]:
        return ("reversed", "reversed")

    def thresholds(self, delta: float) -> tuple[float, ...]:
        return ()

    def decider(self, comparisons: Sequence[Comparison], delta: float, *, alpha: float, limit: int) -> MeanDecider:
        return MeanDecider(
            self.evidence_of_mean(),
            self.constant,
            alpha=alpha,
            limit=limit,
            below=self.is_below,
            refutation_labels=self.refutation_labels,
        )

    def estimate(self, trials: Sequence[Trials], alpha: float) -> Estimate:
        comparisons = self.comparisons(trials)
        decision = self.decider(comparisons, 0.1, alpha=alpha, limit=len(trials[0])).decide(comparisons)
        is_difference = len(self.conditions) > 1
        scale, unit = difference_unit(self.measure, self.conditions) if is_difference else (1.0, self.measure)
        value, low, high = (scale * number for number in (decision.value, decision.low, decision.high))
        return Estimate(self.effect_name, value, low, high, decision.level, unit, self.measure)


@dataclass(frozen=True, repr=False)
class HigherMean(MeanHypothesis):
    """The mean difference of a measure between two conditions is above a margin; below its negative, where `is_lower`.

    Args:
        measure, condition, assumption: as for every claim about a mean.
        than: what the condition is compared with.
        by: the margin, >= 0, in the measure's unit.
        is_lower: whether the claim is that the condition is lower.

    Raises:
        ClaimError: the conditions cannot be compared, or one lacks the measure.
        InputError: the margin is out of range, or as large as the range.
    """

    than: BaseCondition = field(kw_only=True)
    by: float = field(default=0.0, kw_only=True)
    is_lower: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        check_comparable(self.conditions)
        check_measured(self.measure, self.conditions)
        check_number("by", self.by, at_least=0, hint=0)
        if self.assumption.value_range is not None and self.by >= self._width:
            raise InputError(
                f"by={self.by:g} must be smaller than the range of {self.measure}, {self._width:g}; lower it"
            )

    @property
    def _width(self) -> float:
        lowest, highest = self.assumption.value_range or (-math.inf, math.inf)
        return highest - lowest

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition, self.than)

    @property
    def is_below(self) -> bool:
        return self.is_lower

    @property
    def constant(self) -> float:
        return 0.0 - self.by if self.is_lower else self.by

    @property
    def quantity(self) -> str:
        return "mean difference"

    @property
    def refutation_labels(self) -> tuple[str, str]:
        return ("reversed", f"not by more than {self.by:g}" if self.by else "reversed")

    def evidence_of_mean(self) -> BoundedMean | NormalMean:
        return NormalMean() if self.assumption.value_range is None else BoundedMean(-self._width, self._width)

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        comparison = compare_measured(self.measure, self.conditions, trials, 0, 1, by=self.by, lower=self.is_lower)
        a, lost_a = measured_values(self.measure, self.condition, trials[0])
        b, lost_b = measured_values(self.measure, self.than, trials[1])
        self.assumption.check(self.measure, self.condition, np.where(lost_a, np.nan, a))
        self.assumption.check(self.measure, self.than, np.where(lost_b, np.nan, b))
        sign = -1 if self.is_lower else 1
        numbers = sign * differences(sign * a, sign * b, lost_a, lost_b)
        if self.assumption.value_range is None:
            numbers[np.isinf(numbers)] = np.nan
            rounding = np.fmax(rounding_of(a) * np.abs(a), rounding_of(b) * np.abs(b))
            numbers = without_rounding(numbers, ROUNDINGS * rounding)
        return [replace(comparison, numbers=np.clip(numbers, -self._width, self._width))]

    def __repr__(self) -> str:
        by = f"more than {self.by:g} " if self.by else ""
        side = "below" if self.is_lower else "above"
        return f"mean {self.measure} of {self.condition} is {by}{side} that of {self.than}{self.assumption.words}"


@dataclass(frozen=True, repr=False)
class MeanAtLeast(MeanHypothesis):
    """The mean of a measure is above a constant; below, where `is_at_most`.

    Args:
        measure, condition, assumption: as for every claim about a mean.
        value: the constant, in the measure's unit.
        is_at_most: whether the claim is that the mean is at most the constant.

    Raises:
        ClaimError: it is no condition, or lacks the measure.
        InputError: the value is no finite number, or no value inside the range.
    """

    value: float = field(kw_only=True)
    is_at_most: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        check_conditions(self.conditions)
        check_measured(self.measure, self.conditions)
        check_number("value", self.value, hint=0.9)
        if self.assumption.value_range is not None:
            lowest, highest = self.assumption.value_range
            check_number("value", self.value, above=lowest, below=highest, hint=(lowest + highest) / 2)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition,)

    @property
    def is_below(self) -> bool:
        return self.is_at_most

    @property
    def constant(self) -> float:
        return self.value

    @property
    def quantity(self) -> str:
        return "mean"

    def evidence_of_mean(self) -> BoundedMean | NormalMean:
        lowest_highest = self.assumption.value_range
        return NormalMean() if lowest_highest is None else BoundedMean(*lowest_highest)

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        values, lost = measured_values(self.measure, self.condition, trials[0])
        self.assumption.check(self.measure, self.condition, np.where(lost, np.nan, values))
        worst = np.nan
        if self.assumption.value_range is not None:
            lowest, highest = self.assumption.value_range
            worst = highest if self.is_at_most else lowest
            values = np.clip(values, lowest, highest)
        numbers = np.where(lost, worst, values)
        if self.assumption.value_range is None:
            numbers = without_rounding(numbers, ROUNDINGS * rounding_of(values) * np.abs(values))
        sign = -1 if self.is_at_most else 1
        cases = [lost, np.isnan(values), sign * (values - self.value) > 0, values == self.value]
        outcomes = np.select(
            cases, [Outcome.LOSS, Outcome.UNDETERMINED, Outcome.WIN, Outcome.TIE], Outcome.LOSS
        ).astype(np.int8)
        return [Comparison(repr(self), outcomes, numbers=numbers)]

    def __repr__(self) -> str:
        side = "most" if self.is_at_most else "least"
        return f"mean {self.measure} of {self.condition} is at {side} {self.value:g}{self.assumption.words}"


def is_of_mean(of: Literal["median", "mean"], value_range: Range | None, *, normal: bool) -> bool:
    """Return whether a claim is about a mean.

    Args:
        of: as a user gave it.
        value_range, normal: what belongs to a mean alone.

    Returns:
        True for a mean, False for most replicas.

    Raises:
        InputError: `of` is neither, `normal` is no bool, or an argument of the mean was given without it.
    """
    if not isinstance(of, str) or of not in ("median", "mean"):
        raise InputError(f'of={of!r} must be "median" or "mean"')
    if not isinstance(normal, bool | np.bool_):
        raise InputError(f"normal={normal!r} must be True or False")
    if of == "median" and (value_range is not None or normal):
        raise InputError('value_range and normal belong to of="mean"; add it, or leave them out')
    return of == "mean"
