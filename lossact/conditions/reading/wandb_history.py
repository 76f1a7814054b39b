"""Read the runs of a W&B project from its server."""

from pathlib import Path
from typing import Any

from lossact.conditions.reading.columns import Columns
from lossact.conditions.reading.logged_run import LoggedRun, run_object
from lossact.errors import InputError

STEP = "_step"
FINISHED = "finished"


def read_project(project: str, columns: Columns) -> list[tuple[str, dict[str, Any]]]:
    """Read every finished run of a project.

    Args:
        project: ENTITY/PROJECT.
        columns: `value` names the logged metric, `step` another metric to count by; `condition` and `pair` name
            entries of the config. Without `condition` it is the run's group.

    Returns:
        (place, fields) of each run, oldest first.

    Raises:
        InputError: the project cannot be read, has no finished run, or a run lacks what is asked for.
    """
    import wandb

    if columns.value is None:
        raise InputError(f"wandb:{project}: which metric? Give value=..., as it is logged")
    step = columns.step or STEP
    try:
        runs = [run for run in wandb.Api().runs(project, order="+created_at") if run.state == FINISHED]
        logged = [(run, list(run.scan_history(keys=[step, columns.value]))) for run in runs]
    except (wandb.errors.Error, ValueError, OSError) as error:
        raise InputError(f"wandb:{project}: W&B does not answer with its runs ({error})") from None
    if not logged:
        raise InputError(f"wandb:{project}: it has no finished run")
    root = Path(project)
    return [
        run_object(
            LoggedRun(
                place=f"wandb:{project}, run {run.name}",
                folder=root / (run.group or "runs") / run.id,
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
