"""The snippet of docs/lightning.md runs, and prints what the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import lossact

PAGE = Path(lossact.__file__).parents[1] / "docs" / "lightning.md"


def test_the_page_prints_what_it_shows(tmp_path: Path) -> None:
    blocks = re.findall(r"```(python|text)\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    script = tmp_path / "page.py"
    script.write_text("\n".join(text for kind, text in blocks if kind == "python"))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", script.name],
        cwd=tmp_path, capture_output=True, text=True, timeout=500,
        env=os.environ | {"PYTHONPATH": str(PAGE.parents[1])},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout == "".join(text for kind, text in blocks if kind == "text")
