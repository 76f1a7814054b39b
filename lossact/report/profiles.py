"""Figures of a neuron's loss and gradient against z = w x + b: the surfaces seen from the side."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lossact.functional import ACTIVATIONS, Grid, Mesh, Neuron, mesh
from lossact.palette import INK, LINE, SOFT
from lossact.report.neuron_words import ACTIVATION_WORDS, LOSS_WORDS
from lossact.report.style import series_look, styled

SATURATED = 0.05  # of the derivative's largest value, below which an activation is saturated
VISIBLE = 0.4  # of the limit of an unbounded quantity: how much of it a profile shows beside bounded ones


@styled
def profile_figure(activation: str, losses: Sequence[str], grid: Grid) -> Figure:
    """Return the loss and gradient against z, every loss in one picture, with the saturated sides marked.

    Args:
        activation: a name in ACTIVATIONS.
        losses: names in LOSSES, each a line.
        grid: the ranges of w and b set that of z.
    """
    figure = Figure(figsize=(8, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    neurons = [Neuron(activation, loss) for loss in losses]
    upper.set_ylabel("loss")
    lower.set_ylabel("gradient  d loss / dz")
    for axes, quantity in ((upper, "loss"), (lower, "gradient_b")):
        meshes = [mesh(neuron, quantity, grid) for neuron in neurons]  # type: ignore[arg-type]
        for k, shown in enumerate(meshes):
            axes.plot(shown.z.numpy(), shown.values.numpy(), label=LOSS_WORDS[losses[k]], **series_look(k))
        axes.set_ylim(*value_range(meshes))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.axhline(0, color=SOFT.light, linewidth=0.8, zorder=0)
        _mark_saturated(axes, activation, grid, meshes if axes is lower else [])
        _mark_gaps(axes, meshes, losses, named=axes is lower)
    lower.set_xlabel("z = w x + b")
    lower.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    upper.margins(x=0)
    word = ACTIVATION_WORDS[activation]
    figure.suptitle(f"{word[0].upper()}{word[1:]} neuron, x = {grid.x:g}, y = {grid.y:g}", x=0.01, ha="left")
    upper.legend(loc="lower left", bbox_to_anchor=(0.0, 0.99), ncols=len(losses), fontsize=12, borderaxespad=0.2)
    return figure


def saturated_ranges(activation: str, grid: Grid) -> list[tuple[float, float]]:
    """Return the ranges at either end of z in which the activation's derivative is next to nothing."""
    ends = [w * grid.x + b for w in grid.w for b in grid.b]
    z = torch.linspace(min(ends), max(ends), 2001, dtype=torch.float64)
    slope = ACTIVATIONS[activation].derivative(z).abs()
    flat = np.r_[False, (slope < SATURATED * slope.max()).numpy(), False]
    starts, stops = (np.flatnonzero(np.diff(flat.astype(int)) == side) for side in (1, -1))
    ranges = zip(starts, stops, strict=True)
    return [(float(z[start]), float(z[stop - 1])) for start, stop in ranges if start == 0 or stop == len(z)]


def value_range(meshes: Sequence[Mesh]) -> tuple[float, float]:
    """Return the range of values that a picture of several quantities shows: all of the bounded ones."""
    low = high = 0.0
    for shown in meshes:
        values = shown.values[shown.values.isfinite()]
        if not len(values):
            continue
        visible = np.inf if shown.limit is None else VISIBLE * shown.limit
        low, high = min(low, max(float(values.min()), -visible)), max(high, min(float(values.max()), visible))
    margin = 0.06 * (high - low) or 1.0
    return (low - margin if low < 0 else -0.3 * margin), high + margin


def _mark_saturated(axes: Axes, activation: str, grid: Grid, gradients: Sequence[Mesh]) -> None:
    """Shade the saturated sides; where gradients are shown, name those that vanish there, else the reason."""
    for low, high in saturated_ranges(activation, grid):
        axes.axvspan(low, high, facecolor=LINE.light, alpha=0.45, linewidth=0, zorder=-2)
        middle = (low + high) / 2
        vanishing = [LOSS_WORDS[shown.neuron.loss] for shown in gradients if _vanishes(shown, low, high)]
        if vanishing:
            text = f"{' and '.join(vanishing)} vanish{'es' if len(vanishing) == 1 else ''}"
            axes.annotate(text, (middle, 0), (0, 7), textcoords="offset points", ha="center", fontsize=12)
        elif not gradients:
            word = "inactive" if activation in {"relu", "leaky_relu"} else "saturated"
            axes.text(middle, 0.97, word, transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=12)


def _vanishes(gradient: Mesh, low: float, high: float) -> bool:
    """Return whether a gradient is next to nothing over the outer half of a saturated side."""
    z, values = gradient.z, gradient.values
    middle = (low + high) / 2
    outer = (z <= middle) & (z >= low) if low == z[0] else (z >= middle) & (z <= high)
    largest = float(values[values.isfinite()].abs().max())
    return bool(outer.any()) and largest > 0 and float(values[outer].abs().max()) < SATURATED * largest


def _mark_gaps(axes: Axes, meshes: Sequence[Mesh], losses: Sequence[str], *, named: bool) -> None:
    for shown, loss in zip(meshes, losses, strict=True):
        for gap in shown.gaps:
            axes.axvspan(gap.low, gap.high, facecolor="none", hatch="///", edgecolor=LINE.light, linewidth=0, zorder=-1)
            if named:
                axes.text((gap.low + gap.high) / 2, 0.04, f"{LOSS_WORDS[loss]} undefined",
                          transform=axes.get_xaxis_transform(), ha="center", va="bottom", color=INK.light,
                          fontsize=11)  # fmt: skip


@styled
def error_figure() -> Figure:
    """Return how much of an error each loss sends back through a sigmoid and a ReLU neuron, for 0 <= p <= 1."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    z = torch.linspace(-12, 12, 961, dtype=torch.float64)
    zero, unit = torch.zeros_like(z), torch.tensor(1.0, dtype=torch.float64)
    for k, loss in enumerate(("l2", "cross_entropy")):
        # The target is 0, so that the output is the error.
        gradient = Neuron("sigmoid", loss).gradient_b(zero, z, unit, 0 * unit)
        left.plot(torch.sigmoid(z).numpy(), gradient.numpy(), label=LOSS_WORDS[loss], **series_look(k))
        p = torch.linspace(1e-3, 1 - 1e-3, 999, dtype=torch.float64)
        for target in (0.1, 0.5, 0.9):
            error, sent = (p - target).abs(), Neuron("relu", loss).gradient_b(0 * p, p, unit, target * unit).abs()
            below = p < target
            for side in (below, ~below):
                order = error[side].argsort()
                look = series_look(k) | {"linewidth": 1.4}
                right.plot(error[side][order].numpy(), sent[side][order].numpy(), **look)
    left.annotate("at an error of 1\nL2 sends back nothing", (1, 0.01), (1.0, 0.42), ha="right", fontsize=11,
                  arrowprops={"arrowstyle": "->", "color": SOFT.light})  # fmt: skip
    left.set(title="sigmoid", xlabel="error |p - y|", ylabel="size of the gradient |d loss / dz|", ylim=(-0.02, 1.05))
    right.set(title="ReLU, targets 0.1, 0.5 and 0.9", xlabel="error |p - y|", ylim=(-0.1, 6), xlim=(-0.01, 0.91))
    left.legend(loc="upper left", fontsize=12)
    return figure
