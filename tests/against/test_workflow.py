"""The workflow in docs/against.md, its own steps as scripts in a fresh clone."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import lossact
from tests.against.projects import Project
from tests.processes import Start

ROOT = Path(lossact.__file__).parents[1]
PAGE = ROOT / "docs" / "against.md"
EXPRESSIONS = {"${{ github.base_ref }}": "main"}
SECONDS = 600


def steps() -> list[dict[str, Any]]:
    """All steps of the page's workflow, in its order."""
    text = PAGE.read_text().partition("```yaml\n")[2].partition("```")[0]
    workflow = yaml.safe_load(text)
    assert list(workflow["jobs"]) == ["against"]
    steps: list[dict[str, Any]] = workflow["jobs"]["against"]["steps"]
    return steps


def executable(file: Path, script: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("#!/bin/sh\n" + script)
    file.chmod(0o755)


def action(name: str) -> dict[str, Any]:
    return next(step for step in steps() if step.get("uses", "").startswith(f"actions/{name}@"))


def test_the_actions_bring_what_the_scripts_need_and_keep_what_they_write() -> None:
    assert [step["uses"].partition("@")[0] for step in steps() if "uses" in step] == [
        "actions/checkout", "actions/setup-python", "actions/cache", "actions/upload-artifact",
    ]  # fmt: skip
    assert action("checkout")["with"]["fetch-depth"] == 0
    assert action("cache")["with"]["path"] == ".lossact"
    assert action("upload-artifact")["if"] == "always()"


@pytest.mark.slow
def test_the_steps_run_in_a_fresh_clone_and_the_second_time_from_stored_trials(tmp_path: Path, start: Start) -> None:
    upstream = Project(tmp_path / "upstream")
    upstream.git("checkout", "--quiet", "-b", "change")
    upstream.edit("RATE = 0.3", "RATE = 0.15")
    upstream.commit()
    clone, commands, summary = tmp_path / "clone", tmp_path / "bin", tmp_path / "summary.md"
    upstream.git("clone", "--quiet", str(upstream.folder), str(clone))
    # pip brings the command of this checkout, so that nothing is downloaded
    executable(commands / "lossact-here", f'exec "{sys.executable}" -m lossact.cli "$@" --json comparison.json\n')
    executable(
        commands / "pip",
        f'[ "$*" = "install -e . lossact" ] && cp "{commands}/lossact-here" "{commands}/lossact"\n',
    )
    environment = os.environ | {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": str(summary),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(clone)]),
    }  # fmt: skip
    trained = []
    for _ in range(2):
        ended: list[int] = []
        for step in steps():
            if "run" not in step:
                continue
            has_failed = any(ended)
            if has_failed and step.get("if") != "always()":
                continue
            variables = {name: EXPRESSIONS.get(value, value) for name, value in step.get("env", {}).items()}
            # as the runner starts a step that names no shell
            shell = start(["bash", "-e", "-c", step["run"]], cwd=clone, env=environment | variables)
            _, errors = shell.communicate(timeout=SECONDS)
            assert shell.returncode in {0, 1}, errors
            ended.append(shell.returncode)
        assert ended == [0, 1, 0]  # the change is worse, and its table is shown all the same
        trained.append(json.loads((clone / "comparison.json").read_text())["trained_replicas"])
    assert trained[0] > trained[1] == 0
    assert summary.read_text().count("❌ WORSE") == 2
    files = {file.name: file.stat().st_size for file in clone.glob(action("upload-artifact")["with"]["path"])}
    assert files.keys() == {"training.md", "training.html", "training.xml"}
    assert min(files.values()) > 100
    assert (clone / ".lossact" / "trials.sqlite").is_file()  # what actions/cache keeps
