"""The lossact command."""

from lossact.cli.main import main

__all__ = ["main"]
