"""The C++ compiler of this machine, found without importing torch."""

import os
import shlex
import shutil
import subprocess
from functools import cache


def find_compiler() -> list[str] | None:
    """Return the command of the C++ compiler: $CXX, else g++, c++ or clang++ on PATH; None where there is none."""
    for command in (os.environ.get("CXX", ""), "g++", "c++", "clang++"):
        words = shlex.split(command)
        if words and shutil.which(words[0]):
            return words
    return None


def compiler_version() -> str:
    """Return what the C++ compiler says of its version; "missing" where there is none."""
    command = find_compiler()
    return "missing" if command is None else _version_of(tuple(command))


@cache
def _version_of(command: tuple[str, ...]) -> str:
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=False)
    first, *_ = said.stdout.splitlines() or [f"exit status {said.returncode}"]
    return first.strip()
