"""Two states of the code as a table for the terminal."""

import textwrap
from collections.abc import Sequence

from lossact.against import BeforeAfter
from lossact.report import against_wording as wording
from lossact.report.escaping import printable

LONGEST_NAME = 32
RIGHT = {3, 4, 7}  # columns of numbers


def against_text(result: BeforeAfter, *, width: int) -> str:
    """Return the table and what is to be said below it.

    Args:
        result: what is shown.
        width: columns of the terminal, for sentences; the table takes what it needs.
    """
    table: list[list[str]] = []
    last = None
    for condition, measure in wording.rows(result):
        name = "" if condition is last else _short(condition.name)
        table.append([name, *map(printable, wording.cells(condition, measure))])
        last = condition
    lines = _wrapped([wording.title(result), wording.head(result)], width)
    lines += ["", *_table(wording.COLUMNS, table), "", *_wrapped(wording.notes(result), width)]
    return "\n".join(lines)


def _short(name: str) -> str:
    shown = printable(name)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"


def _wrapped(sentences: Sequence[str], width: int) -> list[str]:
    return [
        line
        for sentence in sentences
        for line in textwrap.wrap(printable(sentence), max(width, 40), subsequent_indent="  ", break_on_hyphens=False)
    ]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if k in RIGHT else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (columns, *rows)
    ]
