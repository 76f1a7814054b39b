"""Runs that are killed go on as if nothing had been."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lossact import Store
from tests.pytest_plugin.conftest import CLAIMS, CONDITIONS

LONGER = (
    CONDITIONS.replace("budget=60", "budget=400")
    + CLAIMS
    + """
@pytest.mark.claim("the first of four")
def test_order():
    return ordering(EASY, condition("middle", target=0.8), HARD, condition("never", target=1.0, loss="l2"))
"""
)
ENDLESS = (
    CONDITIONS.replace("budget=60", "budget=30_000")
    + """
@pytest.mark.claim("nobody arrives")
def test_endless():
    return faster(condition("a", target=1.0, loss="l2"), than=condition("b", target=1.0, loss="huber"))
"""
)


def started(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def project(folder: Path, claims: str) -> Path:
    folder.mkdir()
    (folder / "test_claims.py").write_text(claims)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return folder


def dump(store: Path) -> dict[str, list[object]]:
    """Every trial and every curve, bit for bit, by what they are of."""
    with Store(store) as opened:
        rows = opened._database.execute(
            "SELECT key, replica, steps_to_target, diverged FROM trials JOIN experiments ON id = experiment"
            " ORDER BY key, replica"
        ).fetchall()
    found: dict[str, list[object]] = {}
    for key, *row in rows:
        found.setdefault(key, []).append(row)
    for key in found:
        curves = Store(store).curves(key, 64)
        assert curves is not None
        found[key] += [curves.loss.tobytes(), curves.metric.tobytes(), curves.gradient_norm.tobytes()]
    return found


@pytest.mark.slow
def test_killed_at_any_moment_a_run_goes_on_to_the_same_trials(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    folder = project(tmp_path / "project", LONGER)
    begin = time.monotonic()
    whole = started(folder, "--claims-store", "whole", "--claims-json", "whole.json")
    whole.communicate(timeout=300)
    seconds = time.monotonic() - begin
    expected = dump(folder / "whole")
    assert len(expected) == 4
    moments = random.Random(0)
    kills = finished = 0
    while kills < pytestconfig.getoption("kills") or not finished:
        begin = time.monotonic()
        run = started(folder, "--claims-store", f"killed-{finished}", "--claims-json", "killed.json")
        try:
            wait = moments.uniform(0.2, seconds) if kills < pytestconfig.getoption("kills") else None
            run.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate()
            kills += 1
            continue
        assert dump(folder / f"killed-{finished}") == expected
        finished += 1
        seconds = min(seconds, time.monotonic() - begin)  # the next is to be killed before it ends


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_ends_within_two_seconds(tmp_path: Path, sent: signal.Signals) -> None:
    folder = project(tmp_path / "project", ENDLESS)
    seconds: list[float] = []
    while not seconds or (min(seconds) >= 2 and len(seconds) < 3):  # other tests may run beside this one
        run = started(folder, "--claims-wandb=offline", "--claims-html=report")
        time.sleep(15)
        assert run.poll() is None
        begin = time.monotonic()
        run.send_signal(sent)
        out, error = run.communicate(timeout=60)
        seconds.append(time.monotonic() - begin)
    assert min(seconds) < 2
    assert "Traceback" not in error
    if sent == signal.SIGINT:
        assert run.returncode == pytest.ExitCode.INTERRUPTED
        assert f"interrupted: 0 trials are stored in {folder / '.lossact'}; the same command goes on from there" in out
        assert "failed" not in out
