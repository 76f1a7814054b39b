"""A condition whose runs were made elsewhere and recorded."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.conditions.base import BaseCondition
from lossact.conditions.measures import check_one_side, threshold_of
from lossact.errors import InputError
from lossact.stats.recorded.steps import RecordedSteps

SHOWN = 5
PARTS = "these look like parts of one resumed run; join the parts, or give the rows without them"


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """One run.

    Attributes:
        name: from the table.
        steps: (points,) int64, ascending; None where the table has no steps.
        values: (points,) float64, finite; one where there are no steps.
        pair: what pairs it with a run of another condition, such as a seed; None where nothing does.
    """

    name: str
    steps: NDArray[np.int64] | None
    values: NDArray[np.float64]
    pair: str | None = None

    @property
    def start(self) -> int:
        """The first recorded step; 0 without steps."""
        return 0 if self.steps is None else int(self.steps[0])

    @property
    def end(self) -> int:
        """The last recorded step; 0 without steps."""
        return 0 if self.steps is None else int(self.steps[-1])

    def value_at(self, step: int) -> float | None:
        """Return the value at a step.

        Args:
            step: as it was recorded.

        Returns:
            the value, None where none was recorded at this step.
        """
        if self.steps is None:
            return None
        place = int(np.searchsorted(self.steps, step))
        return float(self.values[place]) if place < len(self.steps) and self.steps[place] == step else None


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedRuns(BaseCondition):
    """Runs of one condition that were made already. `lossact.read_runs` makes them from a table.

    Args:
        runs: in the order of the table, at least two.
        measure: name of the recorded number.
        at_least, at_most: the target's threshold, for claims about steps; at most one of the two.
        budget: the last step of any run in the table, 0 without steps.
        extendable: whether more runs may be added; claims then use anytime-valid evidence.
        name: what tables call it; not part of its content.

    Raises:
        InputError: a value breaks its rule.
    """

    runs: tuple[RecordedRun, ...]
    measure: str
    at_least: float | None = None
    at_most: float | None = None
    budget: int
    extendable: bool = False
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.has_target:
            check_one_side(self.at_least, self.at_most)
        if len(self.runs) < 2:
            raise InputError(f"{self.name!r} has one run; record at least two, or leave it out")

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def block(self) -> int:
        """All runs: none is added."""
        return len(self.runs)

    @property
    def has_target(self) -> bool:
        """Whether a threshold is given."""
        return self.at_least is not None or self.at_most is not None

    @property
    def has_steps(self) -> bool:
        """Whether the runs are curves."""
        return self.runs[0].steps is not None

    @property
    def is_paired(self) -> bool:
        """Whether a column pairs the runs."""
        return self.runs[0].pair is not None

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the runs: their steps, values and pairs, in order."""
        digest = hashlib.sha256()
        for run in self.runs:
            steps = b"" if run.steps is None else run.steps.tobytes()
            for part in (steps, run.values.tobytes(), (run.pair or "").encode()):
                digest.update(len(part).to_bytes(8, "little") + part)
        return digest.hexdigest()

    @property
    def key(self) -> str:
        """SHA-256 of the content: what reports identify the condition by."""
        return hashlib.sha256(self.json.encode()).hexdigest()

    def content(self) -> dict[str, Any]:
        """Return the table's content and what is asked of it, ready for JSON."""
        return {
            "kind": "recorded",
            "measure": self.measure,
            "at_least": self.at_least,
            "at_most": self.at_most,
            "budget": self.budget,
            "extendable": self.extendable,
            "runs": self.digest,
        }

    def to_target(self, *, at_least: float | None = None, at_most: float | None = None) -> "RecordedRuns":
        """Return the same runs with a target.

        Args:
            at_least, at_most: the threshold; exactly one.

        Raises:
            InputError: both or neither is given.
        """
        check_one_side(at_least, at_most)
        return replace(self, at_least=at_least, at_most=at_most)

    def steps_to_target(self) -> RecordedSteps:
        """Return the first recorded step of each run that meets the target.

        Returns:
            (runs,) steps, with the recorded step before each and the end of each run.

        Raises:
            InputError: there are no steps, or no target, or a run looks like the second part of a resumed one.
        """
        if not self.has_steps:
            raise InputError(f"{self.name}: the table has no steps; give read_runs(..., step=...)")
        if not self.has_target:
            raise InputError(f"{self.name}: no target is given; try read_runs(..., at_most=...) or at_least=...")
        self.check_starts()
        met = self._met()
        grids = [run.steps for run in self.runs if run.steps is not None]
        reached = np.array([each.any() for each in met])
        places = [int(each.argmax()) for each in met]
        steps = [grid[k] for grid, k in zip(grids, places, strict=True)]
        before = [_step_before(grid, k) for grid, k in zip(grids, places, strict=True)]
        ends = np.array([run.end for run in self.runs], dtype=np.int64)
        return RecordedSteps(
            np.where(reached, steps, 0).astype(np.int64), reached, ends, np.array(before, dtype=np.int64), grids
        )

    def check_starts(self) -> None:
        """Raise InputError where a run meets the target at once, but begins later than one that does not.

        Without steps or a target nothing is checked.

        Raises:
            InputError: a run looks like the second part of a resumed one.
        """
        if not (self.has_steps and self.has_target):
            return
        at_once = [bool(met[0]) for met in self._met()]
        late = [run for run, met in zip(self.runs, at_once, strict=True) if met]
        early = [run for run, met in zip(self.runs, at_once, strict=True) if not met]
        if not late or not early:
            return
        last, first = max(late, key=lambda run: run.start), min(early, key=lambda run: run.start)
        if last.start > first.start:
            raise InputError(
                f"{self.name}: run {last.name!r} meets the target at step {last.start}, the first that it recorded, "
                f"and run {first.name!r} begins at step {first.start}: {PARTS}"
            )

    def _met(self) -> list[NDArray[np.bool_]]:
        """Whether each recorded step of each run meets the target."""
        threshold = threshold_of(self.at_least, self.at_most)
        return [run.values >= threshold if self.at_most is None else run.values <= threshold for run in self.runs]

    def common_steps(self) -> NDArray[np.int64]:
        """Return the steps that every run recorded, ascending."""
        steps = [run.steps for run in self.runs if run.steps is not None]
        common = steps[0] if steps else np.zeros(0, dtype=np.int64)
        for each in steps[1:]:
            common = np.intersect1d(common, each, assume_unique=True)
        return common

    def values_at(self, step: int) -> NDArray[np.float64] | None:
        """Return the values of all runs at a step.

        Args:
            step: as it was recorded.

        Returns:
            (runs,) values, None where a run lacks the step.
        """
        values = [run.value_at(step) for run in self.runs]
        return None if None in values else np.array(values, dtype=np.float64)

    def final_values(self) -> NDArray[np.float64]:
        """Return (runs,) values at the end.

        Raises:
            InputError: the runs end at different steps.
        """
        ends = sorted({run.end for run in self.runs})
        if len(ends) > 1:
            raise InputError(
                f"runs of {self.name} end at different steps ({shorten(ends)}); choose a common step, or compare steps "
                "to a target"
            )
        return np.array([run.values[-1] for run in self.runs])


def _step_before(grid: NDArray[np.int64], place: int) -> int:
    """Return the last step at which a run is known not to have met the target, -1 where that is before all records."""
    if place:
        return int(grid[place - 1])
    return int(grid[0]) - 1 if len(grid) == 1 else -1  # a run of one record is taken at its word


def shorten(items: Sequence[object]) -> str:
    """Return a list in words, cut after five.

    Args:
        items: to be shown, any number.

    Returns:
        text such as "a, b and 3 more".
    """
    shown = ", ".join(map(str, items[:SHOWN]))
    return shown if len(items) <= SHOWN else f"{shown} and {len(items) - SHOWN} more"
