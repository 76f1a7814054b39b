"""lossact compare: recorded runs of several conditions, pair by pair."""

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STANDARD_OUTPUT = Path("-")
COLUMNS = {"condition": "--by", "run": "--run", "value": "--value", "step": "--step", "pair": "--pair"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Compare runs that were made already: a table of conditions, then every pair with its verdict, the probability "
        "that one is better, and by how much. Exact for a fixed number of runs, corrected for the number of pairs."
    )
    parser.add_argument(
        "runs", metavar="RUNS", help="a CSV file, JSON lines, a folder of logs, or wandb:ENTITY/PROJECT"
    )
    parser.add_argument("--by", metavar="COLUMN", help="names the conditions; without it each column is one")
    parser.add_argument(
        "--run", dest="run_column", metavar="COLUMN", help="names the runs of a condition; without it each row is one"
    )
    parser.add_argument("--value", metavar="COLUMN", help="the recorded number; without it the only column left")
    parser.add_argument("--step", metavar="COLUMN", help="steps, where a run is a curve")
    parser.add_argument("--pair", metavar="COLUMN", help="pairs runs of different conditions, such as a seed")
    parser.add_argument(
        "--finished-only",
        action="store_true",
        help="leave out runs of a W&B project that crashed, failed or were killed",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--at", metavar="STEP|last-common", help="compare values at this step")
    where.add_argument("--target", type=float, metavar="VALUE", help="compare the steps until this value is met")
    parser.add_argument("--against", metavar="NAME", help="compare only with this condition")
    parser.add_argument("--lower", action="store_true", help="lower values are better; without it higher ones are")
    parser.add_argument("--alpha", type=float, default=0.025, help="a side, for all pairs together (default: 0.025)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write everything as JSON; - writes that alone")
    parser.add_argument("--html", type=Path, metavar="PATH", help="also write a page with a picture of every run")
    parser.add_argument("--markdown", type=Path, metavar="PATH", help="also write the tables as Markdown")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> None:
    """Read the runs, compare them, print the tables and write what was asked for."""
    from lossact.conditions.reading import read_runs
    from lossact.report.comparison import Question, compare_runs
    from lossact.report.comparison_text import comparison_text
    from lossact.report.files import check_outputs, write_whole

    json_alone = parsed.json == STANDARD_OUTPUT
    check_outputs(
        json=None if json_alone else parsed.json, html=parsed.html, markdown=parsed.markdown, inputs=[parsed.runs]
    )
    with _said_by_options():
        conditions = read_runs(
            parsed.runs,
            condition=parsed.by,
            run=parsed.run_column,
            value=parsed.value,
            step=parsed.step,
            pair=parsed.pair,
            finished_only=parsed.finished_only,
        )
        question = Question(
            at=_step(parsed.at), target=parsed.target, against=parsed.against, lower=parsed.lower, alpha=parsed.alpha
        )
        comparison = compare_runs(conditions, question)
    if not json_alone:
        print(comparison_text(comparison, width=shutil.get_terminal_size().columns))
    if parsed.json is not None:
        from lossact.report.comparison_json import comparison_json

        text = comparison_json(comparison)
        sys.stdout.write(text) if json_alone else write_whole(parsed.json, text)
    if parsed.html is not None:
        from lossact.report.comparison_html import comparison_html

        write_whole(parsed.html, comparison_html(comparison))
    if parsed.markdown is not None:
        from lossact.report.comparison_markdown import comparison_markdown

        write_whole(parsed.markdown, comparison_markdown(comparison))
    for path in (parsed.json, parsed.html, parsed.markdown):
        if path is not None and not json_alone:
            print(path)


@contextmanager
def _said_by_options() -> Iterator[None]:
    """Have errors that speak of arguments in Python speak of the command's options."""
    from lossact.errors import InputError

    try:
        yield
    except InputError as error:
        text = str(error).replace("finished_only=True", "--finished-only")
        for argument, option in COLUMNS.items():  # a value of theirs is quoted, unlike a condition's "run=3"
            text = re.sub(rf"(?<![\w./-]){argument}=(?=[\s,;)]|$)", option, text)
            text = re.sub(rf"(?<![\w./-]){argument}=(?=['\".])", f"{option} ", text)
        text = re.sub(r"(?<![\w.'-])(at|target|against|alpha)=(?=\s)", r"--\1", text)
        text = re.sub(r"(?<![\w.'-])(at|target|against|alpha)=(?=\.\.\.|['\"\d-]|nan|inf|last-common)", r"--\1 ", text)
        raise InputError(text) from None


def _step(text: str | None) -> int | str | None:
    from lossact.errors import InputError
    from lossact.report.comparison import LAST_COMMON

    if text is None or text == LAST_COMMON:
        return text
    if not text.isdecimal():
        raise InputError(f"at={text!r} must be a step, an integer >= 0, or {LAST_COMMON}")
    return int(text)
