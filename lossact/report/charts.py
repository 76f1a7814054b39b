"""Charts of a report: small pictures drawn by matplotlib, as SVG that takes the page's colours."""

import io
import math
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lossact.report.stored import StoredCondition
from lossact.stats.bands import QUANTILES, bands, cumulative_incidence

N_SERIES = 8  # colours that the page's style sheet knows; then they come again

_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))

# Colours that stand for the style sheet's until the picture is drawn.
_INK = "#010203"
_SERIES = tuple(f"#f0f0{k:02x}" for k in range(N_SERIES))
_SUPPORT, _REFUTE = "#f1f100", "#f1f101"
_PAGE_COLOURS = {
    _INK: "currentColor",
    _SUPPORT: "var(--supported)",
    _REFUTE: "var(--refuted)",
    **{colour: f"var(--series-{k})" for k, colour in enumerate(_SERIES)},
}
_STYLE = {
    "axes.edgecolor": _INK, "axes.labelcolor": _INK, "xtick.color": _INK, "ytick.color": _INK, "text.color": _INK,
    "axes.spines.top": False, "axes.spines.right": False, "font.size": 9, "svg.fonttype": "none",
    "svg.hashsalt": "lossact", "lines.linewidth": 1.6, "path.simplify_threshold": 0.5,
}  # fmt: skip


def series(k: int) -> dict[str, str]:
    """The k-th line of a chart as SVG draws it: its colour, and its dashes for those who do not see that."""
    dashes = _DASHES[k % len(_DASHES)]
    pattern = "" if isinstance(dashes, str) else " ".join(str(1.6 * one) for one in dashes[1])
    return {"colour": f"var(--series-{k % N_SERIES})", "dashes": pattern}


def evidence_chart(evidence_path: dict[str, list[float]], *, needed: float, decided_at: int | None) -> Markup:
    """Both e-values by replicas, held against what decides.

    Args:
        growth: as stats.Growth gives it.
        needed: the e-value that decides, 1 / alpha.
        decided_at: after how many replicas the verdict fell, if it did.
    """
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        figure, axes = _axes("replicas", "evidence")
        for name, colour, dashes in (("log_support", _SUPPORT, "-"), ("log_refute", _REFUTE, _DASHES[1])):
            values = np.array(evidence_path[name]) / math.log(10)
            axes.plot(evidence_path["replicas"], values, color=colour, linestyle=dashes, gid=name)
        axes.axhline(math.log10(needed), color=_INK, linewidth=0.8)
        if decided_at is not None:
            axes.axvline(decided_at, color=_INK, linestyle=":", linewidth=0.8)
        axes.set_ylim(bottom=-2, top=max(axes.get_ylim()[1], math.log10(needed) + 1))
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter("$10^{{{x:.0f}}}$")
        return _svg(figure)


def reach_chart(conditions: Sequence[StoredCondition]) -> Markup:
    """The share of replicas that had met the target, by updates: one minus Kaplan-Meier's estimate."""
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        figure, axes = _axes("updates", "reached")
        for k, one in enumerate(conditions):
            share = cumulative_incidence(
                one.trials.steps[one.trials.reached], one.trials.budget, replicas=len(one.trials)
            )
            axes.step(np.arange(len(share)), share, where="post", gid=f"series-{k}", **_look(k))
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        return _svg(figure)


def curve_charts(conditions: Sequence[StoredCondition]) -> dict[str, Markup]:
    """Loss and metric by updates, median and the band from the 10% to the 90% quantile; none where none are kept.

    Where one diverges, the axis keeps to the others.

    Returns:
        each by what it shows.
    """
    kept = [(k, one) for k, one in enumerate(conditions) if one.curves is not None and len(one.curves)]
    if not kept:
        return {}
    names = sorted({one.metric_name for _, one in kept})
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        charts = {}
        for name, label in (("loss", "loss"), ("metric", " or ".join(names))):
            figure, axes = _axes("updates", label)
            ranges = []
            for k, one in kept:
                found = bands(name, getattr(one.curves, name))
                low, middle, high = (found[f"{name}/{quantile}"] for quantile in QUANTILES)
                updates, look = np.arange(len(middle)), _look(k)
                axes.fill_between(updates, low, high, color=look["color"], alpha=0.18, linewidth=0)
                axes.plot(updates, middle, gid=f"series-{k}", **look)
                if np.isfinite(high).all() and not one.trials.diverged.any():
                    ranges.append((low.min(), high.max()))
            if 0 < len(ranges) < len(kept):
                bottom, top = np.min(ranges), np.max(ranges)
                margin = 0.05 * (top - bottom)
                axes.set_ylim(bottom - margin, top + margin)
            charts[label if label not in charts else f"{label} (metric)"] = _svg(figure)
    return charts


def _look(k: int) -> dict[str, Any]:
    return {"color": _SERIES[k % N_SERIES], "linestyle": _DASHES[k % len(_DASHES)]}


def prefix_ids(chart: Markup, prefix: str) -> Markup:
    """The chart with ids that begin with the prefix, for a page that holds it more than once."""
    return Markup(re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{prefix}-", str(chart)))


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.2, 2.5))
    figure.subplots_adjust(left=0.16, right=0.96, bottom=0.18, top=0.97)
    axes = figure.add_subplot(xlabel=x, ylabel=y.replace("$", r"\$"))
    axes.margins(x=0.01)
    return figure, axes


def _svg(figure: Figure) -> Markup:
    """The picture as a part of a page, without a background."""
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
