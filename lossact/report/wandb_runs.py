"""W&B runs: one a condition and one for the verdicts of a claims session, one a map, and what `lossact fit` adds."""

import os
import re
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lossact.claims.map import ClaimMap
from lossact.claims.result import ClaimResult
from lossact.errors import InputError, LossactError
from lossact.report.rows import curve_rows, thinned
from lossact.report.stored import StoredCondition
from lossact.storage import Store, Trials

PROJECT = "lossact"
MOST_ROWS = 10_000  # of a table; W&B cuts what is longer
ANSWERS_WITHIN, UPLOADS_WITHIN = 30.0, 120.0  # seconds until a server that does not is given up
Start = Callable[[str, str, dict[str, Any]], Any]


def log_claims(
    results: Sequence[ClaimResult],
    conditions: Callable[[], Mapping[str, StoredCondition]],
    store: Store,
    mode: str,
    *,
    seed: int,
    delta: float,
) -> str:
    """Log every condition and the verdict table, all in one group.

    Args:
        results: at least one.
        conditions: reads what they rest on, by key.
        store: beside which offline runs lie.
        mode: "offline" or "online".
        seed, delta: of the run.

    Returns:
        One line that says where the runs are.
    """
    group = "claims-" + secrets.token_hex(4)

    def log(start: Start) -> None:
        ids = {}
        for key, condition in conditions().items():
            config = {"name": condition.name, "claims": list(condition.claims), **condition.content}
            run = start(condition.name, "condition", config)
            _log_condition(run, condition, store.directory / "surfaces")
            ids[key] = run.id
            run.finish()
        run = start("verdicts", "verdicts", {"seed": seed, "delta": delta})
        _log_verdicts(run, results, ids)
        run.finish()

    return _logged(log, group, store, mode)


def log_map(claim_map: ClaimMap, picture: Path, store: Store, *, mode: str) -> str:
    """Log a map: its picture, and each cell as a row.

    Args:
        claim_map: the map.
        picture: its PNG.
        store: beside which offline runs lie.
        mode: "offline" or "online".

    Returns:
        One line that says where the run is.
    """

    def log(start: Start) -> None:
        import wandb

        config = {name: getattr(claim_map, name) for name in ("seed", "alpha", "delta", "exploratory")}
        run = start(repr(claim_map.hypothesis), "map", config | {"x": asdict(claim_map.x), "y": asdict(claim_map.y)})
        columns = [claim_map.x.path, claim_map.y.path, "verdict", "value", "low", "high", "replicas", "diverged"]
        rows: list[list[Any]] = []
        for (row, column), diverged in np.ndenumerate(claim_map.diverged()):
            cell = claim_map.cells[row][column]
            d = cell.decision
            place = claim_map.x.values[column], claim_map.y.values[row]
            rows.append([*place, cell.name, d.value, d.low, d.high, d.replicas, bool(diverged)])
        run.log({"map": wandb.Image(str(picture))})
        _log_table(run, "cells", columns, rows)
        names = [cell.name for cell in claim_map.verdicts]
        run.summary.update({f"cells/{name}": names.count(name) for name in ("supported", "refuted", "inconclusive")})
        run.finish()

    return _logged(log, "map-" + secrets.token_hex(4), store, mode)


def prepare_wandb() -> None:
    """Set what wandb reads when it loads, where the user has not.

    What was logged reaches the file within half a second, also when the process is killed, and wandb sends nobody
    reports about itself, as it otherwise does from offline runs too.
    """
    os.environ.setdefault("WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL", "0.5")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")


@contextmanager
def wandb_given_up(*others: type[Exception]) -> Iterator[None]:
    """Give up W&B where it cannot go on, and say why in one line.

    Args:
        *others: exceptions that end it too, beside wandb's own, which have no common base, and a broken connection.

    Raises:
        InputError: of any of them.
    """
    try:
        yield
    except Exception as error:
        if "wandb" not in sys.modules or not (_is_of_wandb(error) or isinstance(error, others)):
            raise
        try:  # else wandb tries again at the end of the process, with a traceback
            sys.modules["wandb"].teardown()
        except Exception as again:
            if not _is_of_wandb(again):
                raise
        raise InputError(f"W&B: {str(error).strip().partition(chr(10))[0] or type(error).__name__}") from None


def _is_of_wandb(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] == "wandb" or isinstance(error, ConnectionError)


def define_axes(run: Any, metric: str) -> None:
    """Make updates the axis of everything logged, and let summaries keep best values."""
    run.define_metric("update", hidden=True)
    run.define_metric("*", step_metric="update")
    for name, best in (("loss", "min"), ("loss/median", "min"), (metric, "max"), (f"{metric}/median", "max")):
        run.define_metric(name, step_metric="update", summary=f"{best},last")
    run.define_metric("reach_rate", step_metric="update", summary="last")


def log_arrivals(run: Any, trials: Trials, metadata: Mapping[str, Any], pictures: Path) -> None:
    """Log the results of training: arrivals, each trial as a file, and the neuron's surfaces.

    Args:
        run: the condition's.
        trials: its outcomes.
        metadata: its content, as the store's key holds it.
        pictures: a folder that keeps drawn surfaces.
    """
    import wandb

    steps = trials.steps[trials.reached]
    row: dict[str, Any] = {"update": float(trials.budget)}
    if len(steps):
        counts, edges = np.histogram(steps, bins=50, range=(0, trials.budget))
        row["steps_to_target"] = wandb.Histogram(np_histogram=(counts.tolist(), edges.tolist()))
        row["arrivals"] = wandb.Table(columns=["steps_to_target"], data=[[int(step)] for step in steps[:MOST_ROWS]])
    images = [wandb.Image(str(path), caption=path.stem) for path in _surfaces(metadata, pictures)]
    run.log(row | ({"surfaces": images} if images else {}))
    columns = ["replica", "steps_to_target", "diverged"]
    _log_file(run, "trials", columns, [[trial.replica, trial.steps_to_target, trial.diverged] for trial in trials])
    run.summary.update(
        {
            "replicas": len(trials),
            "reach_rate": float(trials.reached.mean()),
            "diverged": int(trials.diverged.sum()),
            "median_steps_to_target": trials.median_steps,
        }
    )


def save_workspace(workspace: Any) -> str:
    """Send a dashboard to W&B; where it is.

    Raises:
        InputError: W&B did not take it.
    """
    import wandb

    try:
        workspace.save()
    except (wandb.Error, OSError, ValueError) as error:
        raise InputError(f"W&B did not take the workspace: {error}") from None
    return str(workspace.url)


def _surfaces(metadata: Mapping[str, Any], pictures: Path) -> list[Path]:
    """Return pictures of a built-in network's neuron, drawn once for a store because drawing takes seconds."""
    condition = metadata["condition"]
    activation, loss = condition.get("network", {}).get("activation"), condition.get("loss")
    if not isinstance(activation, str) or not isinstance(loss, str):
        return []
    stems = [f"output_{activation}", f"loss_{activation}_{loss}", f"gradient_{activation}_{loss}"]
    paths = [pictures / f"{stem}.png" for stem in stems]
    if not all(path.exists() for path in paths):
        from lossact.functional import RANGES, Grid
        from lossact.report.surfaces import draw_surfaces

        pictures.mkdir(parents=True, exist_ok=True)
        grid = Grid(RANGES[activation], RANGES[activation], resolution=61)
        draw_surfaces(pictures, [activation], [loss], {activation: grid})
    return paths


def _logged(log: Callable[[Start], None], group: str, store: Store, mode: str) -> str:
    """Call `log` with a function that starts a run (name, job type, config), and return where the runs are."""
    prepare_wandb()
    directory = store.directory if not store.temporary else Path.cwd() / ".lossact"
    directory.mkdir(exist_ok=True)
    # Where files wait for their upload: beside the runs, and not in the home directory, which may not be there.
    for place in ("DATA", "CACHE", "CONFIG"):
        os.environ.setdefault(f"WANDB_{place}_DIR", str(directory / "wandb"))
    import wandb

    def start(name: str, job_type: str, config: dict[str, Any]) -> Any:
        return wandb.init(
            project=PROJECT,
            group=group,
            name=name,
            job_type=job_type,
            config=config,
            mode=mode,  # type: ignore[arg-type]
            dir=directory,
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                x_save_requirements=False,  # versions are in the condition's content
                disable_job_creation=True,
                console="off",
                init_timeout=ANSWERS_WITHIN,
                finish_timeout=UPLOADS_WITHIN,
                finish_timeout_raises=True,
            ),
        )

    try:
        with wandb_given_up(OSError, LossactError):
            log(start)
    except InputError as error:
        return f"{error}; what is printed above stands"
    if mode == "online":
        return f"W&B: group {group} in project {PROJECT}"
    return f"W&B: group {group}, offline in {os.path.relpath(directory / 'wandb')} (wandb sync uploads it)"


def _log_condition(run: Any, condition: StoredCondition, pictures: Path) -> None:
    define_axes(run, condition.metric_name)
    for row in thinned(curve_rows(condition.trials, condition.curves, metric=condition.metric_name)):
        run.log(row)
    log_arrivals(run, condition.trials, condition.content, pictures)


def _log_verdicts(run: Any, results: Sequence[ClaimResult], ids: Mapping[str, str]) -> None:
    import wandb

    from lossact.report.figure import save_figure
    from lossact.report.intervals import intervals_figure

    columns = [
        "claim", "statement", "source", "verdict", "recorded", "effect", "value", "low", "high", "replicas",
        "conditions", "condition_runs", "difference",
    ]  # fmt: skip
    rows: list[list[Any]] = []
    for result in results:
        effect = result.verdict.effect.to_json()
        reached = ", ".join(f"{c.name} {c.reached}/{c.replicas}" for c in result.verdict.conditions if c.has_target)
        difference = "" if result.verdict.difference is None else str(result.verdict.difference)
        runs = ", ".join(ids[key] for _, key in result.keys if key in ids)
        rows.append(
            [result.id, result.statement, result.source, result.name, result.recorded, effect["name"], effect["value"],
             effect["low"], effect["high"], result.verdict.replicas, reached, runs, difference]
        )  # fmt: skip
    _log_table(run, "verdicts", columns, rows)
    if any(not result.exact for result in results):
        with tempfile.TemporaryDirectory(prefix="lossact-") as folder:
            picture, _ = save_figure(intervals_figure(results), Path(folder) / "intervals")
            run.log({"intervals": wandb.Image(str(picture))})
    for result in results:
        name = re.sub(r"\W+", "_", result.id.rpartition("::")[2])
        run.summary[f"verdict/{name}"] = result.name


def _log_table(run: Any, name: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Log a table; what is longer than W&B takes goes along whole, as a file."""
    import wandb

    run.log({name: wandb.Table(columns=list(columns), data=rows[:MOST_ROWS])})
    if len(rows) > MOST_ROWS:
        _log_file(run, name, columns, rows)


def _log_file(run: Any, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Send rows along as a CSV file, in an artifact of the run's."""
    import csv

    import wandb

    artifact = wandb.Artifact(f"{name}-{run.id}", type=name)
    with artifact.new_file(f"{name}.csv", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    run.log_artifact(artifact)
