"""Learning curves and arrivals, drawn into axes of matplotlib."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lossact.report.formatting import share
from lossact.report.stored import StoredCondition
from lossact.stats.bands import bands, cumulative_incidence

Look = Callable[[int], dict[str, Any]]
N_SINGLE_RUNS = 5
FEW_MOMENTS = 25
POINTS = 250  # of a band and of a single run's line, at most


def draw_curves(
    axes: Axes,
    conditions: Sequence[tuple[int, StoredCondition]],
    quantity: Literal["loss", "metric"],
    look: Look,
    *,
    single_runs: int = N_SINGLE_RUNS,
) -> None:
    """Draw the median, the band from the 10% to the 90% quantile, and a few single runs thin behind them.

    Where a condition diverges, the axis keeps to the others.

    Args:
        axes: where to.
        conditions: each with the number of its series; all with curves.
        quantity: the loss, or the metric beside it.
        look: colour and dashes of a series.
        single_runs: how many runs are drawn by themselves.
    """
    ranges = []
    for k, condition in conditions:
        assert condition.curves is not None
        values = getattr(condition.curves, quantity)[:, condition.measured_updates]
        low, high = draw_band(axes, k, condition.measured_updates, values, look, single_runs=single_runs)
        if np.isfinite(high).all() and not condition.trials.diverged.any():
            drawn = values[:single_runs]
            ranges.append((min(low.min(), *drawn.min(axis=1)), max(high.max(), *drawn.max(axis=1))))
    if 0 < len(ranges) < len(conditions):
        bottom, top = np.min(ranges), np.max(ranges)
        margin = 0.05 * (top - bottom)
        axes.set_ylim(bottom - margin, top + margin)


def draw_band(
    axes: Axes, k: int, updates: NDArray[np.int64], values: NDArray[Any], look: Look, *, single_runs: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw the median of replicas by updates, their band and single runs; few moments are marked by dots.

    Args:
        axes: where to.
        k: the number of the series.
        updates: (moments,) at which the values were taken.
        values: (replicas, moments).
        look: colour and dashes of a series.
        single_runs: how many runs are drawn by themselves.

    Returns:
        the band's ends, (moments,) each.
    """
    low, middle, high = bands("", values).values()
    style = look(k) | ({"marker": "o", "markersize": 3.5} if len(updates) <= FEW_MOMENTS else {})
    thinned = np.unique(np.linspace(0, len(updates) - 1, POINTS).round().astype(int))
    shown = updates[thinned]
    axes.fill_between(shown, low[thinned], high[thinned], color=style["color"], alpha=0.18, linewidth=0)
    for run in values[:single_runs]:
        axes.plot(shown, run[thinned], color=style["color"], linewidth=0.6, alpha=0.65, gid="single-run")
    axes.plot(updates, middle, gid=f"series-{k}", **style)
    return low, high


def arrivals(condition: StoredCondition) -> NDArray[np.float64]:
    """Return the share of replicas (budget + 1,) that had met the target, by updates."""
    trials = condition.trials
    return cumulative_incidence(trials.steps[trials.reached], trials.budget, replicas=max(1, len(trials)))


def draw_arrivals(axes: Axes, conditions: Sequence[StoredCondition], look: Look) -> None:
    """Draw the share of replicas that had met the target, by updates: one minus Kaplan-Meier's estimate."""
    for k, condition in enumerate(conditions):
        shares = arrivals(condition)
        axes.step(np.arange(len(shares)), shares, where="post", gid=f"series-{k}", **look(k))
    axes.set_ylim(-0.02, 1.02)


def label_arrivals(axes: Axes, conditions: Sequence[StoredCondition], look: Look, *, gap: float = 0.075) -> None:
    """Name each curve at its end, the budget, with the share that arrived; names keep clear of each other.

    Args:
        axes: where the curves are.
        conditions: theirs.
        look: colour of a series.
        gap: least distance between two names, as a share of the axis.
    """
    ends = [float(arrivals(condition)[-1]) for condition in conditions]
    order = sorted(range(len(ends)), key=ends.__getitem__)
    heights: dict[int, float] = {}
    lowest = 0.0
    for k in order:
        heights[k] = lowest = max(ends[k], lowest)
        lowest += gap
    excess = max(0.0, lowest - gap - 1.0)
    last = max(condition.trials.budget for condition in conditions)
    for k in reversed(order):
        heights[k] = min(heights[k], 1.0 - gap * (len(order) - 1 - order.index(k))) if excess else heights[k]
        reached, n = int(conditions[k].trials.reached.sum()), len(conditions[k].trials)
        axes.annotate(
            f"{conditions[k].name}  {share(reached, n)}", (last, ends[k]), (1.03, heights[k]),
            textcoords=axes.get_yaxis_transform(), va="center", color=look(k)["color"], fontsize=11, weight="bold",
            annotation_clip=False, arrowprops={"arrowstyle": "-", "color": look(k)["color"], "linewidth": 0.8},
        )  # fmt: skip
