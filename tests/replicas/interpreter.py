"""Programs of tests in Triton's interpreter, which counts only where triton was not imported before."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest


def run_interpreted(module: str) -> Any:
    """Return what a program prints as JSON; the test is skipped without triton 3.7.

    Args:
        module: the program, as `python -m` takes it.
    """
    why = "triton 3.7 is not installed; CUDA builds of torch bring it, and older ones' interpreter takes no numpy 2.4"
    pytest.importorskip("triton", minversion="3.7", reason=why)
    program, environment = [sys.executable, "-m", module], {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run(program, capture_output=True, text=True, env=environment, timeout=600)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)
