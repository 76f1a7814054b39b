"""Commands whose standard output goes nowhere: to a reader that leaves early, or to a full disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lossact
from lossact.cli import main
from tests.processes import Start, process_groups

COMMANDS = {
    "help": ["--help"],
    "schema": ["schema"],
    "compare": ["compare", "runs.csv", "--by", "method", "--run", "run"],
    "report": ["report", "claims", "--out", "report"],
    "map": [
        *("map", "claims/test_claims.py::test_a_is_faster", "--out", "maps", "--max-replicas", "16"),
        *("--x", "config.shift=0:20:2", "--y", "config.spread=5:10:2"),
    ],
}
CLAIMS = """
import pytest
from lossact import FunctionCondition, faster


def train(seed, mean, shift, spread):
    return round(mean + shift + seed % 100 / 100 * spread)


def condition(mean):
    config = {"mean": mean, "shift": 0.0, "spread": 10.0}
    return FunctionCondition(name=f"mean {mean}", train=train, config=config, budget=100)


@pytest.mark.claim("a is faster")
def test_a_is_faster():
    return faster(condition(20), than=condition(60))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a claim and a table of runs."""
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "test_claims.py").write_text(CLAIMS)
    rows = [f"{method},{run},{run + 10 * (method == 'b')}" for method in "ab" for run in range(8)]
    (tmp_path / "runs.csv").write_text("\n".join(["method,run,loss", *rows]) + "\n")
    return tmp_path


def environment(unbuffered: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(lossact.__file__).parents[1]), "PYTHONUNBUFFERED": unbuffered}


@pytest.mark.parametrize("unbuffered", [pytest.param("", id="buffered"), pytest.param("1", id="unbuffered")])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_leaves_ends_a_command_without_a_word(folder: Path, command: str, unbuffered: str) -> None:
    with process_groups() as start:
        process = start_command(start, command, folder, unbuffered)
        assert process.stdout is not None
        process.stdout.close()  # before anything is written, as Python takes longer to start
        assert process.stderr is not None
        said = process.stderr.read()
        # Later Pythons' argparse passes over errors of writing its help; without a buffer nothing is left to write.
        expected = {0, 141} if command == "help" and unbuffered else {141}
        assert said == ""
        assert process.wait(timeout=100) in expected


def start_command(start: Start, command: str, folder: Path, unbuffered: str) -> "subprocess.Popen[str]":
    return start([sys.executable, "-m", "lossact.cli", *COMMANDS[command]], cwd=folder, env=environment(unbuffered))


def test_a_reader_that_leaves_after_the_first_line(folder: Path) -> None:
    with process_groups() as start:
        process = start_command(start, "report", folder, "1")
        assert process.stdout is not None
        assert "test session starts" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(timeout=100) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_under_standard_output_is_one_line(folder: Path, unbuffered: str) -> None:
    command = [sys.executable, "-m", "lossact.cli", *COMMANDS["compare"]]
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            command,
            cwd=folder,
            env=environment(unbuffered),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=100,
        )
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert "No space left on device" in run.stderr


def test_names_that_the_terminal_cannot_hold_are_escaped(folder: Path) -> None:
    table = folder / "runs.csv"
    table.write_text(table.read_text().replace("b,", "\u00c4dam\u6f22,"), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "lossact.cli", *COMMANDS["compare"], "--html", "runs.html"],
        cwd=folder,
        env=environment("") | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "\\xc4dam\\u6f22" in run.stdout
    assert "\u00c4dam\u6f22" in (folder / "runs.html").read_text(encoding="utf-8")


def test_a_command_without_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["schema"]) == 0
