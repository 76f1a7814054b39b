"""The picture of a map."""

import textwrap
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lossact.claims.axis import Axis
from lossact.claims.map import ClaimMap
from lossact.palette import CLAIM_HOLDS, SOFT
from lossact.report.style import styled

MARKS = {"supported": "S", "refuted": "R", "inconclusive": "·"}
COLOURS = mpl.colormaps[CLAIM_HOLDS]


@styled
def map_figure(claim_map: ClaimMap) -> Figure:
    """Return the effect as colour, a letter for each verdict, a line where support begins, a ring at the claim."""
    values = claim_map.values
    diverged = claim_map.diverged()
    x, y = (np.arange(len(axis.values)) for axis in (claim_map.x, claim_map.y))
    figure = Figure(figsize=(max(7, 0.55 * len(x) + 4), max(5.5, 0.45 * len(y) + 2.5)), layout="constrained")
    axes = figure.subplots()
    shades = shades_of(claim_map)
    middle = shades.vcenter
    image = axes.imshow(values, origin="lower", cmap=COLOURS, norm=shades, aspect="auto")
    has_line = min(values.shape) > 1 and values.min() < middle < values.max()
    if has_line:
        axes.contour(x, y, values, levels=[middle], colors="black", linewidths=1.2)
    for row, cells in enumerate(claim_map.cells):
        for column, cell in enumerate(cells):
            shade = "white" if abs(shades(values[row, column]) - 0.5) > 0.3 else "black"
            axes.text(column, row, MARKS[cell.name], ha="center", va="center", color=shade, fontsize=11)
            if diverged[row, column]:
                axes.add_patch(
                    Rectangle(
                        (column - 0.5, row - 0.5), 1, 1, fill=False, hatch="///", edgecolor=SOFT.light, linewidth=0
                    )
                )
    has_ring = False
    if claim_map.reference_point is not None:
        axes_of_map = (claim_map.x, claim_map.y)
        place = [_index(axis, value) for axis, value in zip(axes_of_map, claim_map.reference_point, strict=True)]
        if place[0] is not None and place[1] is not None:
            axes.plot([place[0]], [place[1]], "o", markersize=20, markerfacecolor="none", markeredgecolor="black")
            has_ring = True
    _label(axes.xaxis, claim_map.x)
    _label(axes.yaxis, claim_map.y)
    figure.colorbar(image, ax=axes, label=claim_map.hypothesis.effect_name)
    axes.set_title(_wrapped(repr(claim_map.hypothesis)), fontsize=12)
    line = f"; line at {'1/2' if middle == 0.5 else f'{middle:g}'}" if has_line else ""
    ring = "; ring at the claim's own setting" if has_ring else ""
    figure.supxlabel(textwrap.fill(f"{legend(claim_map)}{line}{ring}", 110), fontsize=9)
    return figure


def shades_of(claim_map: ClaimMap) -> TwoSlopeNorm:
    """Return what places effects on the scale of colours.

    Args:
        claim_map: the map.

    Returns:
        effect -> [0, 1]; it turns at what support is held against, at 1/2 where that is no single probability.
    """
    thresholds = claim_map.hypothesis.thresholds(claim_map.delta)
    return TwoSlopeNorm(thresholds[0] if len(thresholds) == 2 else 0.5, 0, 1)


def legend(claim_map: ClaimMap) -> str:
    """Return what the marks of a map mean, and at which level its cells were decided."""
    parts = ["S supported, R refuted, · open"]
    if claim_map.diverged().any():
        parts.append("hatched where most replicas of a condition diverged")
    exploratory = " (exploratory)" if claim_map.exploratory else ""
    parts.append(f"alpha {claim_map.alpha:.2g} a side in each cell{exploratory}")
    if claim_map.hypothesis.budget and "budget" not in (claim_map.x.path, claim_map.y.path):
        parts.append(f"within {claim_map.hypothesis.budget} updates")
    return "; ".join(parts)


def _index(axis: Axis, value: float) -> float | None:
    values = np.array(axis.values)
    if not values[0] <= value <= values[-1]:
        return None
    steps = np.arange(len(values))
    return float(np.interp(np.log(value), np.log(values), steps) if axis.log else np.interp(value, values, steps))


def _label(axis: Any, claim_axis: Axis) -> None:
    axis.set_ticks(range(len(claim_axis.values)), [f"{value:.3g}" for value in claim_axis.values])
    axis.set_label_text(claim_axis.path.rpartition(".")[2].replace("_", " ") + (" (log)" if claim_axis.log else ""))
    if axis.axis_name == "x":
        axis.set_tick_params(rotation=45)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 58)
