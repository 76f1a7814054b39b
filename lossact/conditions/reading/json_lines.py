"""Read JSON lines of runs: one object a line, with one number or a whole curve."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lossact.conditions.reading.columns import Columns
from lossact.conditions.reading.row_buffer import RowBuffer, to_number, to_step
from lossact.errors import InputError


def read_json_lines(path: Path, columns: Columns) -> tuple[RowBuffer, str]:
    """Read one object a line; a value (and its step) may be a number or a list of equally many.

    Args:
        path: the file, in UTF-8.
        columns: which fields hold what.

    Returns:
        the rows, and the name of the recorded number.

    Raises:
        InputError: a line breaks a rule.
    """
    return read_objects(_objects(path), columns, path.name)


def read_objects(
    objects: Iterable[tuple[str, Mapping[str, Any]]], columns: Columns, place: str
) -> tuple[RowBuffer, str]:
    """Read objects, each with the place that errors call it.

    Args:
        objects: (place, fields) of each; all have the fields of the first.
        columns: which fields hold what.
        place: what errors call them all.

    Returns:
        the rows, and the measure's name.

    Raises:
        InputError: an object lacks a field, or a field holds what it cannot.
    """
    layout = buffer = None
    for line, (where, fields) in enumerate(objects, start=1):
        if layout is None or buffer is None:
            layout = columns.resolve(list(fields), place)
            buffer = RowBuffer(has_steps=layout.step is not None)
        for name in (layout.condition, layout.run, layout.step, layout.pair, *layout.values):
            if name is not None and name not in fields:
                raise InputError(f"{where}: no field {name!r}; every line needs the fields of the first")
        run = _name(fields[layout.run], "run", where) if layout.run else str(line)
        pair = _name(fields[layout.pair], "pair", where) if layout.pair else None
        steps = [] if layout.step is None else _as_list(fields[layout.step])
        for column in layout.values:
            condition = _name(fields[layout.condition], "condition", where) if layout.condition else column
            values = _as_list(fields[column])
            if layout.step is None and len(values) != 1:
                raise InputError(f"{where}: {column} holds {len(values)} numbers; name the field of steps, step=...")
            if layout.step is not None and len(values) != len(steps):
                raise InputError(f"{where}: {len(values)} numbers in {column}, but {len(steps)} in {layout.step}")
            if not values:
                raise InputError(
                    f"{where}: {column} holds no number; a run that broke off before its first is a result: record a "
                    "value for it, or drop it where it has nothing to do with the training"
                )
            n = len(values)
            buffer.extend(
                [condition] * n,
                [run] * n,
                [pair] * n,
                [to_step(step, str(layout.step), where) for step in steps],
                [to_number(value, column, where) for value in values],
                [line] * n,
            )
    if layout is None or buffer is None:
        raise InputError(f"{place}: no runs are in it; it needs an object for each run or each number")
    return buffer, layout.measure


def _name(field: object, what: str, where: str) -> str:
    """Return the name of a condition, run or pair: a text or a number."""
    name = str(field).strip()
    is_flag = isinstance(field, bool) and what != "condition"
    if not name or field is None or is_flag or isinstance(field, (list, dict)):
        raise InputError(f"{where}: {json.dumps(field)} names no {what}; give a text or a number")
    return name


def _as_list(field: object) -> list[Any]:
    return field if isinstance(field, list) else [field]


def _objects(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                place = f"{path.name}, line {number}"
                try:
                    fields = json.loads(line)
                except (ValueError, RecursionError) as error:  # no JSON, or a number of thousands of digits
                    raise InputError(f"{place}: not JSON ({error}); write one object a line") from None
                if not isinstance(fields, dict):
                    raise InputError(f"{place}: {type(fields).__name__} where an object is needed; write {{...}}")
                yield place, fields
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: not a UTF-8 text file ({error.reason}); save it as UTF-8") from None
