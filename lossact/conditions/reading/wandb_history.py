"""Read the runs of a W&B project from its server."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lossact.conditions.reading.columns import Columns
from lossact.conditions.reading.logged_run import LoggedRun, hyperparameter, run_object
from lossact.conditions.recorded_runs import shorten
from lossact.errors import InputError
from lossact.requirements import check_requirements

STEP = "_step"
FINISHED = "finished"
BROKEN_OFF = ("crashed", "failed", "killed")


def read_project(project: str, columns: Columns, *, finished_only: bool = False) -> list[tuple[str, dict[str, Any]]]:
    """Read every finished run of a project. Runs that still go on are left out.

    Args:
        project: ENTITY/PROJECT.
        columns: `value` names the logged metric, `step` another metric to count by; `condition` and `pair` name
            entries of the config. Without `condition` it is the run's group.
        finished_only: leave out runs that crashed, failed or were killed.

    Returns:
        (place, fields) of each run, oldest first.

    Raises:
        InputError: the project cannot be read, has no finished run, or a run lacks what is asked for; or runs crashed,
            failed or were killed, and `finished_only` is not said.
    """
    check_requirements(["wandb"])
    import wandb

    if columns.value is None:
        raise InputError(f"wandb:{project}: which metric? Give value=..., as it is logged")
    step = columns.step or STEP
    try:
        known = list(wandb.Api().runs(project, order="+created_at"))
        broken_off = [] if finished_only else [run for run in known if run.state in BROKEN_OFF]
        runs = [] if broken_off else [run for run in known if run.state == FINISHED]
        logged = [(run, list(run.scan_history(keys=[step, columns.value]))) for run in runs]
    except (wandb.errors.Error, ValueError, OSError) as error:
        raise InputError(
            f"wandb:{project}: W&B does not answer with its runs ({error}); look at the name ENTITY/PROJECT, the "
            "connection and wandb login"
        ) from None
    if broken_off:
        raise InputError(_broken_off(project, broken_off, columns))
    if not logged:
        raise InputError(f"wandb:{project}: it has no finished run; read it when runs have ended")
    root = Path(project)
    return [
        run_object(
            LoggedRun(
                place=f"wandb:{project}, run {run.name}",
                folder=root / _group(run) / run.id,
                root=root,
                steps=[row[step] for row in rows],
                values=[row[columns.value] for row in rows],
                hyperparameters=dict(run.config),
                name=run.id,
            ),
            columns,
        )
        for run, rows in logged
    ]


def _group(run: Any) -> str:
    return run.group or "runs"


def _broken_off(project: str, runs: Sequence[Any], columns: Columns) -> str:
    """The error that names how many runs of which condition did not finish."""
    counts = Counter((_condition(run, columns), run.state) for run in runs)
    counted = shorten([f"{n} of {condition} {state}" for (condition, state), n in counts.items()])
    return (
        f"wandb:{project}: {len(runs)} of its runs did not finish ({counted}), and a run that diverged and crashed is "
        "a result: leaving it out makes its condition look better; give a table in which such runs have the worst "
        "value, or say finished_only=True where all ended for reasons that have nothing to do with the training"
    )


def _condition(run: Any, columns: Columns) -> str:
    if columns.condition is None:
        return _group(run)
    root = Path()
    logged = LoggedRun(place="", folder=root, root=root, steps=[], values=[], hyperparameters=dict(run.config))
    try:
        return hyperparameter(logged, columns.condition)
    except InputError:
        return f"no {columns.condition}"
