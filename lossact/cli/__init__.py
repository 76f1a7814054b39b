"""The lossact command."""

import argparse
from collections.abc import Sequence

from lossact.cli import init, surfaces
from lossact.cli import map as map_command
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
    map_command.add_arguments(commands.add_parser("map", help="a claim's verdict over a grid of two numbers"))
    parsed = parser.parse_args(arguments)
    if parsed.command is None:
        parser.print_help()
        return 0
    try:
        parsed.run(parsed)
    except (LossactError, OSError) as error:
        parser.exit(2, f"lossact {parsed.command}: {error}\n")
    return 0
