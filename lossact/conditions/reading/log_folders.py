"""Read folders of logs: Lightning's CSVLogger, TensorBoard event files, offline W&B runs."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lossact.conditions.reading.columns import Columns
from lossact.conditions.reading.logged_run import LoggedRun, run_object
from lossact.conditions.reading.tensorboard_events import EVENT_FILES, read_events
from lossact.conditions.reading.wandb_offline import OFFLINE_RUNS, read_offline_run
from lossact.errors import InputError

METRICS = "metrics.csv"
HYPERPARAMETERS = "hparams.yaml"


def read_log_folder(folder: Path, columns: Columns) -> list[tuple[str, dict[str, Any]]]:
    """Read every run below a folder.

    Args:
        folder: holds METRIC logs of one kind, one folder a run.
        columns: `value` names the logged metric; `condition` and `pair` name hyperparameters.

    Returns:
        (place, fields) of each run.

    Raises:
        InputError: there are no logs, or one lacks what is asked for.
    """
    files = sorted(folder.rglob(METRICS))
    event_folders = sorted({file.parent for file in folder.rglob(EVENT_FILES)})
    offline = sorted(folder.rglob(OFFLINE_RUNS))
    if not (files or event_folders or offline):
        raise InputError(f"{folder}: no {METRICS}, TensorBoard event file or offline W&B run is below it")
    if columns.value is None:
        names = f"one of {', '.join(_logged_names(files[0]))}" if files else "as it is logged"
        raise InputError(f"{folder.name}: which metric? Give value=..., {names}")
    if files:
        runs = [_read_csv_logger(file, folder, columns.value) for file in files]
    elif event_folders:
        runs = [
            replace(
                read_events(each, folder, columns.value), hyperparameters=_read_hyperparameters(each / HYPERPARAMETERS)
            )
            for each in event_folders
        ]
    else:
        runs = [read_offline_run(file, folder, columns.value) for file in offline]
    return [run_object(run, columns) for run in runs]


def _logged_names(file: Path) -> list[str]:
    with _read(file, file.name) as rows:
        names = rows.fieldnames or []
    return [name for name in names if name not in ("step", "epoch")]


@contextmanager
def _read(file: Path, place: str) -> "Iterator[csv.DictReader[str]]":
    """Yield what reads a log's rows within.

    Raises:
        InputError: it is no table of UTF-8 text.
    """
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            yield csv.DictReader(opened)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{place}: not readable as CSV ({error}); write it again, or take its folder away") from None


def _read_csv_logger(file: Path, root: Path, metric: str) -> LoggedRun:
    place = file.relative_to(root).as_posix()
    with _read(file, place) as rows:
        names = rows.fieldnames or []
        if metric not in names:
            raise InputError(f"{place}: no column value={metric!r}; it has {', '.join(names) or 'none'}")
        if "step" not in names:
            raise InputError(
                f"{place}: no column 'step', as Lightning's CSVLogger writes it; it has {', '.join(names)}"
            )
        logged = [row for row in rows if row[metric]]  # other rows hold other metrics
    return LoggedRun(
        place=place,
        folder=file.parent,
        root=root,
        steps=[row["step"] for row in logged],
        values=[row[metric] for row in logged],
        hyperparameters=_read_hyperparameters(file.parent / HYPERPARAMETERS),
    )


def _read_hyperparameters(file: Path) -> dict[str, Any]:
    import yaml

    if not file.is_file():
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):  # objects of Python's own; what is asked for is then missing
        return {}
    return content if isinstance(content, dict) else {}
