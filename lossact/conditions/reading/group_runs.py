"""From rows to recorded runs, with the checks that a table of runs has to pass."""

import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossact.conditions.reading.copies import check_copies, check_multiples, has_many_digits
from lossact.conditions.reading.row_buffer import RowBuffer
from lossact.conditions.recorded_runs import PARTS, RecordedRun, RecordedRuns
from lossact.errors import InputError

MOST_RUNS = 5_000  # all pairs of two conditions are compared


@dataclass(frozen=True)
class RunOptions:
    """What read_runs is told beside the columns; see there.

    Args:
        at_least, at_most: the target's threshold.
        extendable: whether more runs may come.
    """

    at_least: float | None
    at_most: float | None
    extendable: bool


def group_runs(buffer: RowBuffer, measure: str, options: RunOptions, *, place: str) -> dict[str, RecordedRuns]:
    """Return the conditions by name, in the order of the table.

    Args:
        buffer: the rows.
        measure: name of the recorded number.
        options: targets and whether more runs may come.
        place: what errors call the table.

    Returns:
        the conditions by name.

    Raises:
        InputError: the table breaks a rule.
    """
    if not buffer.labels:
        raise InputError(f"{place}: no rows below the header; it needs a row for each number")
    groups, values = np.frombuffer(buffer.groups, dtype=np.int_), np.frombuffer(buffer.values)
    steps = np.frombuffer(buffer.steps, dtype=np.int64) if buffer.has_steps else np.zeros(len(groups), dtype=np.int64)
    order = np.lexsort((steps, groups))
    groups, steps, values = groups[order], steps[order], values[order]
    _check_no_repetition(buffer, groups, steps, np.frombuffer(buffer.lines, dtype=np.int_)[order], place)
    starts = np.searchsorted(groups, np.arange(len(buffer.labels) + 1))
    runs: dict[str, list[RecordedRun]] = defaultdict(list)
    for group, (condition, run, pair) in enumerate(buffer.labels):
        rows = slice(starts[group], starts[group + 1])
        runs[condition].append(RecordedRun(run, steps[rows] if buffer.has_steps else None, values[rows], pair))
    _check_names(runs, place)
    for name, members in runs.items():
        _check_runs(name, members, place)
    check_multiples(runs, place)
    budget = int(steps.max()) if buffer.has_steps else 0
    conditions = {
        name: RecordedRuns(
            runs=tuple(members),
            measure=measure,
            at_least=options.at_least,
            at_most=options.at_most,
            budget=budget,
            extendable=options.extendable,
            name=name,
        )
        for name, members in runs.items()
    }
    for each in conditions.values():
        each.check_starts()
    return conditions


def _check_no_repetition(
    buffer: RowBuffer,
    groups: NDArray[np.int_],
    steps: NDArray[np.int64],
    lines: NDArray[np.int_],
    place: str,
) -> None:
    repeated = np.flatnonzero((groups[1:] == groups[:-1]) & (steps[1:] == steps[:-1]))
    if not len(repeated):
        return
    first = int(repeated[0])
    condition, run, _ = buffer.labels[groups[first]]
    where = f"lines {lines[first]} and {lines[first + 1]}"
    if not buffer.has_steps:
        raise InputError(
            f"{place}: run {run!r} of {condition!r} has more than one row ({where}); name the column of steps, "
            "step=..., or give each run a name of its own"
        )
    raise InputError(f"{place}: run {run!r} of {condition!r} has step {steps[first]} twice ({where}); keep one of them")


def _check_names(runs: dict[str, list[RecordedRun]], place: str) -> None:
    if "" in runs:
        raise InputError(f"{place}: a row names no condition; fill in its cell")
    by_appearance: dict[str, str] = {}
    for name in runs:
        shown = unicodedata.normalize("NFKC", name)
        appearance = " ".join("".join(c if c.isprintable() else " " for c in shown).split())
        other = by_appearance.setdefault(appearance.casefold(), name)
        if other != name:
            raise InputError(
                f"{place}: conditions {other!r} and {name!r} have one name: they differ only in capitals or blanks; "
                "spell it in one way, or give them names of their own"
            )


def _check_runs(name: str, members: list[RecordedRun], place: str) -> None:
    if len(members) < 2:
        raise InputError(f"{place}: {name!r} has one run; record at least two, or drop its rows")
    if len(members) > MOST_RUNS:
        raise InputError(
            f"{place}: {name!r} has {len(members):,} runs, more than {MOST_RUNS:,}; if its rows are steps of one run, "
            "name the columns, run=... and step=..."
        )
    repeated = [run for run, count in Counter(run.name for run in members).items() if count > 1]
    if repeated:
        raise InputError(f"{place}: run {repeated[0]!r} of {name!r} has more than one pair; a run belongs to one pair")
    pairs = [run.pair for run in members if run.pair is not None]
    repeated_pairs = [pair for pair, count in Counter(pairs).items() if count > 1]
    if repeated_pairs:
        raise InputError(f"{place}: {name!r} has two runs of pair {repeated_pairs[0]!r}; a pair holds one of each")
    check_copies(name, members, place)
    _check_parts(name, members, place)


def _check_parts(name: str, members: list[RecordedRun], place: str) -> None:
    """Refuse a run that goes on where another one ends, as a resumed run does that was logged into two folders.

    It begins there, or it begins before, from a checkpoint, and has the other one's values from there to its end.
    """
    curves = [run for run in members if run.steps is not None and len(run.steps) > 1]
    if not curves:
        return
    first = min(curves, key=lambda run: run.end)
    last = max(members, key=lambda run: (run.start, len(run.values)))
    if last.start > first.end or (last.start == first.end and len(last.values) > 1):
        raise InputError(
            f"{place}: run {last.name!r} of {name!r} begins at step {last.start} and run {first.name!r} ends at step "
            f"{first.end}: {PARTS}"
        )
    end = max(run.end for run in curves)
    ended_early: dict[tuple[int, float], RecordedRun] = {}
    for run in curves:
        if run.steps is not None and run.end < end:
            for step, value in zip(run.steps.tolist(), run.values.tolist(), strict=True):
                ended_early.setdefault((step, value), run)
    for later in curves:
        earlier = ended_early.get((later.start, float(later.values[0])))
        if earlier is not None and _goes_on(later, earlier):
            raise InputError(
                f"{place}: run {later.name!r} of {name!r} begins at step {later.start} with the values of run "
                f"{earlier.name!r}, which ends at step {earlier.end}: {PARTS}"
            )


def _goes_on(later: RecordedRun, earlier: RecordedRun) -> bool:
    """Return whether a run has the steps and values with which another one ends, of more digits than chance gives."""
    if later.steps is None or earlier.steps is None or not earlier.start < later.start <= earlier.end < later.end:
        return False
    both = earlier.steps >= later.start
    n = int(both.sum())
    return (
        np.array_equal(later.steps[:n], earlier.steps[both])
        and np.array_equal(later.values[:n], earlier.values[both])
        and len(np.unique(later.values[:n])) > 1
        and has_many_digits(later.values[:n])
    )
