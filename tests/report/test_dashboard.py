"""The dashboard's panels against what runs hold: no panel points at nothing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lossact.cli import main
from lossact.report.dashboard import as_json, dashboard
from tests.pytest_plugin.conftest import Claims
from tests.report.test_wandb_runs import inspect
from tests.test_train_command import config

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of wandb-workspaces' own dependencies


class Held:
    """Names of what offline runs hold: in the rows of their history, their summary and their config."""

    def __init__(self, *runs: Path) -> None:
        self.history: set[str] = set()
        self.summary: set[str] = set()
        self.config: set[str] = set()
        for run in runs:
            for record in inspect(run):
                self.history |= {name.removesuffix("._type") for name in record.get("history", {}).get("item", {})}
                self.summary |= set(_paths(record.get("summary", {}).get("update", {})))
                if record["type"] in {"run", "config"}:
                    body = record[record["type"]]
                    self.config |= set(_paths(body.get("config", body).get("update", {})))


def _paths(content: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, value in content.items():
        yield before + name
        if isinstance(value, dict):
            yield from _paths(value, f"{before}{name}.")


def wanted() -> dict[str, set[str]]:
    """What the panels name, as the serialised workspace says it."""
    named: dict[str, set[str]] = {"history": set(), "summary": set(), "config": set()}
    spec = json.loads(as_json(dashboard("somebody", "lossact")))["spec"]
    panels = [panel for section in spec["section"]["panel_bank_config"]["sections"] for panel in section["panels"]]
    assert len(panels) >= 12
    for panel in panels:
        held = panel["config"]
        text = json.dumps(held)
        match panel["view_type"]:
            case "Run History Line Plot":
                named["history"] |= {held["x_axis"], *held["metrics"]}
            case "Media Browser":
                named["history"] |= set(held["media_keys"])
            case "Bar Chart":
                named["summary"] |= {name.removeprefix("summary_metrics.") for name in held["metrics"]}
            case "Parallel Coordinates Plot":
                for column in held["columns"]:
                    kind, _, name = column["accessor"].partition(":")
                    named[kind] |= {name.replace(".value", "")}
            case "Vega2":
                named["history"] |= {"arrivals"}
                assert '"arrivals"' in text
            case "Weave":
                named["history"] |= {"verdicts"}
                assert '"verdicts"' in text
            case other:
                pytest.fail(f"a panel of kind {other} that this test does not know")
    return named


@pytest.mark.slow
def test_no_panel_points_at_nothing(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    claims.write()
    claims.run("--claims-wandb=offline", "--claims-max-replicas=64")
    monkeypatch.chdir(claims.pytester.path)
    by_claims = Held(*Path(".lossact/wandb").glob("offline-run-*/*.wandb"))
    for name, more in (
        ("mlp_sigmoid_ce", ["--model.replicas=3"]),
        ("cnn", ["--model.replicas=2"]),
        ("cnn", []),
        ("mlp_relu_l2", []),
    ):
        more = [*more, "--trainer.logger.save_dir=fits", "--model.budget=4", "--trainer.log_every_n_steps=1"]
        command = [sys.executable, "-m", "lossact.cli", "fit", config(name), config("with/wandb"), *more]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    by_fit = Held(*Path("fits/wandb").glob("offline-run-*/*.wandb"))
    panels = wanted()
    for kind, names in panels.items():
        assert names <= getattr(by_claims, kind) | getattr(by_fit, kind), kind
    assert {name for name in panels["history"] if name.startswith(("loss/", "accuracy/", "gradient_norm/hidden/"))} <= (
        by_claims.history & by_fit.history
    )
    assert {"surfaces", "reach_rate", "update"} <= by_claims.history & by_fit.history
    assert {"trainer.precision", "model.optimizer.init_args.learning_rate", "condition.data.n_images"} <= by_fit.config
    assert {"setting.precision", "condition.data.n_images", "claims", "seed"} <= by_claims.config


def test_the_command_writes_without_sending(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "dashboard.json"
    main(["dashboard", "--entity=somebody", f"--json={path}", "--metric=f1"])
    report = json.loads(path.read_text())
    assert (report["entity"], report["project"]) == ("somebody", "lossact")
    assert "f1/median" in path.read_text()


def test_without_a_login_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(SystemExit):
        main(["dashboard", "--entity=somebody"])
    assert capsys.readouterr().err.startswith("lossact dashboard: W&B did not take the workspace: ")


def test_without_the_package_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(SystemExit):
        main(["dashboard", "--entity=somebody"])
    assert "pip install 'lossact[dashboard]'" in capsys.readouterr().err
