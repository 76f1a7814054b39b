"""Hypotheses about the values of several conditions: the highest, the lowest, and trends over ordered settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_number, checked_call
from lossact.claims.hypotheses import Hypothesis, check_comparable, other_conditions
from lossact.claims.measured_values import check_measured, compare_measured, measured_values, median_difference
from lossact.claims.recorded_measures import check_trained
from lossact.claims.value_hypothesis import ValueHypothesis
from lossact.claims.verdict_summary import Estimate
from lossact.conditions import BaseCondition
from lossact.conditions.value_measures import STEPS
from lossact.errors import ClaimError
from lossact.stats import Comparison, Decision, Margins
from lossact.stats.values import compare_trend
from lossact.storage import Trials


@dataclass(frozen=True, repr=False)
class Highest(ValueHypothesis):
    """The measure of `condition` is above that of each of `others`; below, where `is_lowest`.

    Args:
        measure: its name.
        condition: claimed to be highest.
        others: one condition or more.
        is_lowest: whether the claim is that it is lowest.

    Raises:
        ClaimError: the conditions cannot be compared, or one lacks the measure.
    """

    measure: str
    condition: BaseCondition
    others: tuple[BaseCondition, ...]
    is_lowest: bool = False

    effect_name = "smallest pairwise probability"

    def __post_init__(self) -> None:
        check_comparable(self.conditions)
        check_measured(self.measure, self.conditions)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition, *self.others)

    @property
    def refutation_labels(self) -> tuple[str, str]:
        return ("reversed", "at most negligibly more often than not")

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        return [
            compare_measured(self.measure, self.conditions, trials, 0, other, lower=self.is_lowest)
            for other in range(1, len(trials))
        ]

    def estimate(self, trials: Sequence[Trials], alpha: float) -> Estimate:
        """Return the median difference to the condition against which the claim holds least.

        Args:
            trials: of each condition, in the order of the conditions.
            alpha: error probability a side, in (0, 1/2).

        Returns:
            the estimate, in the measure's unit.
        """
        estimates = [
            median_difference(self.measure, self.conditions, trials, alpha, j=other, lower=self.is_lowest)
            for other in range(1, len(trials))
        ]
        sign = -1 if self.is_lowest else 1
        return min(estimates, key=lambda each: -np.inf if np.isnan(each.value) else sign * each.value)

    def __repr__(self) -> str:
        word = "lowest" if self.is_lowest else "highest"
        return f"{self.measure} of {self.condition} is the {word} of {', '.join(map(str, self.conditions))}"


@dataclass(frozen=True, repr=False)
class Trend(Hypothesis):
    """The measure rises over ordered settings: more pairs of settings rise than fall, by more than `margin`.

    Args:
        measure: its name, or "steps" for updates to the target.
        settings: a number for each condition, increasing.
        ordered: the conditions, in the order of the settings.
        falls: whether the claim is that it falls.
        margin: in pairs of settings.

    Raises:
        ClaimError: the settings do not increase, the conditions cannot be compared, or one lacks the measure.
    """

    measure: str
    settings: tuple[float, ...]
    ordered: tuple[BaseCondition, ...]
    falls: bool = False
    margin: int = 0

    effect_name = "probability of a trend"

    def __post_init__(self) -> None:
        check_comparable(self.ordered)
        check_trained("decreases" if self.falls else "increases", self.ordered)
        if self.measure != STEPS:
            check_measured(self.measure, self.ordered)
        for number in self.settings:
            check_number("settings", number, hint="[(1, a), (2, b)]")
        if any(after <= before for before, after in zip(self.settings, self.settings[1:], strict=False)):
            raise ClaimError(f"settings {self.settings} must increase; order the conditions by them")

    @property
    def needs_target(self) -> bool:  # type: ignore[override]
        return self.measure == STEPS

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return self.ordered

    def margins(self, delta: float) -> Margins:
        return Margins(
            0.5,
            0.5 + delta,
            refutation_labels=("the opposite trend", "at most negligibly more often than not"),
            censoring_reason="too many replicas have no value",
        )

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        values, censored = self._values(trials)
        outcomes = compare_trend(values, margin=self.margin, censored=censored)
        return [Comparison(repr(self), outcomes)]

    def _values(self, trials: Sequence[Trials]) -> tuple[list[NDArray[Any]], list[NDArray[np.bool_]] | None]:
        """One (replicas,) array a setting, rising where the claim says so, and which are censored."""
        sign = -1.0 if self.falls else 1.0
        if self.measure == STEPS:
            steps = [sign * np.where(each.reached, each.steps, each.budget + 1) for each in trials]
            return steps, [~each.reached for each in trials]
        columns = [measured_values(self.measure, *each) for each in zip(self.ordered, trials, strict=True)]
        return [np.where(lost, np.nan, sign * values) for values, lost in columns], None

    def estimate(self, trials: Sequence[Trials], alpha: float) -> Estimate | None:
        """Return the median difference between the ends, last setting minus first.

        Args:
            trials: of each condition, in the order of the settings.
            alpha: error probability a side, in (0, 1/2).

        Returns:
            the estimate, in the measure's unit; None for updates to the target.
        """
        if self.measure == STEPS:
            return None
        ends = f"median difference, {self.settings[-1]:g} minus {self.settings[0]:g},"
        return median_difference(
            self.measure, self.ordered, trials, alpha, i=len(trials) - 1, j=0, lower=self.falls, name=ends
        )

    @property
    def budget(self) -> int | None:
        """The updates after which the measure is taken."""
        return self.ordered[0].budget if self.measure == STEPS else self.ordered[0].measured_after(self.measure)

    def warnings(self, decision: Decision, trials: Sequence[Trials]) -> list[str]:
        values, _ = self._values(trials)
        shares = []
        for k in range(len(values) - 1):
            before, after = values[k], values[k + 1]
            known = ~(np.isnan(before) | np.isnan(after))
            steps = (after > before)[known] + 0.5 * (after == before)[known]
            share = f"{steps.mean():.2f}" if len(steps) else "unknown"
            shares.append(f"{self.settings[k]:g} to {self.settings[k + 1]:g}: {share}")
        return [
            "a trend overall, not every step; probability that the claim holds between neighbouring settings: "
            + ", ".join(shares)
        ]

    def __repr__(self) -> str:
        ends = f"{self.settings[0]:g} to {self.settings[-1]:g}"
        verb = "decreases" if self.falls else "increases"
        return f"{self.measure} {verb} from {ends} over {len(self.settings)} settings"


@checked_call
def highest(measure: str, condition: BaseCondition, *, of: Sequence[BaseCondition]) -> Highest:
    """Claim that a measure of one condition is above that of every other.

    Args:
        measure: the name of a measure of all conditions.
        condition: the one that is claimed to be highest.
        of: all conditions, at least two; it may leave out `condition`.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the conditions cannot be compared, or do not have the measure.
    """
    return Highest(measure, condition, other_conditions(condition, of))


@checked_call
def lowest(measure: str, condition: BaseCondition, *, of: Sequence[BaseCondition]) -> Highest:
    """Claim that a measure of one condition is below that of every other.

    Args:
        measure: the name of a measure of all conditions.
        condition: the one that is claimed to be lowest.
        of: all conditions, at least two; it may leave out `condition`.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the conditions cannot be compared, or do not have the measure.
    """
    return Highest(measure, condition, other_conditions(condition, of), is_lowest=True)


@checked_call
def increases(measure: str, settings: Sequence[tuple[float, BaseCondition]], *, margin: int = 0) -> Trend:
    """Claim that a measure rises over ordered settings.

    Each replica gives the number of pairs of settings whose values rise, minus the number whose values fall. The claim
    is that this exceeds `margin` in most replicas: a trend overall, not a rise at every step.

    Args:
        measure: the name of a measure of all conditions, or "steps" for the updates to the target.
        settings: (number, condition) pairs with increasing numbers, at least two.
        margin: an integer >= 0; 0 asks for more rises than falls.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the settings do not increase, or a condition does not have the measure.
        InputError: the margin breaks its rule.
    """
    return _trend(measure, settings, margin, falls=False)


@checked_call
def decreases(measure: str, settings: Sequence[tuple[float, BaseCondition]], *, margin: int = 0) -> Trend:
    """Claim that a measure falls over ordered settings; see `increases`.

    Args:
        measure: the name of a measure of all conditions, or "steps" for the updates to the target.
        settings: (number, condition) pairs with increasing numbers, at least two.
        margin: an integer >= 0; 0 asks for more falls than rises.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the settings do not increase, or a condition does not have the measure.
        InputError: the margin breaks its rule.
    """
    return _trend(measure, settings, margin, falls=True)


def _trend(measure: str, settings: Sequence[tuple[float, BaseCondition]], margin: int, *, falls: bool) -> Trend:
    pairs = list(settings) if isinstance(settings, Sequence) else [settings]
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise ClaimError(f"settings={settings!r} must be pairs of a number and a condition, [(1, a), (2, b), ...]")
    check_number("margin", margin, at_least=0, at_most=max(0, len(pairs) * (len(pairs) - 1) // 2 - 1), hint=0)
    numbers, conditions = (tuple(column) for column in zip(*pairs, strict=True)) if pairs else ((), ())
    return Trend(measure, numbers, conditions, falls, int(margin))
