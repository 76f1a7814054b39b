"""Environments of Python beside the one that runs the tests, whose packages they see; nothing is downloaded."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from tests.against.projects import ROOT
from tests.processes import Start

SECONDS = 300


class Environment:
    """A virtual environment.

    Args:
        folder: where it is made.
        sees_packages: whether it has the packages of the environment that runs the tests, and lossact.
    """

    def __init__(self, folder: Path, *, sees_packages: bool = True) -> None:
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        self.python = folder / "bin" / "python"
        (self.packages,) = (folder / "lib").glob("python*/site-packages")
        if sees_packages:
            paths = dict.fromkeys([str(ROOT), *(sysconfig.get_path(name) for name in ("purelib", "platlib"))])
            (self.packages / "others.pth").write_text("\n".join(paths) + "\n")

    def install_editable(self, project: Path, *options: str) -> None:
        """Run `pip install -e` on a project, without its dependencies."""
        for module in ("pip", "setuptools"):
            if PathFinder.find_spec(module) is None:  # looking for pip by other finders keeps setuptools from loading
                pytest.skip(f"{module} is not installed, and nothing is downloaded")
        offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", *offline, *options]
        _run([*command, "-e", str(project)])

    def against(self, start: Start, folder: Path, *arguments: str) -> "subprocess.Popen[str]":
        """Start lossact against in a folder; all that is imported is what the environment has."""
        command = [str(self.python), "-P", "-m", "lossact.cli", "against", *arguments]
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return start(command, cwd=folder, env=variables | {"COLUMNS": "200"})


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
