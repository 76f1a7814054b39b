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

from lossact.claims.value_samples import PERCENT, ValueSamples
from lossact.palette import INK, SERIES, SOFT, VERDICTS, css_variables
from lossact.report.curve_axes import draw_arrivals, draw_band, draw_curves
from lossact.report.learning_curves import measured_order
from lossact.report.stored import StoredCondition
from lossact.report.style import DASHES, STYLE, series_look
from lossact.report.value_axes import with_unit
from lossact.report.value_figures import Panel
from lossact.report.value_wording import capitalized

Quantity = tuple[Literal["loss", "metric"], str, list[tuple[int, StoredCondition]]]

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
    """Return the loss and metric by updates: median, band and single runs.

    Nothing where no curves are kept, or where start and end alone were measured.

    Returns:
        each chart by what it shows.
    """
    kept = [(k, condition) for k, condition in enumerate(conditions) if condition.has_curves]
    if not kept:
        return {}
    beside = [(k, condition) for k, condition in kept if not condition.metric_is_loss]
    names = sorted({condition.metric_name for _, condition in beside})
    quantities: list[Quantity] = [("loss", "loss", kept)]
    if beside:
        quantities.append(("metric", " or ".join(names), beside))
    where = "" if any(condition.has_target for _, condition in kept) else " on training examples"
    with mpl.rc_context(_STYLE):
        charts = {}
        for quantity, label, shown in quantities:
            figure, axes = _axes("updates", label)
            draw_curves(axes, shown, quantity, series_look, single_runs=N_SINGLE_RUNS)
            if label == "accuracy":
                axes.yaxis.set_major_formatter(PercentFormatter(1))
            charts[f"{label}{where}" if label not in charts else f"{label} (metric)"] = _svg(figure)
    return charts


def moments_chart(conditions: Sequence[StoredCondition], samples: ValueSamples) -> tuple[str, Markup] | None:
    """Return a measure at all moments at which it was taken, and its caption; None where that is the end alone."""
    measure, _, _ = samples.measure.partition("@")
    scale = 100.0 if samples.unit == PERCENT else 1.0
    taken = [condition.values_by_update(measure) for condition in conditions]
    if max((len(updates) for updates, _ in taken), default=0) < 2:
        return None
    with mpl.rc_context(_STYLE):
        figure, axes = _axes("updates", with_unit(measure, samples.unit))
        left_out = 0
        for k, (updates, values) in enumerate(taken):
            known = np.isfinite(values).all(axis=1)
            left_out += int((~known).sum())
            if known.any():
                draw_band(axes, k, updates, scale * values[known], series_look, single_runs=N_SINGLE_RUNS)
        caption = f"{capitalized(measure)} at each moment: median and 80% band of replicas; thin: single runs"
        return caption + (f"; left out for want of a value: {left_out}" if left_out else ""), _svg(figure)


def value_chart(panel: Panel) -> Markup:
    """Return a picture of a claim's values."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes("", "", height=0.55 + 0.68 * panel.height, left=0.16 if panel.has_scale else 0.04)
        panel.draw(axes)
        return _svg(figure)


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


def _axes(x: str, y: str, *, height: float = 2.5, left: float = 0.16) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.2, height))
    figure.subplots_adjust(left=left, right=0.96, bottom=0.45 / height, top=1 - 0.075 / height)
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
