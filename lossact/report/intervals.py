"""Intervals of claims, one below the other."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from lossact.claims.result import ClaimResult

COLOURS = {"supported": "#1a7f37", "refuted": "#c93c37", "inconclusive": "#9a6700"}


def intervals_figure(results: Sequence[ClaimResult], *, delta: float) -> Figure:
    """Each claim's effect and interval, held against 1/2 and 1/2 + delta; theorems have none and are left out.

    Args:
        results: of a run.
        delta: the smallest margin that matters.
    """
    shown = [result for result in results if not result.exact]
    figure = Figure(figsize=(9, 1.2 + 0.42 * len(shown)), layout="constrained")
    axes = figure.add_subplot(xlim=(0, 1), ylim=(len(shown) - 0.4, -0.6), xlabel="effect, and its confidence sequence")
    axes.axvline(0.5, color="black", linewidth=1)
    axes.axvspan(0.5, 0.5 + delta, color="0.9", zorder=0)
    for row, result in enumerate(shown):
        effect = result.verdict["effect"]
        colour = COLOURS[result.name]
        axes.plot([effect["low"], effect["high"]], [row, row], color=colour, linewidth=3, solid_capstyle="butt")
        axes.plot(effect["value"], row, "o", color=colour)
    axes.set_yticks(range(len(shown)), [f"{short_name(one)}\n{one.name}" for one in shown], fontsize=8)
    return figure


def short_name(result: ClaimResult) -> str:
    """The claim's name without file and prefix."""
    return result.id.rpartition("::")[2].removeprefix("test_")
