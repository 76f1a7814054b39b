"""Learning curves in one line of a terminal."""

import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lossact.report.stored import StoredCondition
from lossact.stats.bands import reached_by

BARS = "▁▂▃▄▅▆▇█"
NARROWEST = 100  # columns of a terminal that shows them
LENGTH = 28
LOSS = 18


def condition_lines(conditions: Sequence[StoredCondition], *, width: int) -> list[str]:
    """A line a condition: the share that reached the target and the median loss, both by updates, left to right.

    Args:
        conditions: each once.
        width: columns of the terminal; nothing is shown where they are fewer than 100.
    """
    if width < NARROWEST or not conditions:
        return []
    room = width - 2 * LENGTH - LOSS - 14
    size = min(room, max(len(one.name) for one in conditions))
    head = f"    {'condition':{size}}  {'reached the target':{LENGTH + 6}}  {'median loss':{LENGTH}}"
    return [head.rstrip(), *(f"    {_line(one, size)}".rstrip() for one in conditions)]


def _line(one: StoredCondition, size: int) -> str:
    share = reached_by(one.trials.steps[one.trials.reached], one.trials.budget, replicas=len(one.trials))
    name = textwrap.shorten(one.name, size, placeholder="…")
    line = f"{name:{size}}  {sparkline(share, 0, 1)} {share[-1]:4.0%}"
    if one.curves is None or not len(one.curves):
        return line
    loss = np.median(one.curves.loss, axis=0)
    seen = loss[np.isfinite(loss)]
    top = seen.max() if len(seen) else 1.0
    return f"{line}   {sparkline(loss, 0, top)} {loss[0]:.3g} to {loss[-1]:.3g}"


def sparkline(values: ArrayLike, low: float, high: float, *, length: int = LENGTH) -> str:
    """Bars of eighths from low to high at `length` moments, first and last included; a blank where not finite."""
    found = np.asarray(values, dtype=np.float64)
    shown = found[np.linspace(0, len(found) - 1, length).round().astype(np.int64)]
    scaled = np.clip((shown - low) / max(high - low, np.finfo(float).tiny), 0, 1)
    return "".join(BARS[min(7, int(8 * one))] if np.isfinite(one) else " " for one in scaled)
