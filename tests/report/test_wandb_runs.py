import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossact import Experiment, faster, map_claim
from lossact.report.figure import save_figure
from lossact.report.map import map_figure
from lossact.report.rows import curve_rows, thinned
from lossact.report.wandb_runs import log_map
from lossact.storage import Curves, Trials
from tests.conftest import report_condition
from tests.pytest_plugin.conftest import Claims

ASKS = """
import socket
from pathlib import Path

def asked(host, *rest, **more):
    Path("asked").write_text(str(host))
    raise socket.gaierror("nobody is asked")

socket.getaddrinfo = asked
"""


def inspect(run: Path) -> list[dict[str, Any]]:
    """Every record of an offline run, as wandb itself reads it back."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    return [json.loads(line) for line in lines]


def test_curve_rows_hold_quantiles_and_reach_rate() -> None:
    rng = np.random.default_rng(0)
    loss, accuracy = rng.random((2, 9, 5), dtype=np.float32)
    trials = Trials(np.array([0, 3, 4, 0]), np.array([1, 1, 1, 0], bool), np.zeros(4, bool), 4)
    rows = curve_rows(trials, Curves(loss, accuracy, np.zeros((9, 0, 0), np.float32)))
    assert [row["reach_rate"] for row in rows] == [0.25, 0.25, 0.25, 0.5, 0.75]
    for update, row in enumerate(rows):
        assert row["update"] == update
        ordered = np.sort(loss[:, update])
        assert row["loss/median"] == pytest.approx(ordered[4])
        assert row["loss/q10"] == pytest.approx(0.2 * ordered[0] + 0.8 * ordered[1])
        assert row["accuracy/q90"] <= accuracy[:, update].max()


def test_long_curves_are_thinned_but_keep_ends_and_norms() -> None:
    rows = [{"update": float(k)} | ({"norm": 1.0} if k % 50 == 0 else {}) for k in range(1000)] + [{"update": 1000.0}]
    kept = [int(row["update"]) for row in thinned(rows)]
    assert kept == sorted({*range(0, 1001, 5), *range(0, 1000, 50), 1000})
    assert thinned(rows[:1] + rows[-1:]) == rows[:1] + rows[-1:]


@pytest.mark.slow
def test_a_map_reads_back(experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    pair = [replace(report_condition(loss=loss, budget=20), name=loss) for loss in ("cross_entropy", "l2")]
    axes = {"x": "optimizer.learning_rate=0.1:1:log:2", "y": "optimizer.momentum=0:0.9:3"}
    decided_map = map_claim(faster(pair[0], than=pair[1]), **axes, experiment=experiment, max_replicas=64)  # type: ignore[arg-type]
    picture, _ = save_figure(map_figure(decided_map), tmp_path / "map")
    assert "offline in" in log_map(decided_map, picture, experiment.store, mode="offline")
    (run,) = (experiment.store.directory / "wandb").glob("offline-run-*")
    text = json.dumps(inspect(run))
    assert "optimizer.learning_rate" in text
    (table,) = run.rglob("*.table.json")
    rows = json.loads(table.read_text())["data"]
    assert [row[2] for row in rows] == [cell.name for cell in decided_map.verdicts]
    assert [row[:2] for row in rows] == [[x, y] for y in (0.0, 0.45, 0.9) for x in (0.1, 1.0)]
    assert list(run.rglob("*.png"))


@pytest.mark.slow
def test_offline_runs_read_back(claims: Claims) -> None:
    folder = claims.write()
    (folder / "conftest.py").write_text(ASKS)
    run = claims.run("--claims-wandb=offline", subprocess=True)
    assert not (claims.pytester.path / "asked").exists()
    run.stdout.fnmatch_lines(["W&B: group claims-*, offline in .lossact/wandb (wandb sync uploads it)"])
    runs = sorted((claims.pytester.path / ".lossact" / "wandb").glob("offline-run-*"))
    by_name = {}
    groups = set()
    for run_file in runs:
        records = inspect(run_file)
        (start,) = [record["run"] for record in records if record["type"] == "run"]
        by_name[start["display_name"]] = (start, records)
        groups.add(start["run_group"])
    assert by_name.keys() == {"easy", "hard", "verdicts"}
    assert len(groups) == 1
    start, records = by_name["easy"]
    assert start["config"]["update"]["condition"]["optimizer"]["learning_rate"] == 0.1
    rows = [record["history"]["item"] for record in records if record["type"] == "history"]
    logged = {name.partition(".")[0] for row in rows for name in row}  # a histogram has several parts
    assert {"loss/median", "loss/q10", "accuracy/q90", "reach_rate", "steps_to_target", "update"} <= logged
    assert [row["update"] for row in rows if "reach_rate" in row] == list(range(61))
    assert [row["update"] for row in rows if "gradient_norm/hidden/median" in row] == [0]
    artifacts = [record["artifact"]["type"] for record in records if record["type"] == "artifact"]
    assert artifacts.count("trials") == 1
    claimed = [f"claims/test_claims.py::test_{name}" for name in ("true", "false")]
    assert start["config"]["update"]["claims"] == claimed
    assert "verdict/test_true" in json.dumps(by_name["verdicts"][1])
    (table,) = claims.pytester.path.rglob("verdicts_*.table.json")
    held = json.loads(table.read_text())
    rows = [dict(zip(held["columns"], row, strict=True)) for row in held["data"]]
    ids = [by_name[name][0]["run_id"] for name in ("easy", "hard")]
    assert [row["condition_runs"].split(", ") for row in rows] == [ids, ids[::-1]]
    assert [row["verdict"] for row in rows] == ["supported", "refuted"]
    assert list(claims.pytester.path.rglob("intervals_*.png"))


def test_disabled_writes_nothing(claims: Claims) -> None:
    claims.write()
    claims.run("--claims-wandb=disabled")
    assert not list(claims.pytester.path.rglob("*wandb*"))
