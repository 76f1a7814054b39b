"""Rooms import only from rooms above them, and doors are imported by nobody."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lossact

ROOT = Path(lossact.__file__).parent
ORDER = [
    "errors", "checks", "requirements", "fingerprint", "functional", "stats", "data", "models", "replicas", "training",
    "experiment", "claims", "report", "cli", "pytest_plugin",
]  # fmt: skip
DOORS = {"cli", "pytest_plugin"}
START = ROOT / "cli" / "start"  # files of a user's, to be copied
FILES = [file for file in ROOT.rglob("*.py") if file != ROOT / "__init__.py" and START not in file.parents]


def room(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively; name the room"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("lossact.")} - {"__version__"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_imports_run_one_way(file: Path) -> None:
    here = room(file)
    for other in imported_rooms(file):
        assert ORDER.index(other) <= ORDER.index(here), f"{here} imports {other}, which lies below it"
        assert other == here or other not in DOORS, f"{here} imports the door {other}"


def test_stats_knows_nothing_of_torch() -> None:
    for file in (ROOT / "stats").rglob("*.py"):
        assert "torch" not in file.read_text().replace("# ", ""), file


def test_wandb_lives_in_one_file() -> None:
    assert [file.name for file in FILES if re.search(r"import wandb\b(?!_)", file.read_text())] == ["wandb_runs.py"]


def test_no_file_is_longer_than_400_lines() -> None:
    assert not [file for file in FILES if len(file.read_text().splitlines()) > 400]


@pytest.mark.parametrize(
    "code",
    ["import lossact", "import lossact.pytest_plugin.hooks", "import lossact.cli", "import lossact.stats"],
)
def test_importing_loads_nothing_heavy(code: str) -> None:
    program = (
        f"{code}\nimport sys\nprint([m for m in ('torch', 'lightning', 'wandb', 'matplotlib') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("command", [["-m", "pytest", "--help"], ["-c", "from lossact.cli import main; main([])"]])
def test_help_loads_nothing_heavy(command: list[str], tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert loaded & {"torch", "lightning", "wandb", "matplotlib", "scipy"} == set()
    assert "claims" in run.stdout


def test_every_public_name_loads() -> None:
    for name in lossact.__all__:
        assert getattr(lossact, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lossact.nothing  # noqa: B018
