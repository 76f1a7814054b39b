"""The interpreter of the revision's side, checked before anything else is done."""

import os
import shutil
import subprocess
import sys
from contextlib import suppress

from lossact.errors import InputError

LOWEST = (3, 11)
SECONDS = 60  # in which an interpreter says its version
SAYS_VERSION = "import sys; print('python', *sys.version_info[:2])"
WAY_OUT = "give the python of an environment that has lossact, such as other/bin/python"


def find_python(given: str) -> str:
    """Return the absolute path of an interpreter.

    Args:
        given: its path, or its name on PATH. A link is not followed: that of an environment leads out of it.

    Returns:
        its absolute path.

    Raises:
        InputError: there is no such file, or it is no Python that lossact runs on.
    """
    if given == sys.executable:
        return given
    if os.path.isdir(given):
        raise InputError(f"--python {given} is a folder; {WAY_OUT}")
    path = shutil.which(given)
    if path is None:
        what = "cannot be executed" if os.path.exists(given) else "does not exist"
        raise InputError(f"--python {given} {what}; {WAY_OUT}")
    version = _version(path)
    if version is None:
        raise InputError(f"--python {given} is no Python; {WAY_OUT}")
    if version < LOWEST:
        is_version, needed = (".".join(map(str, each)) for each in (version, LOWEST))
        raise InputError(f"--python {given} is Python {is_version}, and lossact needs {needed} or later; {WAY_OUT}")
    return os.path.abspath(path)


def _version(python: str) -> tuple[int, ...] | None:
    """Return the version that an interpreter says it has, None where it says none."""
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [python, "-c", SAYS_VERSION],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
        )
        word, *numbers = done.stdout.split() or [""]
        if word == "python" and all(map(str.isdecimal, numbers)):
            return tuple(map(int, numbers))
    return None
