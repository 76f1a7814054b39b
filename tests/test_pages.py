"""Snippets of the README and of docs/ run, one after the other, and print what the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lossact

ROOT = Path(lossact.__file__).parents[1]
# docs/executors.md, docs/recorded-runs.md and pages of commands have tests of their own: test_executors_page.py,
# test_compare_command.py and test_command_pages.py.
LONG = [
    "README", "docs/evidence", "docs/external", "docs/first-claim", "docs/hypotheses", "docs/lightning", "docs/maps",
    "docs/measures", "docs/schedules",
]  # fmt: skip


@pytest.mark.parametrize("name", ["docs/networks", *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)])
def test_a_page_prints_what_it_shows(name: str, tmp_path: Path) -> None:
    page = (ROOT / f"{name}.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", page, flags=re.DOTALL)
    assert blocks
    script = tmp_path / "page.py"
    script.write_text("\n".join(snippet for snippet, _ in blocks))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", script.name],
        cwd=tmp_path, capture_output=True, text=True, timeout=500,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout == "".join(output for _, output in blocks)
