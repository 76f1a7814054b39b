"""Intervals of claims, one below the other."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from lossact.claims.result import ClaimResult
from lossact.palette import LINE, SOFT, VERDICTS
from lossact.report.formatting import short_name
from lossact.report.style import styled


@styled
def intervals_figure(results: Sequence[ClaimResult]) -> Figure:
    """Return each claim's effect and interval, held against its thresholds; theorems have none and are left out.

    So are effects in a measure's unit, which have no common axis.
    """
    shown = [result for result in results if not result.exact and not result.verdict.effect.unit]
    figure = Figure(figsize=(9, 1.2 + 0.42 * len(shown)), layout="constrained")
    axes = figure.add_subplot(xlim=(0, 1), ylim=(len(shown) - 0.4, -0.6), xlabel="effect, and its confidence sequence")
    for row, result in enumerate(shown):
        effect = result.verdict.effect
        colour = VERDICTS[result.name].light
        if result.thresholds:
            low, *_, high = result.thresholds
            axes.fill_betweenx([row - 0.5, row + 0.5], low, high, color=LINE.light, alpha=0.6, zorder=0)
        axes.vlines(result.thresholds, row - 0.5, row + 0.5, color=SOFT.light, linewidth=0.8, zorder=1)
        axes.plot([effect.low, effect.high], [row, row], color=colour, linewidth=3, solid_capstyle="butt")
        axes.plot(effect.value, row, "o", color=colour)
    axes.set_yticks(range(len(shown)), [f"{short_name(result)}\n{result.name}" for result in shown], fontsize=8)
    return figure
