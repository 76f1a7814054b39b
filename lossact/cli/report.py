"""`lossact report`: decide claims and write a report."""

import argparse
import os
from pathlib import Path

from lossact.errors import ClaimError, InputError
from lossact.report.files import is_page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.usage = "lossact report PATH [PATH ...] --out DIR [OPTIONS OF PYTEST]"
    parser.description = (
        "Decide claims from stored trials, training only what is missing, and write a report: index.html opens from "
        "disk without a network, report.md is for a pull request, verdicts.json for programs. PATH selects claims as "
        "for pytest, and every other option goes to pytest, for example -k and --claims-seed."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder, created if missing")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> None:
    """Run pytest on the claims, and let it write the report."""
    import pytest

    from lossact.pytest_plugin.names import loading_options

    if is_page(parsed.out):
        raise InputError(f"--out={parsed.out} must be a folder; pytest --claims-html writes a single page")
    if not parsed.options:
        raise InputError("no PATH is given; name a folder of claims, or FILE::NAME")
    index = parsed.out / "index.html"
    before = _changed_at(index)
    watcher = _Watcher()
    # lossact is imported before pytest can rewrite its asserts; a project may turn that warning into an error.
    options = [f"--claims-html={os.fspath(parsed.out)}", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    pytest.main([*loading_options(), *parsed.options, *options], plugins=[watcher])
    if watcher.interrupted:
        raise KeyboardInterrupt
    if _changed_at(index) == before:
        raise ClaimError(f"{' '.join(parsed.options)}: no report is written, for the reason that pytest gives above")
    if watcher.failed:
        raise ClaimError(f"{watcher.failed} of the claims could not be decided; the report names them")


class _Watcher:
    """A pytest plugin that sees what the exit status does not distinguish: interruptions and claims in error."""

    def __init__(self) -> None:
        self.interrupted = False
        self.failed = 0

    def pytest_keyboard_interrupt(self, excinfo: object) -> None:
        self.interrupted = getattr(excinfo, "type", None) is KeyboardInterrupt  # not a subclass

    def pytest_runtest_logreport(self, report: object) -> None:
        failed = getattr(report, "failed", False) and "claim" in getattr(report, "keywords", ())
        self.failed += bool(failed and not hasattr(report, "lossact"))

    def pytest_collectreport(self, report: object) -> None:
        self.failed += bool(getattr(report, "failed", False))


def _changed_at(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None
