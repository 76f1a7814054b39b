"""Charts of a report: small pictures drawn by matplotlib, as SVG that takes the page's colours."""

import io
import math
import re
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lossact.palette import INK, SERIES, SOFT, VERDICTS, css_variables
from lossact.report.curve_axes import draw_arrivals, draw_curves
from lossact.report.learning_curves import measured_order
from lossact.report.stored import StoredCondition
from lossact.report.style import DASHES, STYLE, series_look

N_SERIES = len(SERIES)  # then the colours come again
N_SINGLE_RUNS = 3

_PAGE_COLOURS = {colour.light: f"var(--{name})" for name, colour in css_variables().items()}
_PAGE_COLOURS[INK.light] = "currentColor"
_STYLE: Any = STYLE | {"font.size": 9, "axes.labelsize": 9, "lines.linewidth": 1.6}


def series(k: int) -> dict[str, str]:
    """Return the k-th line of a chart as SVG draws it: its colour, and its dashes."""
    dashes = DASHES[k % len(DASHES)]
    pattern = "" if isinstance(dashes, str) else " ".join(str(1.6 * length) for length in dashes[1])
    return {"colour": f"var(--series-{k % N_SERIES})", "dashes": pattern}


def evidence_chart(evidence_path: dict[str, list[float]], *, needed: float, decided_at: int | None) -> Markup:
    """Return both e-values by replicas, and the line at which they decide.

    Args:
        evidence_path: as a claim's result holds it.
        needed: the e-value that decides, 1 / alpha.
        decided_at: after how many replicas the verdict fell, if it did.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _axes("replicas", "evidence")
        for name, colour, dashes in (
            ("log_support", VERDICTS["supported"].light, "-"),
            ("log_refute", VERDICTS["refuted"].light, DASHES[1]),
        ):
            values = np.array(evidence_path[name]) / math.log(10)
            axes.plot(evidence_path["replicas"], values, color=colour, linestyle=dashes, gid=name)
        axes.axhline(math.log10(needed), color=INK.light, linewidth=0.8)
        if decided_at is not None:
            axes.axvline(decided_at, color=INK.light, linestyle=":", linewidth=0.8)
        axes.set_ylim(bottom=-2, top=max(axes.get_ylim()[1], math.log10(needed) + 1))
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter("$10^{{{x:.0f}}}$")
        return _svg(figure)


def reach_chart(conditions: Sequence[StoredCondition]) -> Markup:
    """Return the share of replicas that had met the target, by updates: one minus Kaplan-Meier's estimate."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes("updates", "reached")
        draw_arrivals(axes, conditions, series_look)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        return _svg(figure)


def curve_charts(conditions: Sequence[StoredCondition]) -> dict[str, Markup]:
    """Return the loss and metric by updates: median, band and single runs; nothing where no curves are kept.

    Returns:
        each chart by what it shows.
    """
    kept = [(k, condition) for k, condition in enumerate(conditions) if len(condition.curves or ())]
    if not kept:
        return {}
    names = sorted({condition.metric_name for _, condition in kept})
    quantities: list[tuple[Literal["loss", "metric"], str]] = [("loss", "loss"), ("metric", " or ".join(names))]
    with mpl.rc_context(_STYLE):
        charts = {}
        for quantity, label in quantities:
            figure, axes = _axes("updates", label)
            draw_curves(axes, kept, quantity, series_look, single_runs=N_SINGLE_RUNS)
            charts[label if label not in charts else f"{label} (metric)"] = _svg(figure)
    return charts


def order_chart(conditions: Sequence[StoredCondition]) -> Markup:
    """Return a claimed order, which is that of the conditions, beside the measured one."""
    order = measured_order(conditions)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.2, 0.5 + 0.45 * len(conditions)))
        axes = figure.add_axes((0, 0, 1, 1))
        for k, condition in enumerate(conditions):
            axes.plot([0, 1], [k, order.index(k)], marker="o", gid=f"series-{k}", **series_look(k))
            name = condition.name.replace("$", r"\$")
            name = name if len(name) <= 18 else name[:17] + "…"
            axes.text(-0.08, k, name, ha="right", va="center")
            axes.text(1.08, order.index(k), name, ha="left", va="center")
        axes.text(0, -0.7, "claimed", ha="center", color=SOFT.light)
        axes.text(1, -0.7, "measured", ha="center", color=SOFT.light)
        axes.set(xlim=(-1.1, 2.1), ylim=(len(conditions) - 0.5, -1.1))
        axes.set_axis_off()
        return _svg(figure)


def prefix_ids(chart: Markup, prefix: str) -> Markup:
    """Return the chart with ids that begin with a prefix, for a page that holds it more than once."""
    return Markup(re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{prefix}-", str(chart)))


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.2, 2.5))
    figure.subplots_adjust(left=0.16, right=0.96, bottom=0.18, top=0.97)
    axes = figure.add_subplot(xlabel=x, ylabel=y.replace("$", r"\$"))
    axes.margins(x=0.01)
    return figure, axes


def _svg(figure: Figure) -> Markup:
    """Return the picture as a part of a page, without a background."""
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = file.getvalue()
    text = re.sub(r' id="[A-Za-z2.]+_\d+"', "", text[text.index("<svg") :])
    for colour, of_page in _PAGE_COLOURS.items():
        text = text.replace(colour, of_page)
    return Markup(text)
