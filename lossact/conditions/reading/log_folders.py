"""Read folders of logs: Lightning's CSVLogger, TensorBoard event files, offline W&B runs."""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from lossact.conditions.reading.columns import Columns
from lossact.conditions.reading.logged_run import LoggedRun, run_object
from lossact.conditions.reading.tensorboard_events import EVENT_FILES, read_events
from lossact.conditions.reading.wandb_offline import OFFLINE_RUNS, read_offline_run
from lossact.errors import InputError

METRICS = "metrics.csv"
HYPERPARAMETERS = "hparams.yaml"
PREDICTIONS = "predictions.csv"  # what `lossact predict` writes, with a logger that logs nothing


def read_log_folder(folder: Path, columns: Columns) -> list[tuple[str, dict[str, Any]]]:
    """Read every run below a folder.

    Args:
        folder: holds METRIC logs of one kind, one folder a run.
        columns: `value` names the logged metric; `condition` and `pair` name hyperparameters.

    Returns:
        (place, fields) of each run.

    Raises:
        InputError: there are no logs, or several kinds of them, or one lacks what is asked for.
    """
    for argument, column in (("run", columns.run), ("step", columns.step)):
        if column is not None:
            raise InputError(
                f"{folder.resolve().name}: {argument}={column!r} is for tables, and logs have their own; leave it out"
            )
    files = sorted(folder.rglob(METRICS), key=_by_number)
    event_folders = sorted({file.parent for file in folder.rglob(EVENT_FILES)}, key=_by_number)
    offline = sorted(folder.rglob(OFFLINE_RUNS), key=_by_number)
    if not (files or event_folders or offline):
        raise InputError(f"{folder}: no {METRICS}, TensorBoard event file or offline W&B run is below it")
    read = {file.parent for file in files} or set(event_folders) or {file.parent for file in offline}
    _check_complete(folder, read, set(event_folders))
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


def _by_number(path: Path) -> list[tuple[int, int | str]]:
    """Return what sorts version_2 before version_10, as runs came."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _check_complete(folder: Path, read: set[Path], events: set[Path]) -> None:
    """Raise InputError where a folder below has TensorBoard's logs alone, or a run none, and others are read.

    Raises:
        InputError: as above, for these runs would be lost.
    """
    with_logs = {run.relative_to(folder).parts[:1] for run in read}
    other = sorted((run for run in events if run.relative_to(folder).parts[:1] not in with_logs), key=_by_number)
    place = folder.resolve().name
    if other:
        raise InputError(
            f"{place}: {other[0].relative_to(folder).as_posix()} has no log of the kind that "
            f"{min(read, key=_by_number).relative_to(folder).as_posix()} has; give a folder with logs of one kind"
        )
    started = {file.parent for file in folder.rglob(HYPERPARAMETERS)}
    silent = sorted((run for run in started - read - events if not (run / PREDICTIONS).exists()), key=_by_number)
    if silent:
        raise InputError(
            f"{place}: {silent[0].relative_to(folder).as_posix()} has {HYPERPARAMETERS} and no log. A run that broke "
            "off before its first value is a result: record a value for it, or take its folder away where it has "
            "nothing to do with the training"
        )


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
        content = yaml.load(file.read_text(encoding="utf-8"), _plain_loader())
    except (yaml.YAMLError, UnicodeDecodeError):  # what is asked for is then missing
        return {}
    return content if isinstance(content, dict) else {}


@cache
def _plain_loader() -> Any:
    """Return a loader of YAML that reads Python's own objects, such as tuples, as the plain values they hold."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        pass

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", _plain_value)
    return Loader


def _plain_value(loader: Any, suffix: str, node: Any) -> Any:
    import yaml

    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_scalar(node) or suffix
