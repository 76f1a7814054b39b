"""The measured values of trials: who is above whom, and the median difference with its confidence sequence."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossact.claims.recorded_measures import check_recorded_measure
from lossact.claims.verdict_summary import Estimate
from lossact.conditions import BaseCondition, RecordedRuns
from lossact.errors import ClaimError, InputError
from lossact.stats import Comparison, Outcome
from lossact.stats.values import compare_values, differences, median_sequence, rank_boundary, rounding_of
from lossact.storage import FEWEST_EQUAL_RUNS, Trials

POINTS = "points"  # the unit of differences of accuracies: hundredths


def check_measured(measure: str, conditions: Sequence[BaseCondition]) -> None:
    """Raise ClaimError unless every condition has the measure.

    Args:
        measure: its name.
        conditions: of the claim.

    Raises:
        ClaimError: a condition lacks it.
    """
    recorded = [condition for condition in conditions if isinstance(condition, RecordedRuns)]
    if recorded:
        if len(recorded) == len(conditions):
            check_recorded_measure(measure, recorded)
        return  # those that were recorded and those that are to be trained do not mix, which evaluate says
    for condition in conditions:
        names = condition.value_names
        if measure not in names:
            has = f"it has {', '.join(names)}" if names else "it has none; give it measures="
            raise ClaimError(f"measure={measure!r} is not a measure of {condition}; {has}")


def check_threshold(
    name: str,
    value: float,
    measure: str,
    conditions: Sequence[BaseCondition],
    *,
    hint: float,
    is_difference: bool = False,
) -> None:
    """Raise InputError where a threshold or a margin of an accuracy lies outside of [0, 1].

    Args:
        name: what errors call it.
        value: the threshold.
        measure: its name, which all conditions have.
        conditions: of the claim.
        hint: an accuracy that works.
        is_difference: whether the value is a difference of two accuracies, which never exceeds 1.

    Raises:
        InputError: an accuracy cannot have it.
    """
    if any(isinstance(condition, RecordedRuns) for condition in conditions):
        return  # whose numbers may be of any unit
    if not all(condition.is_share(measure) for condition in conditions):
        return
    if is_difference and value == 1:
        raise InputError(f"{name}=1 is a difference that no two accuracies exceed; for 1 point say {name}=0.01")
    if not 0 <= value <= 1:
        raise InputError(
            f"{name}={value:g} is no accuracy: {measure} lies in [0, 1]; for {value:g} percent say {value / 100:g}, as "
            f"in {name}={hint:g}"
        )


def measured_values(
    measure: str, condition: BaseCondition, trials: Trials
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return a condition's values, and which replicas had diverged when they were taken.

    A replica that diverged later than the measure was taken still has its value.

    Args:
        measure: its name.
        condition: whose trials they are.
        trials: of its first replicas.

    Returns:
        (replicas,) values, NaN where undefined, and (replicas,) bool.

    Raises:
        ClaimError: no replica has a value, although not all diverged.
    """
    values = trials.values[measure].astype(np.float64)
    lost = trials.diverged
    if condition.measured_after(measure) < condition.budget:
        lost = lost & np.isnan(values)
    if (~lost).sum() >= FEWEST_EQUAL_RUNS and np.isnan(values[~lost]).all():
        raise ClaimError(
            f"{measure} of {condition} is NaN in all {(~lost).sum()} replicas that did not diverge; mend the measure"
        )
    return values, lost


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
    """Return what the replicas show about condition i above (or below) condition j.

    Args:
        measure: its name.
        conditions, trials: of the claim, in the same order.
        i, j: which of them.
        by: the margin, in the measure's unit.
        lower: whether smaller values are better.

    Returns:
        their names, and an Outcome for each replica.

    Raises:
        ClaimError: the measure is NaN in all replicas.
    """
    a, lost_a = measured_values(measure, conditions[i], trials[i])
    b, lost_b = measured_values(measure, conditions[j], trials[j])
    rounding = _rounding(measure, trials[i], trials[j])
    name = f"{conditions[i]} {'below' if lower else 'above'} {conditions[j]}"
    return Comparison(name, compare_values(a, b, lost_a, lost_b, by=by, higher=not lower, epsilon=rounding))


def median_difference(
    measure: str,
    conditions: Sequence[BaseCondition],
    trials: Sequence[Trials],
    alpha: float,
    *,
    i: int = 0,
    j: int = 1,
    lower: bool = False,
    margins: Sequence[float] = (0.0,),
    name: str = "median difference",
) -> Estimate:
    """Return the median difference of a measure, condition i minus condition j, with its confidence sequence.

    Args:
        measure: its name.
        conditions, trials: of the claim, in the same order.
        alpha: error probability of a side.
        i, j: which of them.
        lower, margins: as for `measured_differences`.
        name: of the estimate.

    Returns:
        the estimate: of accuracies in points (hundredths), else in the measure's unit.
    """
    numbers, unit = measured_differences(measure, conditions, trials, i=i, j=j, lower=lower, margins=margins)
    return median_estimate(name, numbers, alpha, measure=measure, unit=unit)


def measured_differences(
    measure: str,
    conditions: Sequence[BaseCondition],
    trials: Sequence[Trials],
    *,
    i: int = 0,
    j: int = 1,
    lower: bool = False,
    margins: Sequence[float] = (0.0,),
) -> tuple[NDArray[np.float64], str]:
    """Return each replica's difference of a measure, condition i minus condition j.

    A difference that ties with a margin is that margin, so that bounds of the median agree with the verdict.

    Args:
        measure: its name.
        conditions, trials: of the claim, in the same order.
        i, j: which of them.
        lower: whether smaller values are better, so that a replica that diverged is at the larger end.
        margins: what differences are held against, in the measure's unit.

    Returns:
        (replicas,) differences, NaN where undefined and infinite where one alone diverged, and their unit: points
        (hundredths) of accuracies, else the measure's.
    """
    sign = -1 if lower else 1
    a, lost_a = measured_values(measure, conditions[i], trials[i])
    b, lost_b = measured_values(measure, conditions[j], trials[j])
    difference = sign * differences(sign * a, sign * b, lost_a, lost_b)
    rounding = _rounding(measure, trials[i], trials[j])
    for margin in margins:
        ties = compare_values(a, b, lost_a, lost_b, by=margin, epsilon=rounding) == Outcome.TIE
        difference = np.where(ties, margin, difference)
    scale, unit = difference_unit(measure, [conditions[i], conditions[j]])
    return scale * difference, unit


def difference_unit(measure: str, conditions: Sequence[BaseCondition]) -> tuple[float, str]:
    """Return what differences of a measure are multiplied by to be read, and their unit then.

    Args:
        measure: its name.
        conditions: that are compared.

    Returns:
        100 and points for accuracies, else 1 and the measure.
    """
    return (100.0, POINTS) if all(condition.is_share(measure) for condition in conditions) else (1.0, measure)


def median_estimate(name: str, numbers: NDArray[np.float64], alpha: float, *, measure: str, unit: str) -> Estimate:
    """Return a median with its confidence sequence.

    Args:
        name: of the estimate.
        numbers: (replicas,) by replica index; NaN where undefined.
        alpha: error probability of a side.
        measure: what was measured.
        unit: of the numbers.

    Returns:
        the median with its bounds, in the unit of the numbers.
    """
    sequence = median_sequence(numbers, rank_boundary(len(numbers), alpha=alpha), alpha=alpha)
    return Estimate(name, sequence.value, sequence.low, sequence.high, sequence.level, unit, measure)


def _rounding(measure: str, first: Trials, second: Trials) -> NDArray[np.float64]:
    """(replicas,) machine epsilon of the coarser of two values."""
    return np.fmax(rounding_of(first.values[measure]), rounding_of(second.values[measure]))
