"""Write a run's files and print its tables and curves."""

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from lossact.claims.result import ClaimResult
from lossact.errors import LossactError
from lossact.pytest_plugin.options import STANDARD_OUTPUT, Options
from lossact.report.files import is_page
from lossact.report.formatting import families
from lossact.report.json_file import verdicts_json, write_json
from lossact.report.run_info import RunInfo
from lossact.report.sparklines import BARS, NARROWEST, condition_lines
from lossact.report.stored import StoredCondition
from lossact.report.table import verdict_table
from lossact.storage import Store

Conditions = Callable[[], Mapping[str, StoredCondition]]  # reads the store, when first called


def write_out(
    results: Sequence[ClaimResult], conditions: Conditions, options: Options, store: Callable[[], Store], run: RunInfo
) -> tuple[list[str], bool]:
    """Write the files that the options ask for.

    Returns:
        a line for each: where it was written, or why it could not be; and whether all files were written.
    """
    notes, written = [], []
    if options.json == STANDARD_OUTPUT:
        sys.stdout.write(verdicts_json(results, run))
        sys.stdout.flush()
    elif options.json is not None:
        written.append(_written("verdicts as JSON", options.json, partial(write_json, results=results, run=run)))
    if options.html is not None and results:
        written.append(
            _written("report", options.html, partial(_write_report, results=results, conditions=conditions, run=run))
        )
    if options.wandb != "disabled" and results:
        from lossact.report.wandb_runs import log_claims

        notes.append(log_claims(results, conditions, store(), options.wandb, seed=run.seed, delta=run.delta))
    return [*(note for note, _ in written), *notes], all(done for _, done in written)


def show_plans(plans: Sequence[str], reporter: pytest.TerminalReporter) -> None:
    """Print what claims would cost."""
    if plans:
        reporter.section("claims: plan")
        for planned in plans:
            reporter.write_line(planned)
        reporter.write_line("along the expected path: chance makes many claims end sooner and some later")


def show_tables(results: Sequence[ClaimResult], options: Options, reporter: pytest.TerminalReporter) -> None:
    """Print one table for each family."""
    setting = f"seed {options.seed}" + (f", data from {options.data}" if options.data is not None else "")
    for members in families(results):
        reporter.section(f"claims: {members[0].family}")
        width = reporter._tw.fullwidth
        for line in verdict_table(members, alpha=options.alpha, delta=options.delta, setting=setting, width=width):
            reporter.write(line.text, bold=line.bold, **({line.colour: True} if line.colour else {}))
            reporter.write("\n")


def show_curves(conditions: Conditions, reporter: pytest.TerminalReporter) -> None:
    """Print sparklines for each condition, if the terminal is wide enough and can show them."""
    width = reporter._tw.fullwidth
    if width < NARROWEST or not _can_write(BARS, reporter):
        return
    try:
        stored = conditions()
    except LossactError as error:
        reporter.write_line(str(error))
        return
    for line in condition_lines(list(stored.values()), width=width):
        reporter.write_line(line)
    reporter.write_line("")


def _write_report(path: Path, *, results: Sequence[ClaimResult], conditions: Conditions, run: RunInfo) -> None:
    from lossact.report.folder import write_folder
    from lossact.report.html import write_html

    write = write_html if is_page(path) else write_folder
    write(path, results, conditions(), run)


@contextmanager
def collect_warnings(notes: list[str]) -> Iterator[None]:
    """Turn warnings into notes at the end of the run, regardless of pytest's warning filters."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # only lossact's own, UserWarning, become notes
        yield
    notes += [str(warning.message) for warning in caught if warning.category is UserWarning]


def _written(what: str, path: Path, write: Callable[[Path], None]) -> tuple[str, bool]:
    try:
        write(path)
    except (OSError, LossactError, UnicodeError) as error:
        return f"{what}: not written to {path} ({error})", False
    return f"{what}: {path}", True


def _can_write(text: str, reporter: pytest.TerminalReporter) -> bool:
    encoding = getattr(reporter._tw._file, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
