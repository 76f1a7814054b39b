"""One run as a logger left it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossact.conditions.reading.columns import Columns
from lossact.errors import InputError


@dataclass(frozen=True)
class LoggedRun:
    """One run's metric by step.

    Attributes:
        place: what errors call it.
        folder: the run's own.
        root: the folder that was asked for.
        steps, values: as logged, equally many.
        hyperparameters: nested names to values.
        name: the run's name; by default its folder's.
    """

    place: str
    folder: Path
    root: Path
    steps: Sequence[Any]
    values: Sequence[Any]
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""


def run_object(run: LoggedRun, columns: Columns) -> tuple[str, dict[str, Any]]:
    """Return a run's place and its fields condition, run, step, pair and the metric's name.

    Args:
        run: one logged run.
        columns: the metric, and the hyperparameters that name condition and pair.

    Returns:
        the place, and the fields by name.

    Raises:
        InputError: nothing was logged under the name, or a hyperparameter is missing.
    """
    if not run.values:
        raise InputError(f"{run.place}: {columns.value} was never logged; name a metric that every run has")
    folder = run.folder.relative_to(run.root)
    condition = folder.parent.as_posix() if folder.parent.as_posix() != "." else run.root.name
    fields = {
        "condition": condition if columns.condition is None else hyperparameter(run, columns.condition),
        "run": run.name or folder.as_posix(),
        "step": list(run.steps),
        str(columns.value): list(run.values),
    }
    if columns.pair is not None:
        fields["pair"] = hyperparameter(run, columns.pair)
    return run.place, fields


def hyperparameter(run: LoggedRun, name: str) -> str:
    """Return a run's hyperparameter as text; a dot goes one level down.

    Args:
        run: one logged run.
        name: its name, such as "optimizer.lr".

    Returns:
        its value as text.

    Raises:
        InputError: the run has none of that name.
    """
    value: Any = run.hyperparameters
    for part in [name] if name in run.hyperparameters else name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            known = ", ".join(map(str, run.hyperparameters)) or "none"
            raise InputError(f"{run.place}: no hyperparameter {name!r}; it has {known}")
        value = value[part]
    return str(value)
