"""lossact runs from a checkout on the path, without being installed."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import lossact

ROOT = Path(lossact.__file__).parents[1]
CLAIM = """
import pytest
from lossact import sampled

@pytest.mark.claim("a normal number is above -1", recorded="supported")
def test_above():
    return sampled(lambda generator: generator.normal(), -1)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A path with a copy of lossact and all other packages, for a Python outside any environment."""
    packages, checkout = tmp_path / "site-packages", tmp_path / "checkout"
    packages.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "lossact" not in entry.name and entry.suffix != ".pth":
            (packages / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "lossact", checkout / "lossact")
    shutil.copy(ROOT / "pyproject.toml", checkout)
    return os.environ | {"PYTHONPATH": f"{checkout}{os.pathsep}{packages}", "PYTHONDONTWRITEBYTECODE": "1"}


def run(environment: dict[str, str], folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_a_checkout_decides_claims(environment: dict[str, str], tmp_path: Path) -> None:
    code = "import importlib.metadata; importlib.metadata.version('lossact')"
    assert "PackageNotFoundError" in run(environment, tmp_path, "-c", code).stderr  # not installed, indeed
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "test_normal.py").write_text(CLAIM)
    options = ["-p", "lossact.pytest_plugin.hooks", "-p", "no:cacheprovider", "--claims-html=report", "claims"]
    outcome = run(environment, tmp_path, "-m", "pytest", *options)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "SUPPORTED" in outcome.stdout
    assert lossact.__version__ in (tmp_path / "report" / "index.html").read_text()


def test_a_checkouts_commands_collect_claims(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "test_normal.py").write_text(CLAIM)
    outcome = run(environment, tmp_path, "-m", "lossact.cli", "report", "test_normal.py", "--out", "report")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "SUPPORTED" in (tmp_path / "report" / "report.md").read_text()
    axes = ["--x", "budget=1,2", "--y", "learning_rate=1,2"]
    outcome = run(environment, tmp_path, "-m", "lossact.cli", "map", "test_normal.py", *axes, "--out", "maps")
    assert outcome.returncode == 2
    assert "condition" in outcome.stderr  # the claim was collected, and has none


def test_a_checkout_checks_what_it_requires(environment: dict[str, str], tmp_path: Path) -> None:
    code = "from lossact.requirements import check_requirements; check_requirements(); print('checked')"
    assert run(environment, tmp_path, "-c", code).stdout == "checked\n"
    project = tmp_path / "checkout" / "pyproject.toml"
    project.write_text(project.read_text().replace("numpy>=1.26,<3", "numpy>=1.26,<1.27"))
    assert (
        "which lossact does not work with; pip install 'numpy<1.27,>=1.26'"
        in run(environment, tmp_path, "-c", code).stderr
    )
    project.unlink()
    assert run(environment, tmp_path, "-c", code).stdout == "checked\n"
