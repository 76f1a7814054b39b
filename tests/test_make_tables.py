"""docs/make_tables.py names pages and commands that are there."""

import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import lossact

ROOT = Path(lossact.__file__).parents[1]
SCRIPT = ROOT / "docs" / "make_tables.py"


def listed() -> list[list[str]]:
    run = subprocess.run([sys.executable, SCRIPT, "--list"], capture_output=True, text=True, check=True, timeout=60)
    return [shlex.split(line) for line in run.stdout.splitlines()]


def test_pages_and_commands_are_there() -> None:
    lines = listed()
    assert lines
    for page, python, *command in lines:
        assert (ROOT / "docs" / page).is_file(), page
        assert python == "python"
        if command[0] == "-m":
            assert find_spec(command[1]), command
        paths = [word for word in command if "/" in word]
        assert command[0] == "-m" or paths
        for path in paths:
            assert (ROOT / path).exists(), path


def test_a_page_alone_is_made_with_commit_and_machine(tmp_path: Path) -> None:
    text = SCRIPT.read_text()
    script = tmp_path / "make_tables.py"
    short = '"evidence.md": ["-m lossact.stats.calibration --short --only exact"]'
    begin = text.index('    "case-study.md"')
    replaced = text[:begin] + f"    {short},\n" + text[text.index("}\n", begin) :]
    script.write_text(replaced.replace("Path(__file__).parents[1]", f"Path({str(ROOT)!r})"))
    subprocess.run([sys.executable, script, tmp_path / "out", "--only", "evidence.md"], check=True, timeout=120)
    made = (tmp_path / "out" / "evidence.txt").read_text()
    assert made.startswith("commit ")
    assert "$ python -m lossact.stats.calibration --short --only exact" in made
    assert "every rule is kept" in made


def test_no_folder_is_an_error() -> None:
    run = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert "a folder for what the commands print is needed" in run.stderr
