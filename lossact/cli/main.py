"""The lossact command: reads its arguments and hands over to the subcommand."""

import argparse
import sys
from collections.abc import Sequence

from lossact.cli import curves, dashboard, init, report, surfaces
from lossact.cli import map as map_command
from lossact.cli.training_commands import TRAINING
from lossact.errors import LossactError

DESCRIPTION = """\
Claims about neural-network training as statistically tested experiments.

  pytest claims/             decide the claims in a folder: SUPPORTED, REFUTED or INCONCLUSIVE
  pytest claims/ -k a6 -v    one of them
  pytest --help              the --claims-* options
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`, by default those of the process; the return value is the exit status."""
    from lossact import __version__

    parser = argparse.ArgumentParser(
        prog="lossact", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"lossact {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command")
    init.add_arguments(commands.add_parser("init", help="write a small folder of claims to start from"))
    surfaces.add_arguments(
        commands.add_parser("surfaces", help="figures of one neuron: output, loss, gradient over (w, b)")
    )
    curves.add_arguments(
        commands.add_parser("curves", help="learning curves of a claim's conditions, and who arrives when")
    )
    map_command.add_arguments(commands.add_parser("map", help="a claim's verdict over a grid of two numbers"))
    report.add_arguments(commands.add_parser("report", help="claims decided and written up: a folder to read or mail"))
    dashboard.add_arguments(commands.add_parser("dashboard", help="a W&B workspace that shows a project's runs"))
    for name, does in TRAINING.items():
        commands.add_parser(name, help=does, add_help=False)
    given = sys.argv[1:] if arguments is None else list(arguments)
    command = given[0] if given and given[0] in commands.choices else None
    try:
        if command is not None:
            from lossact.requirements import check_requirements

            check_requirements()
        if command in TRAINING:  # Lightning reads its options itself
            from lossact.cli.train import run

            run(arguments)
            return 0
        parsed, rest = parser.parse_known_args(given)
        command = parsed.command
        if command == "report":
            parsed.options = rest  # pytest's
        elif rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        if command is None:
            parser.print_help()
            return 0
        parsed.run(parsed)
    except (LossactError, OSError) as error:
        parser.exit(2, f"lossact {command}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"lossact {command}: interrupted\n")
    return 0
