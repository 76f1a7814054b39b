"""lossact report: claims decided and written up."""

import argparse
import os
from pathlib import Path

from lossact.errors import ClaimError, InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.description = (
        "Decide claims, with what is stored and whatever has to be trained, and write them up: index.html opens from "
        "disk and needs no network, report.md is for a pull request, verdicts.json for programs. Options of pytest may "
        "follow, -k and --claims-seed among them."
    )
    parser.add_argument("path", nargs="+", metavar="PATH", help="claims, as pytest selects them")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write; made where missing")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> None:
    """Let pytest decide the claims and write the report."""
    import pytest

    if parsed.out.suffix:
        raise InputError(f"--out={parsed.out} must be a folder, and has the suffix of a file; leave it out")
    index = parsed.out / "index.html"
    before = _changed_at(index)
    # lossact is loaded before pytest could rewrite its asserts, which the project may count as an error.
    own = [f"--claims-html={os.fspath(parsed.out)}", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    status = pytest.main([*parsed.path, *parsed.options, *own])
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if _changed_at(index) == before:
        raise ClaimError(f"{' '.join(parsed.path)}: no claim there was decided, so that no report is written")


def _changed_at(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None
