"""Commands on the pages of docs/ print and write what the pages show; pages of options leave none out."""

import argparse
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import lossact
from lossact.cli import main
from lossact.pytest_plugin.options import OPTIONS
from tests.against.projects import IDENTITY

ROOT = Path(lossact.__file__).parents[1]
DOCS = ROOT / "docs"


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / f"{page}.md").read_text(), flags=re.DOTALL)


def run(command: str, folder: Path, *, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of a page, `lossact` or `pytest`, in a terminal of 100 columns."""
    program, *arguments = command.replace("\\\n", " ").split()
    module = {"lossact": "lossact.cli", "pytest": "pytest"}[program]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [path])]), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=500,
    )  # fmt: skip


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after `lossact init`."""
    folder = tmp_path_factory.mktemp("started")
    assert run("lossact init", folder).returncode == 0
    return folder


@pytest.mark.slow
def test_reading_a_verdict(started: Path) -> None:
    assert blocks("reading", "sh") == ["lossact init\npytest claims\n"]
    table, failure = blocks("reading", "text")
    assert table in run("pytest claims", started).stdout
    file = started / "claims" / "test_claims.py"
    text = file.read_text()
    record = 'makes gradient descent faster", recorded="supported"'
    assert record in text
    file.write_text(text.replace(record, record.replace("supported", "refuted")))
    failed = run("pytest claims -k momentum", started)
    file.write_text(text)
    assert failed.returncode == 1
    assert failure in failed.stdout


@pytest.mark.slow
def test_a_report(started: Path) -> None:
    command = blocks("reports", "sh")[0].splitlines()[1]
    assert run(command, started).returncode == 0
    assert (started / "report" / "report.md").read_text().startswith(blocks("reports", "text")[0])
    written = {path.name for path in (started / "report").iterdir()}
    assert written == set(re.findall(r"^\| `(\S+)` \|", (DOCS / "reports.md").read_text(), flags=re.MULTILINE))


@pytest.mark.slow
def test_a_map(started: Path) -> None:
    command = blocks("maps", "sh")[0].partition("\n")[2]
    shown, printed = blocks("maps", "text")[0].splitlines(), run(command, started).stdout.splitlines()
    assert [line for line in printed if "trained" not in line] == [line for line in shown if "trained" not in line]


@pytest.mark.slow
def test_training_from_a_config_file(tmp_path: Path) -> None:
    network, data = blocks("training", "python")
    (tmp_path / "my_networks.py").write_text(network)
    subprocess.run([sys.executable, "-c", data], cwd=tmp_path, check=True, timeout=60)
    config, measures, logger = blocks("training", "yaml")
    (tmp_path / "config.yaml").write_text(config)
    (tmp_path / "measures.yaml").write_text(measures)
    single, many = blocks("training", "sh")[0].splitlines()
    printed = [run(command, tmp_path).stdout for command in (single, many)]
    assert "".join(printed) == blocks("training", "text")[0]
    (measured,) = blocks("training", "sh")[1].splitlines()
    assert run(measured, tmp_path).stdout == blocks("training", "text")[1]
    with_wandb = yaml.safe_load((ROOT / "configs" / "with" / "wandb.yaml").read_text())
    assert yaml.safe_load(logger) == with_wandb


@pytest.mark.slow
def test_a_training_script_before_and_after_a_change(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", *IDENTITY, *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=60)

    (tmp_path / "claims").mkdir()
    _, script, claims = blocks("against", "python")
    (tmp_path / "train.py").write_text(script)
    (tmp_path / "claims" / "test_train.py").write_text(claims)
    git("init", "--quiet", "--initial-branch=main")
    git("commit", "--quiet", "--allow-empty", "-m", "empty")
    assert "has no claims; commit the claims first" in run("lossact against main", tmp_path).stderr
    git("add", "--all")
    git("commit", "--quiet", "-m", "no import path")
    assert "train lies in this folder, which is not on the import path" in run("lossact against main", tmp_path).stderr
    (tmp_path / "pyproject.toml").write_text(blocks("against", "toml")[0])
    git("add", "--all")
    git("commit", "--quiet", "-m", "a script and its claim")
    (tmp_path / "train.py").write_text(script.replace("momentum=0.9", "momentum=0.8"))
    compared = run("lossact against main", tmp_path)
    assert compared.returncode == 1
    shown = blocks("against", "text")[1]
    for part in (compared.stdout, shown):
        assert part.startswith("working tree with uncommitted changes against main (")
    printed = [text.partition("\n")[2].rpartition("\nalpha ")[0] for text in (compared.stdout, shown)]
    assert printed[0] == printed[1]


def test_every_option_of_pytest_is_on_its_page() -> None:
    listed = re.findall(r"--claims-[a-z-]+[a-z]", (DOCS / "options.md").read_text())
    assert set(listed) == {option.flag for option in OPTIONS}


def test_every_command_is_on_the_page_of_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    commands = re.findall(r"^    ([a-z]+)  ", capsys.readouterr().out, flags=re.MULTILINE)
    assert len(commands) > 8
    page = (DOCS / "options.md").read_text().partition("## Commands")[2].partition("##")[0]
    assert [command for command in commands if not re.search(rf"`(lossact )?{command}\b", page)] == []


@pytest.mark.parametrize(("page", "command"), [("recorded-runs", "compare"), ("maps", "map")])
def test_every_option_of_a_command_is_on_its_page(page: str, command: str) -> None:
    parser = argparse.ArgumentParser(add_help=False)
    importlib.import_module(f"lossact.cli.{command}").add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings}
    text = (DOCS / f"{page}.md").read_text()
    assert sorted(option for option in options if not re.search(rf"{option}\b", text)) == []
