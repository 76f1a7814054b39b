"""Several processes that use one store at once."""

import re
from pathlib import Path

import pytest

from tests.processes import Start
from tests.test_killed import LONGER, dump, project, start_claims


@pytest.mark.slow
def test_four_processes_train_each_block_once(tmp_path: Path, start: Start) -> None:
    folder = project(tmp_path / "project", LONGER)
    start_claims(start, folder, "--claims-store", "alone").communicate(timeout=300)
    runs = [start_claims(start, folder, "--claims-store", "shared", f"--claims-json={k}.json") for k in range(4)]
    printed = [run.communicate(timeout=600) for run in runs]
    assert all("error" not in out.lower() + error.lower() for out, error in printed)
    assert dump(folder / "shared") == dump(folder / "alone")
    trained = [line for out, _ in printed for line in re.findall(r"^training (.*?):", out, flags=re.MULTILINE)]
    assert len(trained) == len(set(trained)) >= 4
    verdicts = {re.sub(r'"seconds": \S+', "", (folder / f"{k}.json").read_text()) for k in range(4)}
    assert len(verdicts) == 1
