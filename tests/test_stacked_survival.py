"""Replicas of a LightningModule that are fitted together: killed and begun again, and under xdist."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import Start, kill_group, wait_until

CLAIMS = """
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule
from lossact import LightningCondition, faster
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

class Classifier(LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.rate, self.network = rate, nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.1), nn.Linear(8, 2))

    def training_step(self, batch, batch_idx):
        if Path("slowly").exists():
            time.sleep(0.02)
        loss = functional.cross_entropy(self.network(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.rate)

def data():
    inputs = torch.randn(40, 6)
    return DataLoader(TensorDataset(inputs, (inputs.sum(1) > 0).long()), batch_size=10, shuffle=True)

def condition(rate):
    return LightningCondition(
        name=f"rate {rate}", module=partial(Classifier, rate), data=data, metric="train_loss", at_most=0.3, budget=40,
        stacked=True,
    )

@pytest.mark.claim("a larger rate is faster")
def test_larger():
    return faster(condition(0.1), than=condition(0.01))

@pytest.mark.claim("the largest rate is faster")
def test_largest():
    return faster(condition(0.2), than=condition(0.02))
"""


def decide(folder: Path, store: str, *options: str) -> None:
    """Decide the claims, with at least 48 replicas of each condition."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--claims-min-replicas", "48"]
    run = subprocess.run(
        [*command, "--claims-store", store, "--claims-json", f"{store}.json", *options],
        cwd=folder, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


def trials(store: Path) -> list[tuple[object, ...]]:
    """Every trial, with the digest of its weights and metric."""
    with sqlite3.connect(next(store.rglob("*.sqlite*"))) as database:
        return database.execute(
            "SELECT key, replica, steps_to_target, diverged, run_digest FROM trials JOIN experiments ON id = experiment"
            " ORDER BY key, replica"
        ).fetchall()


def verdicts(folder: Path, store: str) -> list[dict[str, object]]:
    claims = sorted(json.loads((folder / f"{store}.json").read_text())["claims"], key=lambda claim: str(claim["id"]))
    return [{name: value for name, value in claim.items() if name != "seconds"} for claim in claims]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "test_claims.py").write_text(CLAIMS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


@pytest.mark.slow
def test_a_killed_run_and_one_of_several_processes_have_the_trials_of_the_undisturbed_one(
    project: Path, start: Start
) -> None:
    decide(project, "whole")
    assert len(trials(project / "whole")) == 4 * 48
    (project / "slowly").touch()
    command = [sys.executable, "-m", "pytest", "-q", "--claims-min-replicas", "48", "--claims-store", "killed"]
    run = start(command, cwd=project)
    assert wait_until(lambda: bool(list((project / "killed").rglob("*.sqlite*"))) or run.poll() is not None)
    assert wait_until(lambda: bool(stored(project / "killed")) or run.poll() is not None)
    kill_group(run)
    (project / "slowly").unlink()
    assert 0 < len(trials(project / "killed")) < 4 * 48
    decide(project, "killed")
    assert trials(project / "killed") == trials(project / "whole")
    assert verdicts(project, "killed") == verdicts(project, "whole")
    decide(project, "shared", "-n", "2")
    assert trials(project / "shared") == trials(project / "whole")
    assert verdicts(project, "shared") == verdicts(project, "whole")


def stored(store: Path) -> list[tuple[object, ...]]:
    """Every trial; none as long as the store is being made."""
    try:
        return trials(store)
    except (sqlite3.OperationalError, StopIteration):
        return []
