"""Read a CSV file of runs."""

import csv
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from lossact.conditions.reading.columns import Columns, Layout
from lossact.conditions.reading.row_buffer import ROW, RowBuffer, to_number, to_step
from lossact.errors import InputError

ROWS_AT_ONCE = 65536
GROUPED = re.compile(r"-?[1-9]\d{0,2}(\.\d{3})+")  # thousands, if its points separate them
WHOLE = re.compile(r"-?(0|[1-9]\d{0,2}(\.\d{3})*)")
Numbered = tuple[int, list[str]]


def read_csv(path: Path, columns: Columns) -> tuple[RowBuffer, str]:
    """Read a table with a header line, separated by commas, semicolons or tabs.

    Args:
        path: the file, in UTF-8.
        columns: which columns hold what.

    Returns:
        the rows, and the name of the recorded number.

    Raises:
        InputError: the table breaks a rule.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            if not head.strip():
                raise InputError(f"{path.name}: the file is empty; it needs a header line and a row for each number")
            delimiter = max(",;\t", key=re.sub(r'"[^"]*"', "", head).count)  # quoted names may hold others
            file.seek(0)
            rows = csv.reader(file, delimiter=delimiter)
            header = [name.strip() for name in next(rows)]
            layout = columns.resolve(header, path.name)
            buffer = RowBuffer(has_steps=layout.step is not None)
            numbered = ((rows.line_num, row) for row in rows if row)
            while chunk := list(islice(numbered, ROWS_AT_ONCE)):
                _add(buffer, chunk, layout, header, path.name, delimiter)
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: not a UTF-8 text file ({error.reason}); save the table as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path.name}: not readable as CSV ({error}); save it with plain quotes") from None
    return buffer, layout.measure


def _add(
    buffer: RowBuffer,
    chunk: Sequence[Numbered],
    layout: Layout,
    header: Sequence[str],
    name: str,
    delimiter: str,
) -> None:
    for line, row in chunk:
        if len(row) != len(header):
            raise InputError(f"{name}, line {line}: {len(row)} cells, but the header has {len(header)} columns")
    lines = [line for line, _ in chunk]
    cells = dict(zip(header, zip(*(row for _, row in chunk), strict=True), strict=True))
    n = len(lines)
    runs = _names(cells[layout.run], "run", lines, name) if layout.run else [str(line) for line in lines]
    pairs: Sequence[str | None] = _names(cells[layout.pair], "pair", lines, name) if layout.pair else [None] * n
    if layout.step and delimiter != ",":
        _check_grouped_steps(cells[layout.step], layout.step, lines, name)
    steps = _integers(cells[layout.step], layout.step, lines, name) if layout.step else []
    for value in layout.values:
        conditions = [label.strip() for label in cells[layout.condition]] if layout.condition else [value] * n
        way_out = ROW
        if layout.condition is None:
            way_out = f"if {value} names the conditions, say condition={value!r}"
            if not all(map(str.strip, cells[value])):
                way_out = "for unequal numbers of runs give each run a row, with a column that names its condition"
        if delimiter == ";":
            _check_thousands(cells[value], value, lines, name)
        buffer.extend(conditions, runs, pairs, steps, _floats(cells[value], value, lines, name, way_out), lines)


def _names(texts: Sequence[str], what: str, lines: Sequence[int], name: str) -> list[str]:
    """Return the names in the column of runs or pairs; rows without one are not of one run or pair."""
    names = [text.strip() for text in texts]
    if "" in names:
        raise InputError(f"{name}, line {lines[names.index('')]}: the row names no {what}; fill in its cell")
    return names


def _check_thousands(texts: Sequence[str], column: str, lines: Sequence[int], name: str) -> None:
    """Raise InputError where a point may separate thousands: tables with semicolons often have decimal commas."""
    cells = [text.strip() for text in texts]
    grouped = [GROUPED.fullmatch(cell) is not None for cell in cells]
    if any(grouped) and not all(grouped) and all(map(WHOLE.fullmatch, cells)):
        at = grouped.index(True)
        raise InputError(
            f"{name}, line {lines[at]}: {column}={cells[at]!r} beside {cells[grouped.index(False)]!r} may have "
            "a decimal point or one that separates thousands; write whole numbers without it, all others with one"
        )


def _check_grouped_steps(texts: Sequence[str], column: str, lines: Sequence[int], name: str) -> None:
    """Raise InputError where a point may separate the thousands of a step, as in 500, 1.000, 1.500."""
    grouped = next((k for k, text in enumerate(texts) if GROUPED.fullmatch(text.strip())), None)
    if grouped is not None:
        raise InputError(
            f"{name}, line {lines[grouped]}: {column}={texts[grouped].strip()!r} may have a decimal point or one that "
            "separates thousands; write steps without it"
        )


def _floats(texts: Sequence[str], column: str, lines: Sequence[int], name: str, way_out: str) -> list[float]:
    try:
        numbers = list(map(float, texts))
    except ValueError:
        numbers = []
    are_finite = all(number - number == 0 for number in numbers)
    if len(numbers) == len(texts) and are_finite and "_" not in "".join(texts):
        return numbers
    places = (f"{name}, line {line}" for line in lines)
    return [to_number(text, column, place, way_out) for text, place in zip(texts, places, strict=True)]


def _integers(texts: Sequence[str], column: str, lines: Sequence[int], name: str) -> list[int]:
    try:
        numbers = list(map(int, texts))
    except ValueError:
        numbers = []
    if len(numbers) == len(texts) and min(numbers) >= 0 and "_" not in "".join(texts):
        return numbers
    return [to_step(text, column, f"{name}, line {line}") for text, line in zip(texts, lines, strict=True)]
