"""Recorded runs of several conditions compared: what `lossact compare` reports."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_number
from lossact.conditions.recorded_runs import RecordedRuns, shorten
from lossact.errors import InputError
from lossact.stats.recorded import (
    Description,
    PairResult,
    RecordedSteps,
    Samples,
    StepSamples,
    ValueSamples,
    compare_pairs,
    describe,
    on_one_grid,
)

LAST_COMMON = "last-common"
LEAST_ALPHA = 1e-12
ROUNDING = 1e-12  # of the largest value: a smaller spread is none
OFTEN_LOWER = {"loss", "error", "err", "perplexity", "ppl", "nll", "mse", "rmse", "mae", "wer", "bpb", "fid", "regret"}


@dataclass(frozen=True)
class Question:
    """What is asked of the runs.

    Attributes:
        at: a step at which values are compared, "last-common" for the last step that all recorded; None compares the
            last values, which must be of one step.
        target: compare the steps at which this value is met instead; None compares values.
        against: compare only with the condition of this name; None compares all pairs.
        lower: whether lower values are better.
        alpha: error probability a side, for all pairs together.
    """

    at: int | str | None = None
    target: float | None = None
    against: str | None = None
    lower: bool = False
    alpha: float = 0.025


@dataclass(frozen=True, eq=False)
class ConditionRow:
    """One condition.

    Attributes:
        name: the condition's.
        n: its recorded runs.
        values: (runs,) what is compared; steps where a target is, NaN where a run did not reach it.
        description: of the values; None where a run did not reach the target.
        n_reached: runs that reached the target; None where values are compared.
    """

    name: str
    n: int
    values: NDArray[np.float64]
    description: Description | None
    n_reached: int | None = None


@dataclass(frozen=True, eq=False)
class RunComparison:
    """Everything that the reports show.

    Attributes:
        question: what was asked.
        measure: name of the recorded number.
        subject: what is compared, in words.
        conditions: best first.
        pairs: compared, in the order of the conditions.
        left_out: conditions that were not compared, each with the reason.
        notes: what to know before quoting the table.
        paired: whether runs are paired.
        decimals: digits after the point that the values deserve.
        unit: of an advantage, in words.
    """

    question: Question
    measure: str
    subject: str
    conditions: Sequence[ConditionRow]
    pairs: Sequence[PairResult]
    left_out: Sequence[tuple[str, str]]
    notes: Sequence[str]
    paired: bool
    decimals: int
    unit: str


def _side_note(measure: str, question: Question) -> str:
    """Say that higher is taken for better where a name lets one expect the other."""
    words = set(re.split(r"[\W_\d]+", measure.lower()))
    if question.lower or not words & OFTEN_LOWER:
        return ""
    return f"higher {measure} is taken for better; with --lower, lower is"


def compare_runs(conditions: Mapping[str, RecordedRuns], question: Question) -> RunComparison:
    """Compare recorded runs by all pairs, or with one condition.

    Args:
        conditions: by name, from read_runs.
        question: what is asked.

    Returns:
        the comparison.

    Raises:
        InputError: the question does not fit the runs.
    """
    check_number("alpha", question.alpha, above=0, below=0.5, hint=0.025)
    if question.alpha < LEAST_ALPHA:
        check_number("alpha", question.alpha, at_least=LEAST_ALPHA, hint=0.025)
    if question.target is not None:
        check_number("target", question.target, hint=0.9)
    _check_question(conditions, question)
    if question.target is not None:
        rows, notes, samples_of = _steps(conditions, question, question.target)
        left_out: list[tuple[str, str]] = []
        subject = f"steps until {_measure(conditions)} {'<=' if question.lower else '>='} {question.target:g}"
        decimals, unit = 0, "steps"
    else:
        values, left_out, place = _values(conditions, question)
        rows = [ConditionRow(name, len(each), each, describe(each, alpha=0.025)) for name, each in values.items()]
        notes, samples_of = [], None
        subject = f"{_measure(conditions)}{place}, {'lower' if question.lower else 'higher'} is better"
        decimals, unit = decimals_for([row.values for row in rows]), _measure(conditions)
    paired = next(iter(conditions.values())).is_paired
    if paired:
        notes.append(_check_pairs(conditions, [row.name for row in rows]))
    rows = sorted(rows, key=lambda row: _rank(row, lower=question.lower))
    names = [row.name for row in rows]
    samples: Samples
    if samples_of is not None:
        steps = [_aligned_steps(conditions[name], samples_of[name], paired) for name in names]
        samples = StepSamples(names, paired, steps)
    else:
        aligned = [_aligned(conditions[row.name], row.values, paired) for row in rows]
        samples = ValueSamples(names, paired, aligned, question.lower)
    indices = [
        (i, j)
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if question.against in (None, names[i], names[j])
    ]
    return RunComparison(
        question=question,
        measure=_measure(conditions),
        subject=subject,
        conditions=rows,
        pairs=compare_pairs(samples, indices, alpha=question.alpha),
        left_out=left_out,
        notes=[note for note in (_side_note(_measure(conditions), question), *notes) if note],
        paired=paired,
        decimals=decimals,
        unit=unit,
    )


def _measure(conditions: Mapping[str, RecordedRuns]) -> str:
    return next(iter(conditions.values())).measure


def _check_question(conditions: Mapping[str, RecordedRuns], question: Question) -> None:
    names = ", ".join(conditions)
    has_steps = next(iter(conditions.values())).has_steps
    if len(conditions) < 2:
        raise InputError(f"the table holds one condition ({names}); a comparison needs two")
    if question.against is not None and question.against not in conditions:
        raise InputError(f"against={question.against!r} is no condition; choose one of {names}")
    if question.at is not None and question.target is not None:
        raise InputError(f"at={question.at} and target={question.target}: give one of the two")
    if not has_steps and (question.at is not None or question.target is not None):
        raise InputError("at= and target= need steps; name their column, step=...")


def _values(
    conditions: Mapping[str, RecordedRuns], question: Question
) -> tuple[dict[str, NDArray[np.float64]], list[tuple[str, str]], str]:
    """The values to compare, what is left out and why, and the place in words."""
    if question.at is None:
        ends = sorted({run.end for each in conditions.values() for run in each.runs})
        if len(ends) > 1:
            common = last_common_step(conditions)
            hint = "" if common is None else f" (all recorded step {common})"
            raise InputError(
                f"runs end at different steps ({shorten(ends)}); choose a step, at=... or at=last-common{hint}, or "
                "compare steps with target=..."
            )
        place = f" at step {ends[0]}" if ends[0] else ""
        return {name: each.final_values() for name, each in conditions.items()}, [], place
    step = last_common_step(conditions) if question.at == LAST_COMMON else question.at
    if not isinstance(step, int):
        raise InputError("no step was recorded by all runs; choose one, at=..., which compares those that have it")
    at_step = {name: each.values_at(step) for name, each in conditions.items()}
    values = {name: each for name, each in at_step.items() if each is not None}
    left_out = []
    for name in at_step.keys() - values.keys():
        recorded = conditions[name].common_steps()
        below, above = recorded[recorded < step], recorded[recorded > step]
        near = [str(steps) for steps in (*below[-1:], *above[:1])]
        left_out.append((name, f"lacks step {step}; its runs have {' and '.join(near) or 'no step in common'} nearby"))
    left_out.sort()
    if len(values) < 2:
        common_to_all = last_common_step(conditions)
        hint = "" if common_to_all is None else f"; all recorded step {common_to_all}"
        raise InputError(f"at={step}: {len(values)} of {len(conditions)} conditions recorded that step{hint}")
    if question.against is not None and question.against not in values:
        raise InputError(f"at={step}: {question.against} lacks that step, so nothing can be compared with it")
    return values, left_out, f" at step {step}"


def last_common_step(conditions: Mapping[str, RecordedRuns]) -> int | None:
    """Return the last step that every run of every condition recorded, None where there is none."""
    common: NDArray[np.int64] | None = None
    for each in conditions.values():
        steps = each.common_steps()
        common = steps if common is None else np.intersect1d(common, steps)
    return int(common[-1]) if common is not None and len(common) else None


def _steps(
    conditions: Mapping[str, RecordedRuns], question: Question, target: float
) -> tuple[list[ConditionRow], list[str], dict[str, RecordedSteps]]:
    threshold = {"at_most": target} if question.lower else {"at_least": target}
    steps = {name: each.to_target(**threshold).steps_to_target() for name, each in conditions.items()}
    rows = []
    for name, each in steps.items():
        values = np.where(each.reached, each.steps, np.nan).astype(np.float64)
        description = describe(values, alpha=0.025) if each.reached.all() else None
        rows.append(ConditionRow(name, len(each), values, description, int(each.reached.sum())))
    spacings = {name: _spacing(conditions[name]) for name in conditions}
    notes = []
    if len(set(spacings.values())) > 1 or max(spacings.values()) > 1:
        coarsest = max(spacings, key=spacings.__getitem__)
        notes.append(
            f"a step to the target is the first recorded step that meets it; {coarsest} was recorded every "
            f"{spacings[coarsest]} steps near its end, so its steps are known to that"
        )
    if not _on_one_grid(list(steps.values())):
        notes.append(
            "not all runs were recorded at the same steps: where two met the target between records that do not tell "
            "which was first, the pair counts for neither"
        )
    if not all(each.reached.any() for each in steps.values()):
        never = [name for name, each in steps.items() if not each.reached.any()]
        notes.append(f"no run reached the target: {', '.join(never)}")
    return rows, notes, steps


def _on_one_grid(steps: Sequence[RecordedSteps]) -> bool:
    longest = max(steps, key=lambda each: max(map(len, each.grids)))
    return all(on_one_grid(longest, each) for each in steps)


def _spacing(condition: RecordedRuns) -> int:
    steps = condition.runs[0].steps
    return 1 if steps is None or len(steps) < 2 else int(np.diff(steps[-5:]).max())


def _rank(row: ConditionRow, *, lower: bool) -> float:
    """Sort by the median, best first; runs that did not reach a target come last."""
    if row.n_reached is not None:
        return float(np.median(np.where(np.isnan(row.values), np.inf, row.values)))
    return float(np.median(row.values)) * (1 if lower else -1)


def _check_pairs(conditions: Mapping[str, RecordedRuns], names: Sequence[str]) -> str:
    pairs = {name: {run.pair for run in conditions[name].runs} for name in names}
    first = pairs[names[0]]
    for name in names[1:]:
        if pairs[name] != first:
            missing = sorted(map(str, first ^ pairs[name]))
            raise InputError(
                f"{names[0]} and {name} do not have the same pairs ({shorten(missing)} in one of them only); drop the "
                "runs without a partner, or compare without pair=..."
            )
    return ""


def _order_of_pairs(condition: RecordedRuns) -> NDArray[np.intp]:
    return np.argsort([str(run.pair) for run in condition.runs], kind="stable")


def _aligned(condition: RecordedRuns, values: NDArray[np.float64], paired: bool) -> NDArray[np.float64]:
    return values[_order_of_pairs(condition)] if paired else values


def _aligned_steps(condition: RecordedRuns, steps: RecordedSteps, paired: bool) -> RecordedSteps:
    if not paired:
        return steps
    return steps.in_order(_order_of_pairs(condition))


def decimals_for(samples: Sequence[NDArray[np.float64]]) -> int:
    """Return how many decimals show two digits of the smallest spread."""
    varied = [values for values in samples if np.ptp(values) > ROUNDING * np.abs(values).max()]
    spreads = [float(np.std(values)) for values in varied]
    return int(np.clip(1 - np.floor(np.log10(min(spreads))), 0, 12)) if spreads else 4
