"""Tests that need a GPU are collected on a machine that has torch, lightning, scipy, jinja2, matplotlib and pytest."""

import os
import subprocess
import sys
from pathlib import Path

MISSING = ("wandb", "plotly", "jsonargparse", "hypothesis", "pytest_timeout", "xdist", "ray", "tensorboard", "jax")
COLLECT = f"""
import sys
from importlib.machinery import PathFinder
import pytest

class Few(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {MISSING} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Few
sys.exit(pytest.main([*"-m gpu --collect-only -q -p lossact.pytest_plugin.hooks -p no:cacheprovider".split()]))
"""


def test_they_need_few_packages() -> None:
    run = subprocess.run(
        [sys.executable, "-c", COLLECT],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    files = {Path(line.partition("::")[0]).name for line in run.stdout.splitlines() if "::" in line}
    assert files == {"test_gpu.py", "test_gpu_kernel.py", "test_lightning_on_a_gpu.py"}
