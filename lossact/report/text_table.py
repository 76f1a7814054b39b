"""Tables and sentences for the terminal."""

import textwrap
from collections.abc import Collection, Sequence

from lossact.report.escaping import printable

LONGEST_NAME = 32


def short(name: str) -> str:
    """Return a name as it is printed, cut where it is long."""
    shown = printable(name)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"


def wrapped(sentences: Sequence[str], width: int) -> list[str]:
    """Break sentences into lines, each sentence on lines of its own.

    Args:
        sentences: to be printed.
        width: columns of the terminal.
    """
    return [
        line
        for sentence in sentences
        for line in textwrap.wrap(printable(sentence), max(width, 40), subsequent_indent="  ", break_on_hyphens=False)
    ]


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """Lay out a table, a line a row.

    Args:
        columns: the heads.
        rows: of cells.
        right: indices of the columns that are aligned to the right.
    """
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if k in right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (columns, *rows)
    ]
