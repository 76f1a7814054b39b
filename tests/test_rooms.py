"""Rooms import only from rooms above them, and doors are imported by nobody."""

import ast
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import lossact
from lossact.errors import InputError

ROOT = Path(lossact.__file__).parent
ORDER = [
    "errors", "palette", "checks", "requirements", "threads", "cpp_compiler", "fingerprint", "functional", "stats",
    "data", "models", "replicas", "training", "conditions", "storage", "running", "executors", "experiment",
    "replication", "claims", "against", "report", "pytest_plugin", "cli",
]  # fmt: skip
DOORS = {"cli", "pytest_plugin"}
START = ROOT / "cli" / "start"  # files of a user's, to be copied
FILES = [file for file in ROOT.rglob("*.py") if file != ROOT / "__init__.py" and START not in file.parents]


def room(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in FILES}


@cache
def imported_modules(file: Path) -> frozenset[str]:
    """lossact's own modules that a file imports anywhere in it: at the top, within functions, for types alone."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively; name the room"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in MODULES else str(node.module))
    return frozenset(name for name in names if name.startswith("lossact."))


def reachable(start: str) -> set[str]:
    seen: set[str] = set()
    left = [start]
    while left:
        for name in imported_modules(MODULES[left.pop()]) & MODULES.keys() - seen:
            seen.add(name)
            left.append(name)
    return seen


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_imports_run_one_way(file: Path) -> None:
    importer = room(file)
    for name in imported_modules(file):
        imported = name.split(".")[1]
        assert ORDER.index(imported) <= ORDER.index(importer), f"{importer} imports {imported}, which lies below it"
        assert imported not in DOORS or importer in DOORS, f"{importer} imports the door {imported}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_files_import_each_other_in_a_circle(module: str) -> None:
    assert module not in reachable(module)


def test_each_room_says_what_it_is_for() -> None:
    for file in ROOT.glob("*/__init__.py"):
        description = ast.get_docstring(ast.parse(file.read_text()))
        assert description is not None, file
        assert description.partition("\n")[0].endswith("."), file


def test_stats_knows_nothing_of_torch() -> None:
    for file in (ROOT / "stats").rglob("*.py"):
        assert "torch" not in file.read_text(), file


def test_wandb_lives_in_one_file_that_writes_and_one_that_reads() -> None:
    files = [file.relative_to(ROOT).as_posix() for file in FILES if re.search(r"import wandb\b(?!_)", file.read_text())]
    assert sorted(files) == ["conditions/reading/wandb_history.py", "report/wandb_runs.py"]


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
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("command", [["-m", "pytest", "--help"], ["-c", "from lossact.cli import main; main([])"]])
def test_help_loads_nothing_heavy(command: list[str], tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        timeout=120,
    )
    loaded = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert loaded & {"torch", "lightning", "wandb", "matplotlib", "scipy"} == set()
    assert "claims" in run.stdout


def test_every_public_name_loads() -> None:
    for name in lossact.__all__:
        assert getattr(lossact, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lossact.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("module", "name", "new"),
    [
        ("lossact", "Drawn", "GeneratedData"),
        ("lossact", "Trainable", "BaseCondition"),
        ("lossact", "default_setting", "default_compute_config"),
        ("lossact.functional", "accuracy", "is_correct"),
        ("lossact.functional", "SigmoidLoss", "Loss"),
    ],
)
def test_an_old_name_ends_in_an_error_with_the_new_one(module: str, name: str, new: str) -> None:
    with pytest.raises(InputError, match=f"{module}.{name} is called {module}.{new} since 0.2; use the new name"):
        getattr(import_module(module), name)


def test_an_old_argument_ends_in_an_error_with_the_new_one() -> None:
    with pytest.raises(
        InputError, match=r"Experiment\(setting=...\) was the form of lossact 0.1; now Experiment\(compute"
    ):
        lossact.Experiment(setting=lossact.ComputeConfig())  # type: ignore[call-arg]
