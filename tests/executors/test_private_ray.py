"""A private Ray: it starts with a run, is reachable from this machine alone, and ends with the run."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.processes import Start, wait_until

pytest.importorskip("ray", reason="ray is not installed; pip install 'lossact[ray]'")

pytestmark = pytest.mark.slow


def listening(parent: int) -> set[str]:
    """Addresses, as the kernel writes them, at which a process and its descendants take connections."""
    parents = parent_processes()
    family = {parent}
    while children := {child for child, its_parent in parents.items() if its_parent in family} - family:
        family |= children
    held = set()
    for pid in family:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            with suppress(FileNotFoundError, ProcessLookupError):  # closed meanwhile
                held.add(os.readlink(descriptor))
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in held}


def parent_processes() -> dict[int, int]:
    """Each process's parent."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    return parents


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def processes_of(folder: Path) -> list[int]:
    """The processes that have a folder in their command line."""
    processes = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            if str(folder).encode() in file.read_bytes():
                processes.append(int(file.parent.name))
    return processes


ENDLESS = """
from pathlib import Path
from threading import Event

import pytest
from lossact import FunctionCondition, faster

def train(seed, name):
    Path(name).touch()
    for _ in range(60_000):  # ten minutes, longer than this test may take
        Event().wait(0.01)

A, B = (FunctionCondition(train=train, config={"name": name}, budget=10, name=name) for name in ("begun", "also"))

@pytest.mark.claim("nobody arrives")
def test_endless():
    return faster(A, than=B)
"""


@pytest.fixture
def ray_folders() -> Iterator[Callable[[], set[Path]]]:
    """What lies in /tmp of private Rays that began with this test; their processes are killed at its end."""
    before = set(Path("/tmp").glob("lossact-ray-*"))

    def new() -> set[Path]:
        return set(Path("/tmp").glob("lossact-ray-*")) - before

    yield new
    for process in {process for folder in new() for process in processes_of(folder)}:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_private_ray_ends_with_the_run(
    sent: signal.Signals, tmp_path: Path, start: Start, ray_folders: Callable[[], set[Path]]
) -> None:
    (tmp_path / "test_claims.py").write_text(ENDLESS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    run = start(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--claims-executor=ray"],
        cwd=tmp_path, env=os.environ | {"RAY_ADDRESS": ""},
    )  # fmt: skip
    begun = wait_until(lambda: (tmp_path / "begun").exists() or run.poll() is not None)
    assert begun, "no training within the limit"
    assert run.poll() is None, run.communicate(timeout=60)
    folders = ray_folders()
    assert any(map(processes_of, folders))
    assert listening(run.pid)
    assert listening(run.pid) <= LOOPBACK
    run.send_signal(sent)
    out, error = run.communicate(timeout=180)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, out + error
    assert "Traceback" not in error
    assert "interrupted: 0 trials are stored" in out
    assert not any(folder.exists() or processes_of(folder) for folder in folders)
