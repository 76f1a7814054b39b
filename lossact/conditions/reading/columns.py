"""Which columns of a table hold what."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from lossact.errors import InputError

# What columns are called that count rows and are no conditions.
COUNTERS = {"", "unnamed: 0", "index", "id", "run", "seed", "replica", "trial", "repeat", "step", "epoch", "iteration"}
# What columns of steps within a run are called, W&B's "_step" and "trainer/global_step" among them.
STEPS = {"step", "global_step", "timestep", "env_step", "epoch", "iteration", "iter", "update"}


@dataclass(frozen=True)
class Columns:
    """Columns of a table of runs, by name.

    Attributes:
        condition: names each row's condition; None where each of several value columns is one (a wide table).
        run: names each row's run; None where every row of a condition is one.
        value: the recorded number; None takes the only column that is left.
        step: None where a run is one number.
        pair: pairs runs of different conditions, such as a seed; None where nothing does.
    """

    condition: str | None
    run: str | None
    value: str | None
    step: str | None
    pair: str | None

    def resolve(self, header: Sequence[str], place: str) -> "Layout":
        """Find the columns in a table's header.

        Args:
            header: names of all columns.
            place: what errors call the table.

        Raises:
            InputError: a column is missing, or it is not clear which one holds the value.
        """
        repeated = sorted({name for name in header if list(header).count(name) > 1})
        if repeated:
            raise InputError(f"{place}: two columns are called {repeated[0]!r}; give each a name of its own")
        named = {kind: getattr(self, kind) for kind in ("condition", "run", "value", "step", "pair")}
        for kind, name in named.items():
            if name is not None and name not in header:
                close = [other for other in header if other.lower() == name.lower()]
                close = close or get_close_matches(name, header, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise InputError(f"{place}: no column {kind}={name!r}; it has {', '.join(header)}{hint}")
        left = tuple(name for name in header if name not in named.values())
        if self.run is None:
            steps = self.step or next((name for name in left if _counts_steps(name) and self.condition), None)
            if steps is not None:
                raise InputError(
                    f"{place}: {steps!r} counts steps, and each row would be a run of its own; name the column of runs "
                    "by run= and that of steps by step=, or take it out of a table with one row a run"
                )
        if self.condition is None:
            return self._wide(left, place)
        value = self.value
        if value is None:
            if len(left) != 1:
                names = ", ".join(left) or "none"
                raise InputError(f"{place}: which column holds the value? Name it by value=; left are {names}")
            (value,) = left
        return Layout(self.condition, self.run, (value,), self.step, self.pair)

    def _wide(self, left: Sequence[str], place: str) -> "Layout":
        values = (self.value,) if self.value is not None else tuple(left)
        if len(values) < 2:
            raise InputError(
                f"{place}: without condition= each column is one condition, and there are {len(values)}; name the "
                "column that holds the conditions"
            )
        counters = [name for name in values if name.lower() in COUNTERS]
        if counters:
            raise InputError(
                f"{place}: without condition= each column is one condition, and {counters[0]!r} is none; name it by "
                "run=, step= or pair=, and the column of conditions by condition=, or take it out of the table"
            )
        return Layout(None, self.run, values, self.step, self.pair)


def _counts_steps(name: str) -> bool:
    """Return whether a column is called as steps are: "step", "_step", "trainer/global_step"."""
    return name.lower().rpartition("/")[2].strip("_ ") in STEPS


@dataclass(frozen=True)
class Layout:
    """Columns as they lie in one table; `values` holds one name, or one a condition in a wide table.

    Args:
        condition: column with the condition's name, None where there is none.
        run: column with the run's name, None where each row is a run.
        values: columns with numbers.
        step: column with the step, None without steps.
        pair: column with what pairs runs, None where nothing does.
    """

    condition: str | None
    run: str | None
    values: tuple[str, ...]
    step: str | None
    pair: str | None

    @property
    def measure(self) -> str:
        """Name of the recorded number."""
        return self.values[0] if self.condition is not None else "value"
