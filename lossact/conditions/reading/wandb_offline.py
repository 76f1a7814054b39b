"""Read offline W&B runs, by W&B's own command."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lossact.conditions.reading.logged_run import LoggedRun
from lossact.errors import InputError

OFFLINE_RUNS = "run-*.wandb"
ENDS_WITHIN = 120.0  # seconds
STEP = "_step"


def read_offline_run(file: Path, root: Path, metric: str) -> LoggedRun:
    """Read one metric of an offline run.

    Args:
        file: the run's .wandb file.
        root: the folder that was asked for.
        metric: the name under which it is logged.

    Returns:
        the run, with the metric's values.

    Raises:
        InputError: W&B cannot read the file.
    """
    place = file.relative_to(root).as_posix()
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ENDS_WITHIN, check=False)
    except subprocess.TimeoutExpired:
        raise InputError(f"{place}: W&B did not read it within {ENDS_WITHIN:g} s; export the run as CSV") from None
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
        raise InputError(f"{place}: W&B cannot read it ({reason}); run wandb sync on it, or export the run as CSV")
    records = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    return run_of_records(records, file, root, metric)


def run_of_records(records: list[Mapping[str, Any]], file: Path, root: Path, metric: str) -> LoggedRun:
    """Return the run that W&B's records describe; its condition is the run's group, else its job type.

    Args:
        records: of one run, as W&B prints them.
        file: the run's .wandb file.
        root: the folder that was asked for.
        metric: the name under which it is logged.

    Returns:
        the run.
    """
    place = file.relative_to(root).as_posix()
    start: Mapping[str, Any] = next((record["run"] for record in records if record.get("type") == "run"), {})
    rows = [record["history"]["item"] for record in records if record.get("type") == "history"]
    logged = [row for row in rows if metric in row]
    group = start.get("run_group") or start.get("job_type") or "runs"
    return LoggedRun(
        place=place,
        folder=root / group / file.parent.name,
        root=root,
        steps=[row[STEP] for row in logged],
        values=[row[metric] for row in logged],
        hyperparameters=start.get("config", {}).get("update", {}),
        name=file.parent.name,
    )
