"""What a measure's name says of recorded runs: the values at a step, or at each run's end."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossact.conditions import BaseCondition
from lossact.conditions.recorded_runs import RecordedRuns, shorten
from lossact.errors import ClaimError, InputError

MOST_DIGITS = 18  # of a step, an int64
DECIDED = (
    "faster, not_worse, equivalent, ordering, fastest, slowest and reaches (steps to a target), and higher, lower, "
    "highest, lowest, at_least, at_most and equivalent_in (values)"
)


def check_trained(name: str, conditions: Sequence[BaseCondition]) -> None:
    """Raise ClaimError where a condition was recorded, for hypotheses that are decided from trained replicas alone.

    Args:
        name: of the hypothesis.
        conditions: of the claim.

    Raises:
        ClaimError: one was recorded.
    """
    recorded = [condition for condition in conditions if isinstance(condition, RecordedRuns)]
    if recorded:
        raise ClaimError(f"{name} is not decided from recorded runs, such as {recorded[0]}; {DECIDED} are")


def recorded_values(measure: str, condition: RecordedRuns) -> NDArray[np.float64]:
    """Return the value of each run.

    Args:
        measure: the name of the recorded number, for the values at the end; or "name@step".
        condition: what was recorded.

    Returns:
        (runs,) values, in the order of the table.

    Raises:
        ClaimError: it was not recorded, or not at this step.
        InputError: the step has too many digits.
    """
    check_recorded_measure(measure, [condition])
    step = _step(measure, condition)
    values = condition.final_values() if step is None else condition.values_at(step)
    assert values is not None
    return values


def check_recorded_measure(measure: str, conditions: Sequence[RecordedRuns]) -> None:
    """Raise ClaimError unless every run of every condition has the value.

    Args:
        measure: the name of the recorded number, or "name@step".
        conditions: of the claim, at least one.

    Raises:
        ClaimError: a condition lacks it, runs end at different steps and no step is named, or runs lack the step.
        InputError: the step has too many digits.
    """
    steps = [_step(measure, condition) for condition in conditions]
    ends = sorted({run.end for condition in conditions for run in condition.runs})
    if steps[0] is None and len(ends) > 1:
        common = _last_common_step(conditions)
        way_out = (
            "and no step was recorded by all of them; claim something about steps to a target, as lossact.faster does"
            if common is None
            else f"so name a step; all of them recorded {measure}@{common}"
        )
        raise ClaimError(
            f"measure={measure!r} is the value at each run's last step, but these runs end at different steps "
            f"({shorten(ends)}), {way_out}"
        )
    for step, condition in zip(steps, conditions, strict=True):
        if step is not None:
            _check_step(measure, step, condition, conditions)


def _step(measure: str, condition: RecordedRuns) -> int | None:
    """The step that a measure's name ends in, None for the values at the end."""
    if measure == condition.measure:
        return None
    name, _, step = str(measure).rpartition("@")
    if name != condition.measure or not step.isdecimal():
        at_a_step = f", and {condition.measure}@STEP at a step" if condition.has_steps else ""
        raise ClaimError(f"measure={measure!r} was not recorded for {condition}; it has {condition.measure}{at_a_step}")
    if not condition.has_steps:
        raise ClaimError(
            f"measure={measure!r} names a step, and the table of {condition} has none; try {condition.measure!r}, or "
            "name the column of steps, read_runs(..., step=...)"
        )
    if len(step) > MOST_DIGITS:
        raise InputError(
            f"measure={measure[:40]!r}... names a step of {len(step):,} digits, and it must have at most "
            f"{MOST_DIGITS}; name one that was recorded, as {condition.measure}@{condition.runs[0].end}"
        )
    return int(step)


def _check_step(measure: str, step: int, condition: RecordedRuns, conditions: Sequence[RecordedRuns]) -> None:
    lacking = [run.name for run in condition.runs if step > run.end or run.value_at(step) is None]
    if not lacking:
        return
    recorded = condition.common_steps()
    near = [str(each) for each in (*recorded[recorded < step][-1:], *recorded[recorded > step][:1])]
    common = _last_common_step(conditions)
    hint = "" if common is None else f"; all runs of the claim recorded {condition.measure}@{common}"
    raise ClaimError(
        f"measure={measure!r}: {len(lacking)} of {len(condition)} runs of {condition} lack step {step} "
        f"({shorten(lacking)}); its runs have {' and '.join(near) or 'no step in common'} nearby{hint}"
    )


def _last_common_step(conditions: Sequence[RecordedRuns]) -> int | None:
    common = conditions[0].common_steps()
    for condition in conditions[1:]:
        common = np.intersect1d(common, condition.common_steps(), assume_unique=True)
    return int(common[-1]) if len(common) else None
