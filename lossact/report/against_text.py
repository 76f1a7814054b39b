"""Two states of the code as a table for the terminal."""

from lossact.against import BeforeAfter
from lossact.report import against_wording as wording
from lossact.report.escaping import printable
from lossact.report.text_table import short, text_table, wrapped

RIGHT = {3, 4, 7}  # columns of numbers


def against_text(result: BeforeAfter, *, width: int) -> str:
    """Return the table and the notes below it.

    Args:
        result: what is shown.
        width: columns of the terminal, for sentences; the table takes what it needs.
    """
    table: list[list[str]] = []
    last = None
    for condition, measure in wording.rows(result):
        name = "" if condition is last else short(condition.name)
        table.append([name, *map(printable, wording.cells(condition, measure))])
        last = condition
    lines = wrapped([wording.title(result), wording.head(result)], width)
    lines += ["", *text_table(wording.COLUMNS, table, right=RIGHT), "", *wrapped(wording.notes(result), width)]
    return "\n".join(lines)
