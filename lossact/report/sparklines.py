"""Learning curves in one line of a terminal."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lossact.report.escaping import printable
from lossact.report.formatting import share
from lossact.report.stored import StoredCondition
from lossact.stats.bands import bands, cumulative_incidence

BARS = "▁▂▃▄▅▆▇█"
NARROWEST = 100  # columns of a terminal that shows them
LENGTH = 28
NAME = 32
BESIDES = 36  # columns for margins, the share and two losses
SPLIT = len(" (validation)")


def condition_lines(conditions: Sequence[StoredCondition], *, width: int) -> list[str]:
    """Return a line for each condition: the share that has arrived and the median loss, by updates.

    Args:
        conditions: each once.
        width: columns of the terminal; nothing is shown where they are fewer than 100, or where no condition has a
            target or curves.
    """
    if width < NARROWEST or not any(condition.has_target or len(condition.curves or ()) for condition in conditions):
        return []
    size = min(NAME, max(9, *(len(condition.name) for condition in conditions)))
    splits = {condition.loss_split for condition in conditions}
    length = min(LENGTH, (width - BESIDES - size - (SPLIT if len(splits) > 1 else 0)) // 2)
    loss = "median loss" if len(splits) > 1 else f"median loss on {splits.pop()} examples"
    head = f"    {'condition':{size}}  {'reached the target':{length + 5}}   {loss}"
    lines = (_line(condition, size, length, says_split=len(splits) > 1) for condition in conditions)
    return [head, *(f"    {line}".rstrip() for line in lines)]


def _line(condition: StoredCondition, size: int, length: int, *, says_split: bool) -> str:
    trials = condition.trials
    arrived = cumulative_incidence(trials.steps[trials.reached], trials.budget, replicas=len(trials))
    name = printable(condition.name)
    name = name if len(name) <= size else name[: size - 1] + "…"
    arrived_share = share(int(trials.reached.sum()), len(trials))
    arrivals = f"{sparkline(arrived, 0, 1, length=length)} {arrived_share:>4}" if condition.has_target else "no target"
    line = f"{name:{size}}  {arrivals:{length + 5}}"
    if condition.curves is None or not len(condition.curves):
        return line
    loss = bands("loss", condition.curves.loss)["loss/median"]
    seen = loss[np.isfinite(loss)]
    low, top = (min(0.0, seen.min()), seen.max()) if len(seen) else (0.0, 1.0)
    split = f" ({condition.loss_split})" if says_split else ""
    return f"{line}   {sparkline(loss, low, top, length=length)} {loss[0]:.3g} to {loss[-1]:.3g}{split}"


def sparkline(values: ArrayLike, low: float, high: float, *, length: int = LENGTH) -> str:
    """Return `length` bars, in eighths from low to high, first and last value included; blank where not finite."""
    numbers = np.asarray(values, dtype=np.float64)
    shown = numbers[np.linspace(0, len(numbers) - 1, length).round().astype(np.int64)]
    scaled = np.clip((shown - low) / (high - low or 1.0), 0, 1)
    return "".join(BARS[min(7, int(8 * level))] if np.isfinite(level) else " " for level in scaled)
