"""The lossact command."""

import argparse
from collections.abc import Sequence

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
    parser.parse_args(arguments)
    parser.print_help()
    return 0
