"""A table of the calibration: rows of cells, and what every row must keep."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import beta


@dataclass(frozen=True)
class Row:
    """One line.

    Attributes:
        cells: as printed.
        kept: whether it is as it should be; None where nothing is asked of it.
    """

    cells: tuple[str, ...]
    kept: bool | None = None


@dataclass(frozen=True)
class Table:
    """A table that says what it should show."""

    title: str
    rule: str
    columns: tuple[str, ...]
    rows: Sequence[Row]

    @property
    def kept(self) -> bool:
        """Whether no row breaks the rule."""
        return all(row.kept is not False for row in self.rows)

    def __str__(self) -> str:
        """Markdown, in columns of one width."""
        lines = [self.columns, *(row.cells for row in self.rows)]
        widths = [max(len(line[k]) for line in lines) for k in range(len(self.columns))]
        marks = ["", *("" if row.kept is None else " ok" if row.kept else " NOT KEPT" for row in self.rows)]
        printed = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" + mark
            for line, mark in zip(lines, marks, strict=True)
        ]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        return "\n".join([f"### {self.title}", "", self.rule, "", printed[0], rule, *printed[1:]]) + "\n"


def clopper_pearson_upper(count: int, n: int) -> float:
    """Upper 99% confidence bound of a probability (Clopper and Pearson 1934)."""
    return 1.0 if count == n else float(beta.ppf(0.99, count + 1, n - count))


def lowest_share(count: int, n: int) -> float:
    """Lower 99% confidence bound of a probability (Clopper and Pearson 1934)."""
    return 0.0 if count == 0 else float(beta.ppf(0.01, count, n - count + 1))


def at_most(count: int, n: int, limit: float, *, short: bool) -> bool:
    """Whether a probability keeps below a limit: shown to within a fifth; in the short form not shown to exceed it."""
    return lowest_share(count, n) <= limit if short else clopper_pearson_upper(count, n) <= 1.2 * limit
