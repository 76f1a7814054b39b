"""The revision's side in another environment."""

import json
import sys
import tomllib
from pathlib import Path

import pytest

from lossact import Store
from lossact.against.interpreter import LOWEST, find_python
from lossact.cli import main
from lossact.errors import InputError
from tests.against.environments import Environment
from tests.against.projects import CLAIMS, ROOT, Project
from tests.processes import Start

SECONDS = 600
WAY_OUT = "give the python of an environment that has lossact, such as other/bin/python"
NO_PYTHON = {
    "missing": (None, "--python {} does not exist"),
    "folder": ("folder", "--python {} is a folder"),
    "text": ("a text", "--python {} cannot be executed"),
    "silent": ("#!/bin/sh\n", "--python {} is no Python"),
    "loud": ("#!/bin/sh\necho python is what I am not\n", "--python {} is no Python"),
    "broken": ("#!/no/such/shell\n", "--python {} is no Python"),
    "old": ("#!/bin/sh\necho python 3 9\n", "--python {} is Python 3.9, and lossact needs 3.11 or later"),
}


def made(path: Path, text: str | None) -> Path:
    if text == "folder":
        path.mkdir()
    elif text is not None:
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    return path


@pytest.mark.parametrize("kind", NO_PYTHON)
def test_what_is_no_python_for_lossact_is_one_error_before_anything_is_done(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, message = NO_PYTHON[kind]
    given = str(made(tmp_path / kind, text))
    project = Project(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    state = project.state()
    with pytest.raises(SystemExit) as ended:
        main(["against", "HEAD", "--python", given, "--json", "-"])
    printed = capsys.readouterr()
    assert ended.value.code == 2
    error = {"kind": "InputError", "message": message.format(given), "way_out": WAY_OUT}
    assert json.loads(printed.out) == {"error": error}
    assert printed.err == f"lossact against: {error['message']}; {WAY_OUT}\n"
    assert project.state() == state
    assert not (project.folder / ".lossact").exists()


def test_a_path_is_that_of_the_callers_folder_and_links_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    link = tmp_path / "bin" / "python-of-another-environment"
    link.symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    assert find_python("bin/python-of-another-environment") == str(link)
    monkeypatch.setenv("PATH", str(link.parent))
    assert find_python("python-of-another-environment") == str(link)
    with pytest.raises(InputError, match="python-of-none does not exist"):
        find_python("python-of-none")


def test_the_lowest_version_is_the_one_that_lossact_installs_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=" + ".".join(map(str, LOWEST))


@pytest.mark.slow
def test_the_revision_runs_with_the_packages_of_the_other_environment(tmp_path: Path, start: Start) -> None:
    project = Project(tmp_path / "project")
    claims = project.folder / "claims" / "test_loss.py"
    claims.write_text(CLAIMS.format(module="dependency"))
    project.commit()
    this, other = Environment(tmp_path / "this"), Environment(project.folder / "ignored" / "other")
    nets = project.code.read_text()
    (this.packages / "dependency.py").write_text(nets)
    (other.packages / "dependency.py").write_text(nets.replace("RATE = 0.3", "RATE = 0.15"))
    process = this.against(start, project.folder, "HEAD", "--python", "ignored/other/bin/python", "--json", "-")
    printed, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    document = json.loads(printed)
    own, mlp = (next(each for each in document["conditions"] if each["name"] == name) for name in ("own", "mlp"))
    assert (own["verdict"], own["changes"]) == ("better", ["optimizer.learning_rate 0.15 → 0.3"])
    assert (mlp["verdict"], mlp["same_key"]) == ("identical", True)
    assert document["versions"]["before"] == document["versions"]["after"]
    assert not document["uncommitted_changes"]


@pytest.mark.slow
def test_an_environment_without_lossact_is_one_error_and_nothing_is_trained(tmp_path: Path, start: Start) -> None:
    project = Project(tmp_path / "project")
    this, bare = Environment(tmp_path / "this"), Environment(tmp_path / "bare", sees_packages=False)
    (this.packages / "nets.py").write_text(project.code.read_text())
    process = this.against(start, project.folder, "HEAD", "--python", str(bare.python), "--json", "-")
    printed, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    message = f"revision HEAD: {bare.python} has no lossact"
    assert json.loads(printed) == {
        "error": {"kind": "InputError", "message": message, "way_out": "install lossact there"}
    }
    assert errors == f"lossact against: {message}; install lossact there\n"
    with Store(project.folder / ".lossact") as store:  # the other side may have made it
        assert store.count() == 0
