"""Learning curves in one line of a terminal."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lossact.report.formatting import printable, share
from lossact.report.stored import StoredCondition
from lossact.stats.bands import bands, cumulative_incidence

BARS = "▁▂▃▄▅▆▇█"
NARROWEST = 100  # columns of a terminal that shows them
LENGTH = 28
NAME = 32
BESIDES = 36  # columns for margins, the share and two losses


def condition_lines(conditions: Sequence[StoredCondition], *, width: int) -> list[str]:
    """A line a condition: the share that reached the target and the median loss, both by updates, left to right.

    Args:
        conditions: each once.
        width: columns of the terminal; nothing is shown where they are fewer than 100.
    """
    if width < NARROWEST or not conditions:
        return []
    size = min(NAME, max(9, *(len(one.name) for one in conditions)))
    length = min(LENGTH, (width - BESIDES - size) // 2)
    head = f"    {'condition':{size}}  {'reached the target':{length + 5}}   {'median loss':{length}}"
    return [head.rstrip(), *(f"    {_line(one, size, length)}".rstrip() for one in conditions)]


def _line(one: StoredCondition, size: int, length: int) -> str:
    arrived = cumulative_incidence(one.trials.steps[one.trials.reached], one.trials.budget, replicas=len(one.trials))
    name = printable(one.name)
    name = name if len(name) <= size else name[: size - 1] + "…"
    told = share(int(one.trials.reached.sum()), len(one.trials))
    line = f"{name:{size}}  {sparkline(arrived, 0, 1, length=length)} {told:>4}"
    if one.curves is None or not len(one.curves):
        return line
    loss = bands("loss", one.curves.loss)["loss/median"]
    seen = loss[np.isfinite(loss)]
    low, top = (min(0.0, seen.min()), seen.max()) if len(seen) else (0.0, 1.0)
    return f"{line}   {sparkline(loss, low, top, length=length)} {loss[0]:.3g} to {loss[-1]:.3g}"


def sparkline(values: ArrayLike, low: float, high: float, *, length: int = LENGTH) -> str:
    """Bars of eighths from low to high at `length` moments, first and last included; a blank where not finite."""
    found = np.asarray(values, dtype=np.float64)
    shown = found[np.linspace(0, len(found) - 1, length).round().astype(np.int64)]
    scaled = np.clip((shown - low) / (high - low or 1.0), 0, 1)
    return "".join(BARS[min(7, int(8 * one))] if np.isfinite(one) else " " for one in scaled)
