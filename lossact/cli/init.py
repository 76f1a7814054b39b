"""`lossact init`: write a folder of example claims."""

import argparse
import shlex
from importlib.resources import files
from pathlib import Path

from lossact.errors import InputError
from lossact.report.files import check_output_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = "Write a small folder of example claims to start from. Existing files are never overwritten."
    parser.add_argument(
        "directory", type=Path, nargs="?", default=Path("claims"), help="folder to write (default: claims)"
    )
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> None:
    """Write the files and print the command that decides the claims."""
    start = [file for file in (files("lossact.cli") / "start").iterdir() if file.is_file()]
    existing = [path for path in (parsed.directory / file.name for file in start) if path.exists()]
    if existing:
        raise InputError(f"{existing[0]} exists; give another folder")
    check_output_folder(parsed.directory)
    parsed.directory.mkdir(parents=True, exist_ok=True)
    for file in sorted(start, key=lambda file: file.name):
        path = parsed.directory / file.name
        path.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
        print(path)
    place = str(parsed.directory)
    print(f"\nDecide them:  pytest {shlex.quote(f'./{place}' if place.startswith('-') else place)}")
