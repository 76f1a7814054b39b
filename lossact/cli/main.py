"""The `lossact` command: parse the arguments and run the subcommand."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any

from lossact.cli import against, compare, curves, dashboard, init, report, schema, surfaces
from lossact.cli import map as map_command
from lossact.cli.training_commands import TRAINING
from lossact.errors import LossactError
from lossact.threads import keep_threads_from_spinning

DESCRIPTION = """\
Claims about neural-network training as statistically tested experiments.

  pytest claims/             decide the claims in a folder: SUPPORTED, REFUTED or INCONCLUSIVE
  pytest claims/ -k a6 -v    decide one of them
  pytest --help              list the --claims-* options
"""
NEEDED = dict.fromkeys(TRAINING, ("jsonargparse", "wandb")) | {"surfaces": ("plotly",)}  # beyond what claims need
READER_GONE = 141  # what a shell reports of a command that SIGPIPE ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the subcommand and its options; those of the process by default.

    Returns:
        the exit status: 0, or what the subcommand says. A user's mistake exits with 2 and one line on standard error,
        Ctrl-C with 130. Where standard output is a pipe whose reader has gone, as in `lossact compare … | head -1`, the
        command ends with 141 and says nothing.
    """
    _escape_what_cannot_be_encoded()
    try:
        try:
            return _run(arguments)
        finally:  # also where argparse exits after its help
            _flush()
    except OSError as error:  # what is written cannot go out: the reader has gone, or a disk is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it exits
        if isinstance(error, BrokenPipeError):
            return READER_GONE
        print(f"lossact: standard output: {error}", file=sys.stderr)
        return 2


def _escape_what_cannot_be_encoded() -> None:
    """Have names that a terminal or a file in another encoding cannot hold be escaped, as Python does for errors."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


class _Parser(argparse.ArgumentParser):
    """Takes -1e3 for a number, which Python's before 3.14 take for an option."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)


def _run(arguments: Sequence[str] | None) -> int:
    from lossact import __version__

    keep_threads_from_spinning()
    parser = argparse.ArgumentParser(
        prog="lossact", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"lossact {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", parser_class=_Parser)
    init.add_arguments(commands.add_parser("init", help="write a small folder of example claims"))
    surfaces.add_arguments(
        commands.add_parser("surfaces", help="draw the output, loss and gradient of one neuron over (w, b)")
    )
    curves.add_arguments(
        commands.add_parser("curves", help="draw learning curves and arrivals of a claim's conditions")
    )
    map_command.add_arguments(
        commands.add_parser("map", help="decide a claim at each point of a grid over two hyperparameters")
    )
    compare.add_arguments(commands.add_parser("compare", help="compare runs that were made already, from a table"))
    against.add_arguments(
        commands.add_parser("against", help="compare training under a git revision with the working tree")
    )
    report.add_arguments(commands.add_parser("report", help="decide claims and write a report"))
    schema.add_arguments(commands.add_parser("schema", help="print the JSON Schema of what programs read"))
    dashboard.add_arguments(commands.add_parser("dashboard", help="save a W&B workspace that shows a project's runs"))
    for name, description in TRAINING.items():
        commands.add_parser(name, help=description, add_help=False)
    given = sys.argv[1:] if arguments is None else list(arguments)
    command = given[0] if given and given[0] in commands.choices else None
    try:
        if command is not None:
            from lossact.requirements import check_requirements

            check_requirements(NEEDED.get(command, ()))
        if command in TRAINING:  # Lightning parses their options
            from lossact.cli.train import run

            run(arguments)
            return 0
        parsed, rest = parser.parse_known_args(given)
        command = parsed.command
        if command == "report":
            parsed.options = rest  # for pytest
        elif rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        if command is None:
            parser.print_help()
            return 0
        status: int | None = parsed.run(parsed)
        return status or 0
    except BrokenPipeError:
        raise
    except (LossactError, OSError) as error:
        _flush()  # a reader that has gone may be why the command failed
        parser.exit(2, f"lossact {command}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"lossact {command}: interrupted\n")
