"""Several processes at once on one store."""

import re
from pathlib import Path

import pytest

from tests.test_killed import LONGER, dump, project, started


@pytest.mark.slow
def test_four_processes_train_each_block_once(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", LONGER)
    started(folder, "--claims-store", "alone").communicate(timeout=300)
    runs = [started(folder, "--claims-store", "shared", f"--claims-json={k}.json") for k in range(4)]
    told = [run.communicate(timeout=300) for run in runs]
    assert all("error" not in out.lower() + error.lower() for out, error in told)
    assert dump(folder / "shared") == dump(folder / "alone")
    trained = [line for out, _ in told for line in re.findall(r"^training (.*?):", out, flags=re.MULTILINE)]
    assert len(trained) == len(set(trained)) >= 4
    verdicts = {re.sub(r'"seconds": \S+', "", (folder / f"{k}.json").read_text()) for k in range(4)}
    assert len(verdicts) == 1
