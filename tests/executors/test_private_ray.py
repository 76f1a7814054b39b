"""A Ray that starts with a run: reachable from this machine alone, and gone with the run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed; pip install 'lossact[ray]'")

pytestmark = pytest.mark.slow


def listening(parent: int) -> set[str]:
    """Addresses, as the kernel writes them, at which a process and all that it started take connections."""
    parents = {int(one.parent.name): int(one.read_text().rpartition(")")[2].split()[1]) for one in stats()}
    family = {parent}
    while more := {child for child, of in parents.items() if of in family} - family:
        family |= more
    held = {os.readlink(one) for pid in family for one in Path(f"/proc/{pid}/fd").glob("*") if one.is_symlink()}
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in held}


def stats() -> list[Path]:
    return [one for one in Path("/proc").glob("[0-9]*/stat") if one.exists()]


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def processes_of(folder: Path) -> list[str]:
    lines = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    return [line.replace(b"\0", b" ").decode() for line in lines if str(folder).encode() in line]


ENDLESS = """
import time
from pathlib import Path

import pytest
from lossact import FunctionCondition, faster

def train(seed, name):
    Path(name).touch()
    while True:
        time.sleep(0.01)

A, B = (FunctionCondition(train=train, config={"name": name}, budget=10, name=name) for name in ("begun", "also"))

@pytest.mark.claim("nobody arrives")
def test_endless():
    return faster(A, than=B)
"""


def test_a_ray_of_its_own_ends_with_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_claims.py").write_text(ENDLESS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    before = set(Path("/tmp").glob("lossact-ray-*"))
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--claims-executor=ray"],
        cwd=tmp_path, env=os.environ | {"RAY_ADDRESS": ""}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "begun").exists() and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert (tmp_path / "begun").exists(), run.communicate()
    folders = set(Path("/tmp").glob("lossact-ray-*")) - before
    assert any(map(processes_of, folders))
    assert listening(run.pid)
    assert listening(run.pid) <= LOOPBACK
    run.send_signal(signal.SIGINT)
    out, error = run.communicate(timeout=60)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, out + error
    assert "Traceback" not in error
    assert "interrupted: 0 trials are stored" in out
    assert not any(folder.exists() or processes_of(folder) for folder in folders)
