"""lossact init: a folder of claims to start from."""

import argparse
from importlib.resources import files
from pathlib import Path

from lossact.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.description = "Write a small folder of claims to start from. Nothing that exists is overwritten."
    parser.add_argument("directory", type=Path, nargs="?", default=Path("claims"), help="default: claims")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> None:
    """Write the files and say what to do next."""
    start = [file for file in (files("lossact.cli") / "start").iterdir() if file.is_file()]
    there = [path for path in (parsed.directory / file.name for file in start) if path.exists()]
    if there:
        raise InputError(f"{there[0]} exists; give another folder")
    parsed.directory.mkdir(parents=True, exist_ok=True)
    for file in sorted(start, key=lambda one: one.name):
        path = parsed.directory / file.name
        path.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
        print(path)
    print(f"\nDecide them:  pytest {parsed.directory}")
