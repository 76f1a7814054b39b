"""Processes that tests start, and waiting for what they do."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

Start = Callable[..., "subprocess.Popen[str]"]


def wait_until(condition: Callable[[], object], *, within: float = 180) -> bool:
    """Wait until a condition holds; False where it does not in `within` seconds, long enough for a busy machine."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def kill_group(process: "subprocess.Popen[str]") -> None:
    """Kill a process and everything in its group, and wait until the process is gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


@contextmanager
def process_groups() -> Iterator[Start]:
    """Yield a function that starts processes, each in a new process group; kill the remaining ones at the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(command: Sequence[object], **options: Any) -> "subprocess.Popen[str]":
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        arguments = [str(part) for part in command]
        processes.append(subprocess.Popen(arguments, text=True, start_new_session=True, **pipes | options))
        return processes[-1]

    try:
        yield start
    finally:
        for process in processes:
            kill_group(process)
