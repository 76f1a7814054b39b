"""W&B runs of a claims session: one a condition, one for the verdicts."""

import os
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lossact.claims.map import ClaimMap
from lossact.claims.result import ClaimResult
from lossact.errors import LossactError
from lossact.experiment import Curves, Experiment, Store, Trials

PROJECT = "lossact"
Start = Callable[[str, str, dict[str, Any]], Any]
QUANTILES = {"q10": 0.1, "median": 0.5, "q90": 0.9}


def log_claims(results: Sequence[ClaimResult], experiment: Experiment, mode: str) -> str:
    """Log every condition and the verdict table, all in one group.

    Args:
        results: at least one.
        experiment: whose store holds the trials.
        mode: "offline" or "online".

    Returns:
        One line that says where the runs are.
    """
    group = "claims-" + secrets.token_hex(4)

    def log(start: Start) -> None:
        for key, (name, replicas) in _conditions(results).items():
            run = start(name, "condition", {"seed": experiment.seed, **experiment.store.content(key)})
            _log_condition(run, key, replicas, experiment)
            run.finish()
        run = start("verdicts", "verdicts", {"seed": experiment.seed})
        _log_verdicts(run, results)
        run.finish()

    return _logged(log, group, experiment.store, mode)


def log_map(one: ClaimMap, picture: Path, store: Store, *, mode: str) -> str:
    """Log a map: its picture, and each cell as a row.

    Args:
        one: the map.
        picture: its PNG.
        store: beside which offline runs lie.
        mode: "offline" or "online".

    Returns:
        One line that says where the run is.
    """

    def log(start: Start) -> None:
        import wandb

        config = {name: getattr(one, name) for name in ("seed", "alpha", "delta", "exploratory")}
        run = start(repr(one.hypothesis), "map", config | {"x": asdict(one.x), "y": asdict(one.y)})
        columns = [one.x.path, one.y.path, "verdict", "value", "low", "high", "replicas", "diverged"]
        table = wandb.Table(columns=list(columns))
        for (row, column), diverged in np.ndenumerate(one.diverged()):
            cell = one.cells[row][column]
            d = cell.decision
            table.add_data(
                one.x.values[column], one.y.values[row], cell.name, d.value, d.low, d.high, d.replicas, bool(diverged)
            )
        run.log({"map": wandb.Image(str(picture)), "cells": table})
        names = [cell.name for cell in one.verdicts]
        run.summary.update({f"cells/{name}": names.count(name) for name in ("supported", "refuted", "inconclusive")})
        run.finish()

    return _logged(log, "map-" + secrets.token_hex(4), store, mode)


def _logged(log: Callable[[Start], None], group: str, store: Store, mode: str) -> str:
    """Run `log` with a function that starts a run of the group (name, job type, config); where the runs are."""
    # What was logged reaches the file within half a second, also when the process is killed; read at import.
    os.environ.setdefault("WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL", "0.5")
    import wandb

    directory = store.directory if not store.temporary else Path.cwd() / ".lossact"
    directory.mkdir(exist_ok=True)

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
            settings=wandb.Settings(silent=True, console="off"),
        )

    try:
        log(start)
    except (wandb.Error, OSError, LossactError) as error:
        return f"W&B: {error}; what is printed above stands"
    if mode == "online":
        return f"W&B: group {group} in project {PROJECT}"
    return f"W&B: group {group}, offline in {os.path.relpath(directory / 'wandb')} (wandb sync uploads it)"


def _conditions(results: Sequence[ClaimResult]) -> dict[str, tuple[str, int]]:
    """Key to name and number of replicas that verdicts rest on, each condition once."""
    found: dict[str, tuple[str, int]] = {}
    for result in results:
        for name, key in result.keys:
            found[key] = (name, max(found.get(key, ("", 0))[1], result.verdict["replicas"]))
    return found


def _log_condition(run: Any, key: str, replicas: int, experiment: Experiment) -> None:
    import wandb

    content = experiment.store.content(key)
    trials = experiment.store.trials(key, content["condition"]["budget"]).first(replicas)
    run.define_metric("update")
    run.define_metric("*", step_metric="update")
    curves = experiment.store.curves(key, content["block"])
    curves = None if curves is None else curves.first(replicas)
    rows: list[dict[str, Any]] = [*curve_rows(trials, curves, metric=_metric_name(content["condition"]))]
    reached = trials.steps[trials.reached]
    if len(reached):
        counts, edges = np.histogram(reached, bins=50, range=(0, trials.budget))
        rows[-1]["steps_to_target"] = wandb.Histogram(np_histogram=(counts.tolist(), edges.tolist()))
    for row in rows:
        run.log(row)
    run.summary.update(
        {
            "replicas": len(trials),
            "reach_rate": float(trials.reached.mean()),
            "diverged": int(trials.diverged.sum()),
            "median_steps_to_target": trials.median_steps,
        }
    )


def _metric_name(condition: dict[str, Any]) -> str:
    """What the metric beside the loss is: the accuracy, or the target's own."""
    function = condition.get("target", {}).get("function")
    return "accuracy" if function is None else str(function["name"]).rpartition(".")[2]


def curve_rows(trials: Trials, curves: Curves | None, *, metric: str = "accuracy") -> list[dict[str, float]]:
    """One row an update: the share that has reached the target, and quantiles of loss and metric over replicas.

    A replica that rests keeps its last values, as early stopping leaves it.
    """
    reached_by = np.zeros(trials.budget + 1)
    np.add.at(reached_by, trials.steps[trials.reached], 1)
    columns = {"reach_rate": reached_by.cumsum() / max(1, len(trials))}
    for name, values in () if curves is None else (("loss", curves.loss), (metric, curves.metric)):
        for label, level in zip(QUANTILES, np.quantile(values, list(QUANTILES.values()), axis=0), strict=True):
            columns[f"{name}/{label}"] = level
    return [
        {"update": update} | {name: float(column[update]) for name, column in columns.items()}
        for update in range(trials.budget + 1)
    ]


def _log_verdicts(run: Any, results: Sequence[ClaimResult]) -> None:
    import wandb

    columns: list[str | int] = [
        "claim", "statement", "source", "verdict", "recorded", "effect", "value", "low", "high", "replicas",
        "conditions",
    ]  # fmt: skip
    table = wandb.Table(columns=columns)
    for result in results:
        effect = result.verdict["effect"]
        reached = ", ".join(f"{c['name']} {c['reached']}/{c['replicas']}" for c in result.verdict["conditions"])
        table.add_data(
            result.id, result.statement, result.source, result.name, result.recorded, effect["name"],
            effect["value"], effect["low"], effect["high"], result.verdict["replicas"], reached,
        )  # fmt: skip
    run.log({"verdicts": table})
    for result in results:
        name = re.sub(r"\W+", "_", result.id.rpartition("::")[2])
        run.summary[f"verdict/{name}"] = result.name
