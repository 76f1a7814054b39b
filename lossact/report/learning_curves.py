"""Figures of how conditions learn: their curves, who arrives when, and in which order."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from lossact.palette import LINE, SOFT
from lossact.report.curve_axes import N_SINGLE_RUNS, arrivals, draw_arrivals, draw_curves, label_arrivals
from lossact.report.formatting import share
from lossact.report.stored import StoredCondition
from lossact.report.style import series_look, styled


@styled
def curves_figure(conditions: Sequence[StoredCondition], *, series: Sequence[int] | None = None) -> Figure:
    """Return the loss and metric against the updates, a column for each condition; no metric where none was measured.

    Args:
        conditions: all with curves.
        series: the number of each one's colour, so that figures of the same conditions agree; 0, 1, … by default.
    """
    columns = len(conditions)
    quantities: list[Literal["loss", "metric"]] = ["loss", "metric"]
    if all(condition.metric_is_loss for condition in conditions):
        quantities.remove("metric")
    width = 4.6 if columns == 1 else 3.1 * columns
    figure = Figure(figsize=(width + 0.6, 0.8 + 2.4 * len(quantities)), layout="constrained")
    panels = figure.subplots(len(quantities), columns, sharex=True, squeeze=False)
    for column, condition in enumerate(conditions):
        for axes, quantity in zip(panels[:, column], quantities, strict=True):
            if quantity == "metric" and condition.metric_is_loss:
                axes.set_axis_off()
                continue
            draw_curves(axes, [(column if series is None else series[column], condition)], quantity, _solid)
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
            axes.grid(True, linewidth=0.6)
        panels[0, column].set_title(condition.name)
        panels[0, column].set_ylim(bottom=min(0.0, panels[0, column].get_ylim()[0]))
        panels[-1, column].set_xlabel("update")
        if "metric" in quantities and condition.metric_name == "accuracy" and not condition.metric_is_loss:
            panels[1, column].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    measured = [column for column, condition in enumerate(conditions) if not condition.metric_is_loss]
    if measured and all(conditions[column].metric_name == "accuracy" for column in measured):
        _share_range([panels[1, column] for column in measured])
    panels[0, 0].set_xlim(0, max(map(_last_update, conditions)))
    panels[0, 0].set_ylabel("loss")
    if measured:
        panels[1, measured[0]].set_ylabel(conditions[measured[0]].metric_name)
    kept = min(len(condition.curves or ()) for condition in conditions)
    note = f"thick: median of {kept} replicas; band: 80% of them; thin: {min(N_SINGLE_RUNS, kept)} single runs"
    if columns == 1:
        note = note.replace("; thin", ";\nthin")
    figure.supxlabel(note, fontsize=10, color=SOFT.light)
    return figure


@styled
def arrivals_figure(
    conditions: Sequence[StoredCondition], *, title: str = "", series: Sequence[int] | None = None
) -> Figure:
    """Return the share of replicas that have met the target, by updates, up to the budget; names are sorted by it.

    Args:
        conditions: each a line.
        title: of the figure.
        series: the number of each one's colour and dashes; 0, 1, … by default.
    """
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    _draw_arrivals(axes, conditions, series)
    figure.suptitle(title or "Who has arrived", x=0.01, ha="left")
    return figure


@styled
def order_figure(conditions: Sequence[StoredCondition], *, title: str = "") -> Figure:
    """Return a claimed order beside the measured one, and the arrivals that it comes from.

    Args:
        conditions: in the claimed order, the fastest first; over the same replicas.
        title: of the figure.
    """
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.7))
    order = measured_order(conditions)
    n = len(conditions)
    for k, condition in enumerate(conditions):
        rank, look = order.index(k), series_look(k)
        left.plot([0, 1], [k + 1, rank + 1], linewidth=3, marker="o", markersize=15, **look)
        left.annotate(condition.name, (0, k + 1), (-14, 0), textcoords="offset points", ha="right", va="center",
                      color=look["color"], weight="bold", fontsize=12)  # fmt: skip
        left.annotate(condition.name, (1, rank + 1), (14, 0), textcoords="offset points", ha="left", va="center",
                      color=look["color"], weight="bold", fontsize=12)  # fmt: skip
        for place, number in ((0, k + 1), (1, rank + 1)):
            left.text(place, number, str(number), ha="center", va="center_baseline", color="white", fontsize=10,
                      weight="bold")  # fmt: skip
    left.set(xlim=(-0.95, 1.95), ylim=(n + 0.6, 0.2), xticks=[], yticks=[])
    left.spines[:].set_visible(False)
    left.text(0, 0.4, "claimed", ha="center", fontsize=13)
    left.text(1, 0.4, "measured", ha="center", fontsize=13)
    _draw_arrivals(right, conditions)
    same, replicas = runs_in_order(conditions)
    figure.suptitle(title or "The claimed order and the measured one", x=0.01, ha="left")
    figure.supxlabel(
        f"measured: by the mean rank over {replicas} replicas, each on the same data and from its own start; "
        f"a single run of each shows the claimed order in {same} of {replicas} ({share(same, replicas)})",
        fontsize=10, color=SOFT.light,
    )  # fmt: skip
    return figure


def measured_order(conditions: Sequence[StoredCondition]) -> list[int]:
    """Return the conditions' indices, by their mean rank within a replica; those that never arrive share the last."""
    steps = _steps(conditions)
    earlier = (steps[:, None] < steps[None]).sum(axis=(0, 2)) + 0.5 * (steps[:, None] == steps[None]).sum(axis=(0, 2))
    order: list[int] = np.argsort(earlier, kind="stable").tolist()
    return order


def runs_in_order(conditions: Sequence[StoredCondition]) -> tuple[int, int]:
    """Return in how many replicas every condition arrived, each before the next, and the number of replicas."""
    steps = _steps(conditions)
    in_order = np.isfinite(steps).all(axis=0) & (steps[:-1] < steps[1:]).all(axis=0)
    return int(in_order.sum()), steps.shape[1]


def _solid(k: int) -> dict[str, Any]:
    """Return the style of a series on separate axes."""
    return series_look(k) | {"linestyle": "-"}


def _steps(conditions: Sequence[StoredCondition]) -> NDArray[np.float64]:
    """Return updates (conditions, replicas) to the target, inf where it was not met."""
    n = min(len(condition.trials) for condition in conditions)
    parts = [condition.trials.first(n) for condition in conditions]
    return np.stack([np.where(part.reached, part.steps.astype(np.float64), np.inf) for part in parts])


def _draw_arrivals(axes: Axes, conditions: Sequence[StoredCondition], series: Sequence[int] | None = None) -> None:
    def look(k: int) -> dict[str, Any]:
        return series_look(k if series is None else series[k])

    draw_arrivals(axes, conditions, look)
    label_arrivals(axes, conditions, look)
    budgets = {condition.trials.budget for condition in conditions}
    for budget in budgets:
        axes.axvline(budget, color=SOFT.light, linewidth=1)
    axes.set(xlabel=f"updates (budget: {' or '.join(map(str, sorted(budgets)))})", ylabel="replicas that have arrived")
    axes.set_xlim(0, max(budgets))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(True, color=LINE.light, linewidth=0.6)
    last = [arrivals(condition)[-1] for condition in conditions]
    axes.set_ylim(-0.02, max(1.02, max(last)))


def _last_update(condition: StoredCondition) -> float:
    """Return the end of an axis of updates: the budget, or less where every replica arrived long before."""
    trials = condition.trials
    return min(trials.budget, 2 * int(trials.steps.max())) if trials.reached.all() else trials.budget


def _share_range(panels: Sequence[Axes]) -> None:
    """Give axes the same range."""
    lows, highs = zip(*(axes.get_ylim() for axes in panels), strict=True)
    for axes in panels:
        axes.set_ylim(min(lows), max(highs))
