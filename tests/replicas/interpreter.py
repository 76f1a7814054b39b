"""Programs of tests in Triton's interpreter, which counts only where triton was not imported before."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest


def run_interpreted(module: str) -> Any:
    """Return what a program prints as JSON; the test is skipped without triton.

    Args:
        module: the program, as `python -m` takes it.
    """
    pytest.importorskip("triton", reason="triton is not installed; it comes with CUDA builds of torch")
    program, environment = [sys.executable, "-m", module], {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run(program, capture_output=True, text=True, env=environment, timeout=600)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)
