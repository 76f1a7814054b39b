"""Figures of gradient descent on a neuron's loss."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from lossact.functional import Descent, Grid, Neuron, surface
from lossact.palette import PAPER, SEQUENTIAL, SERIES
from lossact.report.figure import save_figure
from lossact.report.neuron_words import LOSS_UNITS, pair
from lossact.report.style import styled


@styled
def descent_figure(neuron: Neuron, descent: Descent, grid: Grid, *, learning_rate: float) -> Figure:
    """Return the paths of many starts on the loss surface, and their learning curves beside it.

    Args:
        neuron: what learned.
        descent: where it went.
        grid: whose x and y it learned; the picture covers its ranges.
        learning_rate: for the title.
    """
    w, b = (axis.numpy() for axis in grid.axes())
    values = surface(neuron, "loss", grid).values.numpy()
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    levels = left.contourf(
        w, b, np.where(np.isfinite(values), values, np.nan), levels=24, cmap=mpl.colormaps[SEQUENTIAL]
    )
    figure.colorbar(levels, ax=left, label=f"loss ({LOSS_UNITS[neuron.loss]})")
    for k in range(descent.w.shape[1]):
        path_w, path_b = descent.w[:, k].numpy(), descent.b[:, k].numpy()
        colour = SERIES[k % len(SERIES)].light
        left.plot(path_w, path_b, color=PAPER.light, linewidth=4)
        left.plot(path_w, path_b, color=colour, linewidth=2)
        left.plot(path_w[0], path_b[0], "o", color=colour, markeredgecolor=PAPER.light, markersize=9)
        left.plot(path_w[-1], path_b[-1], "s", color=colour, markeredgecolor=PAPER.light, markersize=7)
        start = f"from w = {path_w[0]:g}, b = {path_b[0]:g}"
        end = f"ends at p = {descent.output[-1, k]:.3f}" if descent.loss[-1, k].isfinite() else "loss undefined"
        right.plot(descent.loss[:, k].numpy(), color=colour, label=f"{start}: {end}")
    left.set(xlabel="weight w", ylabel="bias b", xlim=grid.w, ylim=grid.b, title="path (circle to square)")
    right.set(xlabel="step", ylabel=f"loss ({LOSS_UNITS[neuron.loss]})", ylim=(0, None), title="learning curve")
    right.legend()
    right.grid(True)
    figure.suptitle(
        f"{pair(neuron)}: gradient descent, x = {grid.x:g}, y = {grid.y:g}, learning rate {learning_rate:g}"
    )
    return figure


def save_descent(
    directory: Path, neuron: Neuron, descent: Descent, grid: Grid, *, learning_rate: float
) -> tuple[str, str]:
    """Write the descent's figure as PNG and SVG.

    Returns:
        its file name without suffix, and its title.
    """
    name = f"descent_{neuron.activation}_{neuron.loss}"
    save_figure(descent_figure(neuron, descent, grid, learning_rate=learning_rate), directory / name)
    return name, f"{pair(neuron)}: gradient descent"
