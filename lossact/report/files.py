"""Files that are there whole, or not at all.

What lies in a folder that this user may not enter counts as missing, as os.path has it; pathlib raises there.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from lossact.errors import InputError


def is_page(path: Path) -> bool:
    """Return whether a report of that name is one page, and not a folder."""
    return path.suffix.lower() in {".html", ".htm"}


def check_folder(path: Path) -> None:
    """Raise InputError unless a folder exists or could be created: no part of its path is a file."""
    for part in (path, *path.parents):
        if os.path.exists(part) and not os.path.isdir(part):
            raise InputError(f"{part} is a file, but must be a folder; give another place")


def check_writable(path: Path) -> None:
    """Raise InputError unless this user may write a file or a folder of that name, or make the folders above it.

    Args:
        path: whole; a folder that is there, or anything that is to be made.
    """
    nearest = next((part for part in (path, *path.parents) if os.path.isdir(part)), None)
    as_user = os.access in os.supports_effective_ids
    if nearest is not None and not os.access(nearest, os.W_OK | os.X_OK, effective_ids=as_user):
        raise InputError(f"{nearest} may not be written to; give another place")


def check_output_folder(path: Path) -> None:
    """Raise InputError unless files can be written into a folder that is there, or that can be made.

    Args:
        path: the folder.
    """
    path = path.resolve()
    check_folder(path)
    check_writable(path)


# What people write, and commands read: no output goes over such a file.
SOURCES = {".py", ".ipynb", ".toml", ".cfg", ".ini", ".yaml", ".yml", ".csv", ".npy"}


def checked_file(path: Path) -> Path:
    """Return the whole path of a file to be written, or raise InputError where it cannot be one."""
    path = path.resolve()
    if path.suffix.lower() in SOURCES and os.path.exists(path):
        raise InputError(f"is there, and a {path.suffix} file is not written over; name another one")
    if os.path.isdir(path):
        raise InputError("is a folder, but must be a file; name a file in it")
    check_folder(path.parent)
    return path


def check_outputs(*, inputs: Sequence[str] = (), **files: Path | None) -> None:
    """Raise InputError unless every file that a command is to write can be one, and no two are the same.

    Args:
        inputs: what the command reads, which it must not write over.
        files: option to what was given, None where it was not.

    Raises:
        InputError: as above.
    """
    options: dict[Path, str] = {}
    for option, file in files.items():
        if file is None:
            continue
        for source in (Path(each).resolve() for each in inputs):
            if file.resolve() == source or (file.exists() and source in file.resolve().parents):
                raise InputError(f"--{option}={file} is what is read, and would be lost; give it another name")
        try:
            path = checked_file(file)
            check_writable(path)
        except InputError as error:
            raise InputError(f"--{option}={file}: {error}") from None
        if path in options:
            raise InputError(f"--{options[path]} and --{option} are both {file}; give each its own file")
        options[path] = option


def write_whole(path: Path, text: str) -> None:
    """Write a text file, in place of an older one only once it is complete; the folder is made where it is missing.

    Raises:
        OSError: it cannot be written; what was there before is left.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
