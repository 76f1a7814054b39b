"""The steps of the workflow in docs/against.md, as a script in a fresh clone."""

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


def steps() -> dict[str, dict[str, Any]]:
    """The workflow's steps that have a name, by it."""
    text = PAGE.read_text().partition("```yaml\n")[2].partition("```")[0]
    return {step["name"]: step for step in yaml.safe_load(text)["jobs"]["against"]["steps"] if "name" in step}


@pytest.mark.slow
def test_the_steps_run_in_a_fresh_clone_and_the_second_time_from_stored_trials(tmp_path: Path, start: Start) -> None:
    upstream = Project(tmp_path / "upstream")
    upstream.git("checkout", "--quiet", "-b", "change")
    upstream.edit("RATE = 0.3", "RATE = 0.15")
    upstream.commit()
    upstream.git("clone", "--quiet", str(upstream.folder), str(tmp_path / "clone"))
    command = tmp_path / "bin" / "lossact"  # what the step that installs brings
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lossact.cli "$@" --json found.json\n')
    command.chmod(0o755)
    summary = tmp_path / "summary.md"
    environment = os.environ | {
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}", "BASE": "main",
        "GITHUB_STEP_SUMMARY": str(summary),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path / "clone")]),
    }  # fmt: skip
    trained = []
    for _ in range(2):
        for name, status in (("Compare training with the merge base", 1), ("Show the table", 0)):
            shell = start(["bash", "-e", "-c", steps()[name]["run"]], cwd=tmp_path / "clone", env=environment)
            _, errors = shell.communicate(timeout=600)
            assert shell.returncode == status, errors
        trained.append(json.loads((tmp_path / "clone" / "found.json").read_text())["trained_replicas"])
    assert trained[0] > trained[1] == 0
    assert summary.read_text().count("❌ WORSE") == 2
    for file in ("training.html", "training.xml"):
        assert (tmp_path / "clone" / file).stat().st_size > 100
