"""Read runs that were made already."""

from os import PathLike
from pathlib import Path

from lossact.checks import checked_call
from lossact.conditions.measures import check_one_side
from lossact.conditions.reading.columns import Columns
from lossact.conditions.reading.csv_file import read_csv
from lossact.conditions.reading.group_runs import RunOptions, group_runs
from lossact.conditions.reading.json_lines import read_json_lines, read_objects
from lossact.conditions.reading.log_folders import read_log_folder
from lossact.conditions.reading.row_buffer import RowBuffer
from lossact.conditions.reading.wandb_history import read_project
from lossact.conditions.recorded_runs import RecordedRuns
from lossact.errors import InputError

WANDB = "wandb:"
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


@checked_call
def read_runs(
    source: str | PathLike[str],
    *,
    condition: str | None = None,
    run: str | None = None,
    value: str | None = None,
    step: str | None = None,
    pair: str | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    extendable: bool = False,
    finished_only: bool = False,
) -> dict[str, RecordedRuns]:
    """Read recorded runs, and return the conditions by name.

    Args:
        source: a CSV file or JSON lines; a folder of Lightning's CSVLogger, of TensorBoard event files or of offline
            W&B runs; or "wandb:ENTITY/PROJECT".
        condition: the column that names conditions. Without it each column of a wide table is a condition; in a folder
            the condition is the folder that holds the runs' folders. For logs it names a hyperparameter instead.
        run: the column that names the runs of a condition; without it each row is a run.
        value: the column of the recorded number; without it the only one left.
        step: the column of steps, integers >= 0; without it a run is one number. Logs have their own.
        pair: the column that pairs runs of different conditions, such as a seed.
        at_least, at_most: the threshold of a target, for claims about steps; at most one of the two.
        extendable: whether more runs may be added later. Claims then use anytime-valid evidence over the runs in the
            order of the table; otherwise the number of runs is fixed, and the statistics are exact for it.
        finished_only: of a W&B project, leave out the runs that crashed, failed or were killed. Without it they are an
            error, for a run that diverged and crashed is a result. Runs that still go on are always left out.

    Returns:
        conditions by name, in the order in which they come.

    Raises:
        InputError: the table breaks a rule, runs are copies of others or look like parts of one resumed run, or runs
            of a W&B project did not finish; the message names the place and the way out.
    """
    if at_least is not None or at_most is not None:
        check_one_side(at_least, at_most)
    named = {"condition": condition, "run": run, "value": value, "step": step, "pair": pair}
    for argument, column in named.items():
        if not isinstance(column, (str, type(None))):
            name = str(column) if isinstance(column, int) and not isinstance(column, bool) else "optimizer"
            raise InputError(f"{argument}={column!r} must be the name of a column; try {argument}={name!r}")
    if not isinstance(extendable, bool):
        raise InputError(f"extendable={extendable!r} must be True or False; leave it out for False")
    options = RunOptions(at_least, at_most, extendable)
    columns = Columns(condition, run, value, step, pair)
    if not isinstance(source, (str, PathLike)):
        raise InputError(
            f"source is a {type(source).__name__}; give the path of a table or a folder of logs (a DataFrame's "
            'to_csv("runs.csv", index=False) writes one)'
        )
    if isinstance(source, str) and source.startswith(WANDB):
        project = read_project(source.removeprefix(WANDB), columns, finished_only=finished_only)
        return group_runs(*_read_logs(project, columns, source), options, place=source)
    if finished_only:
        raise InputError(
            f"finished_only=True is for {WANDB}ENTITY/PROJECT, and {source} does not say how runs ended; leave it out"
        )
    buffer, measure, place = _read(Path(source), columns)
    return group_runs(buffer, measure, options, place=place)


def _read(path: Path, columns: Columns) -> tuple[RowBuffer, str, str]:
    if path.is_dir():
        return *_read_logs(read_log_folder(path, columns), columns, path.name), path.name
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder; give a table of runs or a folder of logs")
    read = read_json_lines if path.suffix.lower() in JSON_SUFFIXES else read_csv
    return *read(path, columns), path.name


def _read_logs(objects: list[tuple[str, dict[str, object]]], columns: Columns, place: str) -> tuple[RowBuffer, str]:
    """Read objects with the fields condition, run, step, pair and the value's name, which log readers make."""
    pair = None if columns.pair is None else "pair"
    return read_objects(objects, Columns("condition", "run", columns.value, "step", pair), place)
