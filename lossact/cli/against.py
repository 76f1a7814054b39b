"""`lossact against`: the conditions of claims under a git revision's code and under the working tree's."""

import argparse
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lossact.errors import InputError, LossactError

if TYPE_CHECKING:
    from lossact.against import BeforeAfter, Settings

STANDARD_OUTPUT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Train the conditions of claims under the code of a git revision and under the working tree, with the same "
        "seeds, and say of each: identical, equivalent, worse, better or not yet. The revision's files lie in a "
        "temporary folder and run in a process of their own; the working tree is left as it is. Stored trials are not "
        "trained again. Exit status: 0, 1 where something is shown worse, 3 where nothing is but something is open, "
        "2 for an error."
    )
    parser.add_argument("revision", metavar="REVISION", help="a commit, branch or tag, such as main or HEAD~1")
    parser.add_argument(
        "paths", metavar="CLAIMS", nargs="*", default=["claims"],
        help="folders or files of claims, or FILE::NAME (default: claims)",
    )  # fmt: skip
    parser.add_argument(
        "--within", action="append", default=[], metavar="MEASURE=MARGIN",
        help="call a measure equivalent where its median differs by no more than this, in its own unit; may be "
        "repeated; the measure of updates to the target is steps (default: by --delta)",
    )  # fmt: skip
    for side in ("higher", "lower"):
        parser.add_argument(
            f"--{side}", action="append", default=[], metavar="MEASURE",
            help=f"{side} values of this measure are better (known for accuracies and losses); may be repeated",
        )  # fmt: skip
    parser.add_argument(
        "--alpha", type=float, default=0.025, help="error probability a side, for everything together (default: 0.025)"
    )
    parser.add_argument("--delta", type=float, default=0.1, help="smallest margin over 1/2 that matters (default: 0.1)")
    parser.add_argument(
        "--max-replicas", type=int, default=2048, metavar="N", help="of a condition, at most (default: 2048)"
    )
    parser.add_argument("--max-seconds", type=float, metavar="S", help="no further look begins after S seconds")
    parser.add_argument("--seed", type=int, default=0, help="seed of the replicas (default: 0)")
    parser.add_argument("--data", metavar="DIR", help="folder of .npy data sets, like --claims-data")
    parser.add_argument(
        "--store", default=".lossact", metavar="PATH|none", help="folder that keeps trials (default: .lossact)"
    )
    parser.add_argument("--accelerator", choices=["cpu", "cuda", "mps"], default="cpu", help="default: cpu")
    parser.add_argument(
        "--python", default=sys.executable, metavar="PATH", help="the revision's interpreter (default: this one)"
    )
    parser.add_argument(
        "--link", action="append", type=Path, default=[], metavar="PATH",
        help="a file or folder of the working tree that git ignores and the revision needs too; may be repeated",
    )  # fmt: skip
    parser.add_argument("--json", metavar="PATH|-", help="also write everything as JSON; - for standard output alone")
    parser.add_argument("--markdown", type=Path, metavar="PATH", help="also write the table as Markdown")
    parser.add_argument("--html", type=Path, metavar="PATH", help="also write a page with the curves of both sides")
    parser.add_argument("--junit", type=Path, metavar="PATH", help="also write JUnit XML, a test a measure")
    parser.add_argument(
        "--fail-on", choices=["different", "worse", "open"], default="open",
        help="worse: 1 where something is worse, else 0; open: 3 besides where something is open (default); "
        "different: 1 also where something is better",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Compare, print the table, write what was asked for, and return the exit status."""
    from lossact.against import exit_code
    from lossact.report.against_json import against_json
    from lossact.report.files import check_outputs
    from lossact.report.json_file import error_json

    json_file = None if parsed.json in (None, STANDARD_OUTPUT) else Path(parsed.json)
    check_outputs(json=json_file, markdown=parsed.markdown, html=parsed.html, junit=parsed.junit)
    try:
        result = _compare(parsed)
    except LossactError as error:
        if parsed.json is not None:
            _write(parsed.json, error_json(error))
        raise
    if parsed.json != STANDARD_OUTPUT:
        from lossact.report.against_text import against_text

        print(against_text(result, width=shutil.get_terminal_size().columns))
    status = exit_code(result.conditions, fail_on=parsed.fail_on)
    if parsed.json is not None:
        _write(parsed.json, against_json(result, status))
    if parsed.markdown is not None:
        from lossact.report.against_markdown import against_markdown

        _write(parsed.markdown, against_markdown(result))
    if parsed.html is not None:
        from lossact.report.against_html import against_html

        _write(parsed.html, against_html(result))
    if parsed.junit is not None:
        from lossact.report.against_junit import against_junit

        _write(parsed.junit, against_junit(result, fail_on=parsed.fail_on))
    if parsed.json != STANDARD_OUTPUT:
        for path in filter(None, (parsed.json, parsed.markdown, parsed.html, parsed.junit)):
            print(path)
    return status


def _compare(parsed: argparse.Namespace) -> "BeforeAfter":
    from lossact.against import Repository, compare_with_revision

    settings = _settings(parsed)
    data = ["--claims-data", str(Path(parsed.data).resolve())] if parsed.data else []
    with _ended_by_sigterm():
        return compare_with_revision(
            Repository.of(Path.cwd()),
            parsed.revision,
            [*parsed.paths, *data],
            settings=settings,
            program=Path(__file__).with_name("against_worker.py").read_text(encoding="utf-8"),
            store=None if parsed.store == "none" else Path(parsed.store).resolve(),
            python=parsed.python,
            links=parsed.link,
            device=parsed.accelerator,
            say=_say,
        )


def _settings(parsed: argparse.Namespace) -> "Settings":
    from lossact.against import Settings

    both = sorted({*parsed.higher} & {*parsed.lower})
    if both:
        raise InputError(f"{both[0]} is given to --higher and to --lower; give it to one")
    return Settings(
        seed=parsed.seed,
        alpha=parsed.alpha,
        delta=parsed.delta,
        max_replicas=parsed.max_replicas,
        within=dict(map(_margin, parsed.within)),
        directions=dict.fromkeys(parsed.higher, "higher") | dict.fromkeys(parsed.lower, "lower"),
        max_seconds=parsed.max_seconds,
    )


def _margin(text: str) -> tuple[str, float]:
    name, _, margin = text.rpartition("=")
    try:
        return name, float(margin)
    except ValueError:
        raise InputError(f"--within {text} must be MEASURE=MARGIN, such as accuracy=0.01") from None


def _write(path: Path | str, text: str) -> None:
    from lossact.report.files import write_whole

    if path == STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        write_whole(Path(path), text)


def _say(line: str) -> None:
    if sys.stderr.isatty():
        shown = line[: shutil.get_terminal_size().columns - 1]
        print(f"\r\033[K{shown}", end="", file=sys.stderr, flush=True)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let a request to end clean up as Ctrl-C does."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
