"""The numbers that a claim about values rests on, replica by replica, for pictures of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.claims.hypotheses import Hypothesis
from lossact.claims.joint import AllOf
from lossact.claims.mean_values import HigherMean, MeanAtLeast
from lossact.claims.measured_values import difference_unit, measured_differences, measured_values, median_difference
from lossact.claims.numbers import Exceeds
from lossact.claims.recorded_evidence import orders_of_pairs
from lossact.claims.value_orders import Highest, Trend
from lossact.claims.values import AtLeast, EquivalentIn, Higher
from lossact.claims.verdict_summary import Estimate
from lossact.conditions import BaseCondition, RecordedRuns
from lossact.conditions.value_measures import STEPS
from lossact.storage import Trials

Numbers = NDArray[np.float64]
PERCENT = "%"


@dataclass(frozen=True)
class Sample:
    """One number a replica.

    Attributes:
        name: of the condition, or of what is subtracted: "a minus b".
        numbers: by replica index; NaN where undefined, infinite where one of two conditions alone diverged. Empty
            where recorded runs are not paired.
        diverged: replicas of the condition that had diverged; 0 for differences.
        estimate: what the claim says of these numbers, in their unit; None where it says nothing of them.
    """

    name: str
    numbers: tuple[float, ...]
    diverged: int = 0
    estimate: Estimate | None = None

    @property
    def median(self) -> float:
        """The median of the numbers that are finite; NaN without any."""
        numbers = np.array(self.numbers, dtype=np.float64)
        known = numbers[np.isfinite(numbers)]
        return float(np.median(known)) if len(known) else math.nan

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Sample":
        """Make a sample from plain values; the inverse of dataclasses.asdict.

        Args:
            content: fields by name.

        Returns:
            the sample.
        """
        estimate = content["estimate"]
        values = {
            "numbers": tuple(content["numbers"]),
            "estimate": None if estimate is None else Estimate(**estimate),
        }
        return cls(**{**content, **values})


@dataclass(frozen=True)
class ValueSamples:
    """What a claim about one measure rests on.

    Attributes:
        measure: what was measured, or the name of a claim's own number.
        unit: of the values, "%" where their differences are in points; else "".
        values: a sample a condition, in the order of the claim; empty where `compared` holds the same numbers.
        compared: what is held against the margins: differences of conditions, values, or a claim's own number.
        compared_unit: of these, "points" or "".
        margins: what `compared` is held against, ascending, in its unit.
        settings: of a trend, one a condition; else empty.
        are_differences: whether `compared` holds differences, for which 0 is no difference.
    """

    measure: str
    unit: str = ""
    values: tuple[Sample, ...] = ()
    compared: tuple[Sample, ...] = ()
    compared_unit: str = ""
    margins: tuple[float, ...] = ()
    settings: tuple[float, ...] = ()
    are_differences: bool = True

    @property
    def label(self) -> str:
        """The measure with the unit of its values, where they have one of their own."""
        return f"{self.measure} ({self.unit})" if self.unit else self.measure

    @property
    def by_condition(self) -> tuple[Sample, ...]:
        """The values by condition; none of a claim's own number."""
        one_condition = not self.are_differences and any(row.name != self.measure for row in self.compared)
        return self.compared if one_condition else self.values

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "ValueSamples":
        """Make samples from plain values; the inverse of dataclasses.asdict.

        Args:
            content: fields by name.

        Returns:
            the samples.
        """
        values = {name: tuple(map(Sample.from_dict, content[name])) for name in ("values", "compared")}
        plain = {name: tuple(content[name]) for name in ("margins", "settings")}
        return cls(**{**content, **values, **plain})


def value_samples(
    hypothesis: Hypothesis, trials: Sequence[Trials], alpha: float, *, estimate: Estimate | None
) -> tuple[ValueSamples, ...]:
    """Return the numbers that a claim rests on, one entry a measure; none for claims about updates to a target.

    Args:
        hypothesis: the claim.
        trials: of each condition, in the order of the conditions.
        alpha: error probability a side, in (0, 1/2).
        estimate: what the claim is about, in its unit, as its verdict reports it.

    Returns:
        the samples; the estimates of a claim about several differences are at the same level as the one reported.
    """
    conditions = hypothesis.conditions
    match hypothesis:
        case AllOf():
            return tuple(
                samples
                for member in hypothesis.members
                for each in [hypothesis.trials_of(member, trials)]
                for samples in value_samples(member, each, alpha, estimate=member.estimate(each, alpha))
            )
        case AtLeast() | MeanAtLeast():
            (value,) = _values(hypothesis.measure, conditions, trials)
            shown = Sample(value.name, value.numbers, value.diverged, estimate)
            margins = (float(hypothesis.value),)
            return (ValueSamples(hypothesis.measure, compared=(shown,), margins=margins, are_differences=False),)
        case Trend():
            if hypothesis.measure == STEPS:
                return ()
            compared = [_difference(hypothesis, trials, len(trials) - 1, 0, estimate, is_lower=hypothesis.falls)]
            return (_of_differences(hypothesis, trials, compared, settings=hypothesis.settings),)
        case Higher() | HigherMean():
            margin = -hypothesis.by if hypothesis.is_lower else hypothesis.by
            compared = [_difference(hypothesis, trials, 0, 1, estimate, (margin,), is_lower=hypothesis.is_lower)]
            return (_of_differences(hypothesis, trials, compared, (margin,)),)
        case EquivalentIn():
            both = (-hypothesis.within, hypothesis.within)
            compared = [_difference(hypothesis, trials, 0, 1, estimate, both)]
            return (_of_differences(hypothesis, trials, compared, both),)
        case Highest():
            compared = list(_differences_to_others(hypothesis, trials, alpha))
            return (_of_differences(hypothesis, trials, compared),)
        case Exceeds():
            return (_of_number(hypothesis, trials), *_of_shared_measures(conditions, trials))
    return ()


def _values(
    measure: str, conditions: Sequence[BaseCondition], trials: Sequence[Trials], scale: float = 1.0
) -> tuple[Sample, ...]:
    samples = []
    for condition, each in zip(conditions, trials, strict=True):
        values, lost = measured_values(measure, condition, each)
        samples.append(Sample(str(condition), _plain(scale * np.where(lost, np.nan, values)), int(lost.sum())))
    return tuple(samples)


def _of_differences(
    hypothesis: Higher | HigherMean | EquivalentIn | Highest | Trend,
    trials: Sequence[Trials],
    compared: Sequence[Sample],
    margins: Sequence[float] = (),
    settings: Sequence[float] = (),
) -> ValueSamples:
    measure = hypothesis.measure
    scale, unit = difference_unit(measure, hypothesis.conditions)
    return ValueSamples(
        measure,
        PERCENT if unit != measure else "",
        _values(measure, hypothesis.conditions, trials, scale),
        tuple(compared),
        unit if unit != measure else "",
        tuple(float(scale * margin) for margin in margins if margin),
        tuple(map(float, settings)),
    )


def _difference(
    hypothesis: Higher | HigherMean | EquivalentIn | Highest | Trend,
    trials: Sequence[Trials],
    i: int,
    j: int,
    estimate: Estimate | None,
    margins: Sequence[float] = (0.0,),
    *,
    is_lower: bool = False,
) -> Sample:
    measure, conditions = hypothesis.measure, hypothesis.conditions
    numbers: tuple[float, ...] = ()
    paired = _in_pairs(conditions, trials)
    if paired is not None:
        differences, _ = measured_differences(measure, conditions, paired, i=i, j=j, lower=is_lower, margins=margins)
        numbers = _plain(differences)
    return Sample(f"{conditions[i]} minus {conditions[j]}", numbers, estimate=estimate)


def _differences_to_others(hypothesis: Highest, trials: Sequence[Trials], alpha: float) -> Iterator[Sample]:
    """The differences to each other condition; of recorded runs without estimates, which have another interval."""
    conditions, lower = hypothesis.conditions, hypothesis.is_lowest
    recorded = isinstance(hypothesis.condition, RecordedRuns)
    if recorded and _in_pairs(conditions, trials) is None:
        return
    for other in range(1, len(trials)):
        estimate = (
            None if recorded else median_difference(hypothesis.measure, conditions, trials, alpha, j=other, lower=lower)
        )
        yield _difference(hypothesis, trials, 0, other, estimate, is_lower=lower)


def _in_pairs(conditions: Sequence[BaseCondition], trials: Sequence[Trials]) -> Sequence[Trials] | None:
    """The trials with those of one index paired; None where recorded runs are not."""
    recorded = [condition for condition in conditions if isinstance(condition, RecordedRuns)]
    if not recorded:
        return trials
    if not recorded[0].is_paired:
        return None
    return [each.at(order) for each, order in zip(trials, orders_of_pairs(recorded), strict=True)]


def _of_number(hypothesis: Exceeds, trials: Sequence[Trials]) -> ValueSamples:
    numbers = _plain(np.asarray(hypothesis.numbers(trials), dtype=np.float64))
    shown = (Sample(hypothesis.name, numbers),)
    return ValueSamples(hypothesis.name, compared=shown, margins=(float(hypothesis.margin),), are_differences=False)


def _of_shared_measures(conditions: Sequence[BaseCondition], trials: Sequence[Trials]) -> Iterator[ValueSamples]:
    """The values at the end that all conditions have."""
    for measure in conditions[0].value_names:
        if "@" not in measure and all(measure in condition.value_names for condition in conditions):
            scale, unit = difference_unit(measure, conditions)
            yield ValueSamples(measure, PERCENT if unit != measure else "", _values(measure, conditions, trials, scale))


def _plain(numbers: Numbers) -> tuple[float, ...]:
    return tuple(numbers.tolist())
