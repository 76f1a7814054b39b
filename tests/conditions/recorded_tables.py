"""Tables of recorded runs, written for a test and read again."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lossact import (
    RecordedRuns,
    read_runs,
)

HEADER = ["optimizer", "run", "step", "loss"]
Row = Sequence[object]


def write(path: Path, rows: Iterable[Row], header: Sequence[str] = HEADER) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def curves(ends: Mapping[str, Sequence[int]], *, until: int = 10) -> list[Row]:
    """Runs whose loss falls by one a step and meets 0 at the given step."""
    rng = np.random.default_rng(0)
    return [
        (name, run, step, round(steps_to_target - step + (0 if step >= steps_to_target else rng.uniform(0, 0.9)), 6))
        for name, steps in ends.items()
        for run, steps_to_target in enumerate(steps)
        for step in range(until + 1)
    ]


def read(path: Path, **changes: Any) -> dict[str, RecordedRuns]:
    return read_runs(path, **{"condition": "optimizer", "run": "run", "step": "step", "at_most": 0.0, **changes})


def table(tmp_path: Path, ends: Mapping[str, Sequence[int]], **changes: Any) -> dict[str, RecordedRuns]:
    return read(write(tmp_path / "runs.csv", curves(ends)), **changes)
