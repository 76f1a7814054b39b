"""After a run was killed or stopped, the next one continues as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lossact import Store
from tests.processes import Start, kill_group, wait_until
from tests.pytest_plugin.conftest import CLAIMS, CONDITIONS

LONGER = (
    CONDITIONS.replace("budget=60", "budget=200")
    + CLAIMS
    + """
@pytest.mark.claim("the first of four")
def test_order():
    return ordering(EASY, condition("middle", target=0.8), HARD, condition("never", target=1.0, loss="l2"))
"""
)
# Hours of training: every update takes longer than any computation of the test's, and writes that it happened.
ENDLESS = (
    CONDITIONS.replace("budget=60", "budget=30_000")
    + """
import time

def slow_loss(outputs, targets):
    with open("updates", "a") as file:
        file.write(".")
    time.sleep(0.05)
    return (outputs - targets) ** 2

@pytest.mark.claim("no replica reaches the target")
def test_endless():
    return faster(condition("a", target=1.0, loss=slow_loss), than=condition("b", target=0.99, loss=slow_loss))
"""
)


def start_claims(start: Start, folder: Path, *options: str) -> "subprocess.Popen[str]":
    return start([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options], cwd=folder)


def project(folder: Path, claims: str) -> Path:
    folder.mkdir()
    (folder / "test_claims.py").write_text(claims)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return folder


def dump(store: Path) -> dict[str, list[object]]:
    """Every trial and every curve, bit for bit, by their experiment's key."""
    with Store(store) as opened:
        rows = opened._database.execute(
            "SELECT key, replica, steps_to_target, diverged FROM trials JOIN experiments ON id = experiment"
            " ORDER BY key, replica"
        ).fetchall()
        content: dict[str, list[object]] = {}
        for key, *row in rows:
            content.setdefault(key, []).append(row)
        for key, values in content.items():
            curves = opened.curves(key, 64)
            assert curves is not None
            values += [curves.loss.tobytes(), curves.metric.tobytes(), curves.gradient_norm.tobytes()]
    return content


@pytest.mark.slow
def test_killed_at_any_moment_a_run_goes_on_to_the_same_trials(
    tmp_path: Path, start: Start, pytestconfig: pytest.Config
) -> None:
    folder = project(tmp_path / "project", LONGER)
    start_claims(start, folder, "--claims-store", "whole").communicate(timeout=300)
    expected = dump(folder / "whole")
    assert len(expected) == 4
    blocks = len(list((folder / "whole").rglob("*.npz")))
    assert blocks > 8
    moments = random.Random(0)
    for kill in range(pytestconfig.getoption("kills")):
        store = folder / f"killed-{kill}"
        begun, pause = moments.randrange(blocks // 2), moments.uniform(0, 0.2)
        run = start_claims(start, folder, "--claims-store", store.name)
        assert wait_until(lambda: len(list(store.rglob("*.npz"))) >= begun)  # noqa: B023  called in this turn only
        try:
            run.wait(timeout=pause)
        except subprocess.TimeoutExpired:
            kill_group(run)
        assert run.returncode == -signal.SIGKILL
        start_claims(start, folder, "--claims-store", store.name).communicate(timeout=300)
        assert dump(store) == expected


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_ends_in_the_middle_of_its_training(
    tmp_path: Path, start: Start, sent: signal.Signals
) -> None:
    folder = project(tmp_path / "project", ENDLESS)
    updates = folder / "updates"
    run = start_claims(start, folder, "--claims-wandb=offline", "--claims-html=report")
    assert wait_until(lambda: updates.exists() and updates.stat().st_size > 20), run.poll()
    os.kill(run.pid, sent)
    out, error = run.communicate(timeout=120)  # the training alone would take hours
    assert "Traceback" not in error
    if sent == signal.SIGTERM:
        assert run.returncode == -signal.SIGTERM
    else:
        assert run.returncode == pytest.ExitCode.INTERRUPTED
        assert f"interrupted: 0 trials are stored in {folder / '.lossact'}; the same command goes on from there" in out
        assert "failed" not in out
