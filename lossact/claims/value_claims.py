"""Claims about a measure, as people write them: higher, lower, at least, at most, equivalent."""

from typing import Literal

from lossact.checks import checked_call
from lossact.claims.mean_values import HigherMean, MeanAssumption, MeanAtLeast, Range, is_of_mean
from lossact.claims.values import AtLeast, EquivalentIn, Higher
from lossact.conditions import BaseCondition


@checked_call
def higher(
    measure: str,
    condition: BaseCondition,
    *,
    than: BaseCondition,
    by: float = 0.0,
    of: Literal["median", "mean"] = "median",
    value_range: Range | None = None,
    normal: bool = False,
) -> Higher | HigherMean:
    """Claim that a measure of one condition is above that of another in most replicas, or on average.

    The claim is about P(A - B > by) + P(A - B = by) / 2 for the values A and B of one replica. It is SUPPORTED where
    that is shown to exceed 1/2, and REFUTED where it is shown to be below 1/2 + delta. A replica that diverged loses to
    one that did not. Nothing is assumed about the distribution of the values.

    With of="mean" the claim is that the mean of A - B is above `by`, REFUTED where it is shown to be below. A replica
    that diverged counts as far apart as the range allows. Nothing but the range is assumed, and small differences in a
    wide range take many replicas; with normal=True differences are assumed to be normal, and every output says so.

    Args:
        measure: the name of a measure of both conditions, such as "accuracy", or "accuracy@100" after 100 updates.
        condition, than: two different conditions with one budget.
        by: a margin >= 0 in the measure's unit.
        of: "median" for most replicas, "mean" for the average.
        value_range: the smallest and the largest value that the measure can have, for of="mean"; known for accuracies.
        normal: assume normal differences in place of a range, for of="mean".

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the conditions cannot be compared, do not have the measure, or a mean has no range.
        InputError: the margin is not a number >= 0, or the arguments contradict each other.
    """
    return _higher(measure, condition, than, by, of, value_range, normal=normal, is_lower=False)


@checked_call
def lower(
    measure: str,
    condition: BaseCondition,
    *,
    than: BaseCondition,
    by: float = 0.0,
    of: Literal["median", "mean"] = "median",
    value_range: Range | None = None,
    normal: bool = False,
) -> Higher | HigherMean:
    """Claim that a measure of one condition is below that of another in most replicas, or on average; see `higher`.

    Args:
        measure: the name of a measure of both conditions, such as "loss".
        condition, than: two different conditions with one budget.
        by: a margin >= 0 in the measure's unit.
        of: "median" for most replicas, "mean" for the average.
        value_range: the smallest and the largest value that the measure can have, for of="mean"; known for accuracies.
        normal: assume normal differences in place of a range, for of="mean".

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the conditions cannot be compared, do not have the measure, or a mean has no range.
        InputError: the margin is not a number >= 0, or the arguments contradict each other.
    """
    return _higher(measure, condition, than, by, of, value_range, normal=normal, is_lower=True)


def _higher(
    measure: str,
    condition: BaseCondition,
    than: BaseCondition,
    by: float,
    of: Literal["median", "mean"],
    value_range: Range | None,
    *,
    normal: bool,
    is_lower: bool,
) -> Higher | HigherMean:
    if not is_of_mean(of, value_range, normal=normal):
        return Higher(measure, condition, than, by, is_lower)
    assumption = MeanAssumption.of(measure, (condition, than), value_range, normal=normal)
    return HigherMean(measure, condition, assumption, than=than, by=by, is_lower=is_lower)


@checked_call
def at_least(
    measure: str,
    condition: BaseCondition,
    value: float,
    *,
    of: Literal["median", "mean"] = "median",
    value_range: Range | None = None,
    normal: bool = False,
) -> AtLeast | MeanAtLeast:
    """Claim that a measure is at least a value in most replicas of a condition, so that its median is; or its mean.

    Args:
        measure: the name of a measure of the condition.
        condition: what is trained.
        value: in the measure's unit.
        of: "median" for most replicas, "mean" for the average, as for `higher`.
        value_range: the smallest and the largest value that the measure can have, for of="mean"; known for accuracies.
        normal: assume normal values in place of a range, for of="mean".

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the condition does not have the measure, or a mean has no range.
        InputError: the value is not a number, or the arguments contradict each other.
    """
    return _at_least(measure, condition, value, of, value_range, normal=normal, is_at_most=False)


@checked_call
def at_most(
    measure: str,
    condition: BaseCondition,
    value: float,
    *,
    of: Literal["median", "mean"] = "median",
    value_range: Range | None = None,
    normal: bool = False,
) -> AtLeast | MeanAtLeast:
    """Claim that a measure is at most a value in most replicas of a condition, so that its median is; or its mean.

    Args:
        measure: the name of a measure of the condition.
        condition: what is trained.
        value: in the measure's unit.
        of: "median" for most replicas, "mean" for the average, as for `higher`.
        value_range: the smallest and the largest value that the measure can have, for of="mean"; known for accuracies.
        normal: assume normal values in place of a range, for of="mean".

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the condition does not have the measure, or a mean has no range.
        InputError: the value is not a number, or the arguments contradict each other.
    """
    return _at_least(measure, condition, value, of, value_range, normal=normal, is_at_most=True)


def _at_least(
    measure: str,
    condition: BaseCondition,
    value: float,
    of: Literal["median", "mean"],
    value_range: Range | None,
    *,
    normal: bool,
    is_at_most: bool,
) -> AtLeast | MeanAtLeast:
    if not is_of_mean(of, value_range, normal=normal):
        return AtLeast(measure, condition, value, is_at_most)
    assumption = MeanAssumption.of(measure, (condition,), value_range, normal=normal)
    return MeanAtLeast(measure, condition, assumption, value=value, is_at_most=is_at_most)


@checked_call
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
