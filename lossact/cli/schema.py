"""`lossact schema`: the form of what lossact writes for programs."""

import argparse
from importlib.resources import files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Print the JSON Schema (draft 2020-12) of what pytest --claims-json and lossact against --json write."
    )
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> None:
    """Print the schema."""
    print((files("lossact.report") / "schema.json").read_text(encoding="utf-8"), end="")
