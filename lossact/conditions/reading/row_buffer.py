"""Rows of a table of runs, kept as arrays while they are read."""

import math
from array import array
from collections.abc import Hashable, Iterable, Sequence

from lossact.checks import shortened
from lossact.errors import InputError

ROW = "write a number with a decimal point, or drop the row"
Label = tuple[str, str, str | None]  # condition, run, pair


class RowBuffer:
    """Collects one number a row.

    Args:
        has_steps: whether every row has a step.

    Attributes:
        labels: condition, run and pair of each group, in the order in which they come.
        groups, steps, values, lines: one entry a row; `steps` is empty without steps.
    """

    def __init__(self, *, has_steps: bool) -> None:
        self.has_steps = has_steps
        self.labels: list[Label] = []
        self.groups, self.steps, self.values, self.lines = array("l"), array("q"), array("d"), array("l")
        self._index: dict[Hashable, int] = {}

    def extend(
        self,
        conditions: Sequence[str],
        runs: Sequence[str],
        pairs: Sequence[str | None],
        steps: Sequence[int],
        values: Sequence[float],
        lines: Iterable[int],
    ) -> None:
        """Add rows, given column by column.

        Args:
            conditions: name of each row's condition.
            runs: name of each row's run.
            pairs: what pairs each row's run, None where nothing does.
            steps: of each row; empty without steps.
            values: of each row.
            lines: number of each row in its file, for errors.
        """
        index, labels = self._index, self.labels
        groups = []
        for label in zip(conditions, runs, pairs, strict=True):
            group = index.setdefault(label, len(labels))
            if group == len(labels):
                labels.append(label)
            groups.append(group)
        self.groups.extend(groups)
        try:
            self.steps.extend(steps)
        except OverflowError:
            raise InputError(f"a step is {max(steps)}, beyond 2**63; name the column that holds steps") from None
        self.values.extend(values)
        self.lines.extend(lines)


def to_number(text: object, column: str, place: str, way_out: str = ROW) -> float:
    """Return a finite number.

    Args:
        text: of a cell.
        column, place: what errors call the cell's column and row.
        way_out: how the error for a text that is no number ends.

    Returns:
        the number.

    Raises:
        InputError: it is something else.
    """
    try:
        number = float(text)  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        number = math.nan
    if (isinstance(text, str) and "_" in text) or (number != number and not _says_nan(text)):
        raise InputError(f"{place}: {column}={text!r} is no number; {way_out}")
    if not math.isfinite(number) or isinstance(text, bool):
        raise InputError(
            f"{place}: {column}={shortened(text)} must be a finite number; drop the row, or record a value for "
            "runs that diverged"
        )
    return number


def _says_nan(text: object) -> bool:
    return isinstance(text, float) or (isinstance(text, str) and text.strip().lower().lstrip("+-") == "nan")


def to_step(text: object, column: str, place: str) -> int:
    """Return a step, an integer >= 0.

    Args:
        text: of a cell.
        column: what errors call the cell's column.
        place: what errors call its row.

    Returns:
        the step.

    Raises:
        InputError: it is something else.
    """
    number = to_number(text, column, place)
    if number < 0 or number != int(number) or number > 2**62:
        raise InputError(f"{place}: {column}={text!r} must be an integer >= 0; name the column that holds steps")
    return int(number)
