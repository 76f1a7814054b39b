"""The C++ compiler of this machine, found without importing torch."""

import os
import re
import shlex
import shutil
import subprocess
from functools import cache

from lossact.errors import InputError


def find_compiler() -> list[str] | None:
    """Return the command of the C++ compiler: $CXX, else g++, c++ or clang++ on PATH; None where there is none."""
    for command in (os.environ.get("CXX", ""), "g++", "c++", "clang++"):
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise InputError(f"CXX={command!r} is no command: {error}") from None
        if words and shutil.which(words[0]):
            return words
    return None


def compiler_version() -> str:
    """Return what the C++ compiler says of its version, and its flags in $CXX; "missing" where there is none."""
    command = find_compiler()
    return "missing" if command is None else _version_of(tuple(command))


@cache
def _version_of(command: tuple[str, ...]) -> str:
    _, *flags = command
    try:
        said = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"cannot be run: {error}"
    first, *_ = said.stdout.splitlines() or [f"exit status {said.returncode}"]
    # g++ and c++ are one compiler, which says by which name it was called.
    return " ".join([re.sub(r"^\S*[gc]\+\+(-[\d.]+)? ", "", first.strip()), *flags]).strip()
