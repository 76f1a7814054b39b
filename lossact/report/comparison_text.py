"""A comparison of recorded runs as a table for the terminal."""

import textwrap
from collections.abc import Sequence

from lossact.report import comparison_wording as wording
from lossact.report.comparison import RunComparison
from lossact.report.escaping import printable

LONGEST_NAME = 32


def comparison_text(comparison: RunComparison, *, width: int) -> str:
    """Return the tables as text.

    Args:
        comparison: what is shown.
        width: columns of the terminal, for sentences; tables take what they need.
    """
    decimals = comparison.decimals
    head = f"{comparison.subject}: {wording.counted(comparison)}"
    lines = _wrapped([*wording.undecidable(comparison), head], width)
    lines += _wrapped([f"left out: {name} {why}" for name, why in comparison.left_out], width)
    conditions = [[_short(row.name), *wording.condition_cells(row, decimals)] for row in comparison.conditions]
    lines += ["", *_table(wording.CONDITION_COLUMNS, conditions, right={1, 2, 3, 4})]
    lines += ["", *_wrapped([wording.correction(comparison)], width)]
    pairs = [
        [
            _short(pair.better),
            wording.verdict(pair),
            _short(pair.worse),
            wording.superiority(pair),
            wording.advantage(pair, decimals),
            wording.plan(pair, comparison),
        ]
        for pair in comparison.pairs
    ]
    lines += _table(wording.PAIR_COLUMNS, pairs, right=set())
    notes = [f"note: {note}" for note in (*comparison.notes, *wording.warnings(comparison))]
    lines += ["", *_wrapped([*notes, *wording.reading(comparison)], width)]
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


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: set[int]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if k in right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (columns, *rows)
    ]
