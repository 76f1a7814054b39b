"""One state of the code in a process of its own, asked over pipes."""

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lossact.errors import InputError, TrainingError

SECONDS_TO_END = 10
NOTE = "while "  # how lossact's notes on errors begin
TRACEBACK = "Traceback (most recent call last)"


class Side:
    """A process that collects and trains conditions under one state of the code.

    Requests and answers are lines of JSON. What the user's code prints goes to `log`.

    Args:
        label: how messages call it.
        root: the top folder of its files.
        working_tree: the folder that `root` takes the place of on the process's import path; may be `root` itself.
        inside: the folder, relative to `root`, that the process runs in.
        python: the interpreter.
        program: the source of what it runs, given `root` and `working_tree` as arguments.
        log: the file that takes its output.

    Raises:
        InputError: the folder is missing, or the interpreter does not start.
    """

    def __init__(
        self, label: str, *, root: Path, working_tree: Path, inside: Path, python: str, program: str, log: Path
    ) -> None:
        self.label, self._log = label, log
        folder = root / inside
        if not folder.is_dir():
            raise InputError(f"{label} has no folder {inside}; run this from a folder that both sides have")
        command = [python, "-P", "-c", program, str(root), str(working_tree)]
        with log.open("wb") as output:
            try:
                self._process = subprocess.Popen(
                    command,
                    cwd=folder,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    text=True,
                    env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
                    start_new_session=True,  # Ctrl-C ends it through this process alone
                )
            except OSError as error:
                raise InputError(f"{python} does not start ({error.strerror or error}); give another Python") from None

    def send(self, request: dict[str, Any]) -> None:
        """Ask for something; `receive` waits for the answer.

        Args:
            request: plain values, ready for JSON.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, as receive will say
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Return the answer to the last request.

        Raises:
            InputError: the side cannot answer, for a reason in its code or its environment.
            TrainingError: the process ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait(timeout=SECONDS_TO_END)
            raise TrainingError(f"{self.label}: its process ended with {code}; {self.last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise InputError(f"{self.label}: {answer['error']}")
        return answer

    def last_words(self) -> str:
        """Return the last error that the process printed, with its notes; without one the last line."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        starts = [at for at, line in enumerate(lines) if line.startswith(TRACEBACK)]
        if starts:  # the error stands after the indented lines
            error, *notes = [line for line in lines[starts[-1] + 1 :] if line and not line.startswith(" ")] or [""]
            if error and all(note.startswith(NOTE) for note in notes):  # nothing was printed after it
                return "; ".join([error, *notes])
        return lines[-1].strip() if lines else "it printed nothing"

    def close(self) -> None:
        """End the process and all that it started."""
        process = self._process
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=SECONDS_TO_END)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=SECONDS_TO_END)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def ask_all(sides: Sequence[Side], requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ask each side at once and return their answers.

    Args:
        sides: processes that wait for a request.
        requests: one for each.

    Returns:
        the answers, in the order of the sides.
    """
    for side, request in zip(sides, requests, strict=True):
        side.send(request)
    return [side.receive() for side in sides]
