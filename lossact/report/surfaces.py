"""Figures of a neuron's surfaces and of its descent."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.figure import Figure
from torch import Tensor

from lossact.functional import Descent, Grid, Neuron, Surface, surface
from lossact.functional.surfaces import Quantity
from lossact.report.figure import save_figure

ACTIVATION_WORDS = {
    "sigmoid": "sigmoid", "relu": "ReLU", "tanh": "tanh", "leaky_relu": "leaky ReLU", "softplus": "softplus",
    "gelu": "GELU", "silu": "SiLU",
}  # fmt: skip
LOSS_WORDS = {"l2": "L2", "cross_entropy": "cross-entropy", "hinge": "hinge", "huber": "Huber"}
LOSS_UNITS = {"l2": "squared units of p", "cross_entropy": "nats", "hinge": "units of p", "huber": "squared units of p"}
COLOURS = "viridis"
DIVERGING = "RdBu_r"


def figure_list(activations: Sequence[str], losses: Sequence[str]) -> list[tuple[str, Neuron, Quantity]]:
    """(file name, neuron, quantity) of every figure: an output per activation, a loss and a gradient per pair."""
    found: list[tuple[str, Neuron, Quantity]] = [
        (f"output_{activation}", Neuron(activation, losses[0]), "output") for activation in activations
    ]
    for loss in losses:
        for activation in activations:
            neuron = Neuron(activation, loss)
            found += [(f"loss_{activation}_{loss}", neuron, "loss")]
            found += [(f"gradient_{activation}_{loss}", neuron, "gradient_w")]
    return found


def draw_surfaces(
    directory: Path, activations: Sequence[str], losses: Sequence[str], grid: Grid
) -> list[tuple[str, str]]:
    """Write every figure as PNG and SVG.

    Figures of one quantity and activation share their colours, so that losses can be compared.

    Returns:
        (file name without suffix, title) of each.
    """
    surfaces = [(name, surface(neuron, quantity, grid)) for name, neuron, quantity in figure_list(activations, losses)]
    written = []
    for name, one in surfaces:
        alike = [
            other.values
            for _, other in surfaces
            if (other.quantity, other.neuron.activation) == (one.quantity, one.neuron.activation)
        ]
        figure = surface_figure(one, largest=max(_largest(values) for values in alike))
        save_figure(figure, directory / name)
        written.append((name, _title(one)))
    return written


def surface_figure(one: Surface, *, largest: float) -> Figure:
    """A surface in three dimensions; what is undefined or infinite is left out.

    Args:
        one: the surface.
        largest: size of the value at the end of the colour scale.
    """
    w, b = (axis.numpy() for axis in one.grid.axes())
    values = one.values.numpy()
    shown = np.where(np.isfinite(values), values, np.nan)
    gradient = one.quantity.startswith("gradient")
    lowest = -largest if gradient else 0.0
    # Losses of one activation differ by orders of magnitude, and share their colours all the same.
    norm = (
        Normalize(min(lowest, float(np.nanmin(shown))), largest)
        if one.quantity == "output"
        else SymLogNorm(linthresh=max(largest / 300, 1e-12), vmin=lowest, vmax=largest)
    )
    colours = mpl.colormaps[DIVERGING if gradient else COLOURS]
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes: Any = figure.add_subplot(projection="3d")
    axes.plot_surface(
        *np.meshgrid(w, b), shown, facecolors=colours(norm(shown)), rstride=1, cstride=1, linewidth=0,
        antialiased=False,
        shade=False, rasterized=True,
    )  # fmt: skip
    axes.set(xlim=one.grid.w, ylim=one.grid.b)
    for set_label, text in ((axes.set_xlabel, "weight w"), (axes.set_ylabel, "bias b"), (axes.set_zlabel, _unit(one))):
        set_label(text, fontsize=13, labelpad=8)
    axes.tick_params(labelsize=11)
    axes.locator_params(nbins=5)
    axes.set_title(_title(one), fontsize=17)
    axes.view_init(elev=28, azim=-128)
    left_out = "" if np.isfinite(values).all() else "; left out where it is infinite or undefined"
    figure.supxlabel(f"x = {one.grid.x:g}, y = {one.grid.y:g}{left_out}", fontsize=13)
    bar = figure.colorbar(mpl.cm.ScalarMappable(norm, colours), ax=axes, shrink=0.6, pad=0.02)
    if one.quantity != "output":
        ends = [largest, largest / 10]
        bar.set_ticks([*(-end for end in ends if gradient), 0.0, *ends])
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
        bar.minorticks_off()
    bar.ax.tick_params(labelsize=11)
    return figure


def descent_figure(neuron: Neuron, descent: Descent, grid: Grid, *, learning_rate: float) -> Figure:
    """Paths of many starts on the loss surface, and their learning curves beside it.

    Args:
        neuron: what learned.
        descent: where it went.
        grid: whose x and y it learned; the picture covers its ranges.
        learning_rate: for the title.
    """
    w, b = (axis.numpy() for axis in grid.axes())
    values = surface(neuron, "loss", grid).values.numpy()
    figure = Figure(figsize=(12, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    levels = left.contourf(w, b, np.where(np.isfinite(values), values, np.nan), levels=24, cmap=COLOURS)
    figure.colorbar(levels, ax=left, label=f"loss ({LOSS_UNITS[neuron.loss]})")
    for k in range(descent.w.shape[1]):
        path_w, path_b = descent.w[:, k].numpy(), descent.b[:, k].numpy()
        colour = f"C{k % 10}"
        left.plot(path_w, path_b, color="white", linewidth=4)
        left.plot(path_w, path_b, color=colour, linewidth=2)
        left.plot(path_w[0], path_b[0], "o", color=colour, markeredgecolor="white", markersize=9)
        left.plot(path_w[-1], path_b[-1], "s", color=colour, markeredgecolor="white", markersize=7)
        start = f"from w = {path_w[0]:g}, b = {path_b[0]:g}"
        end = f"ends at p = {descent.output[-1, k]:.3f}" if descent.loss[-1, k].isfinite() else "loss undefined"
        right.plot(descent.loss[:, k].numpy(), color=colour, label=f"{start}: {end}")
    left.set(xlabel="weight w", ylabel="bias b", xlim=grid.w, ylim=grid.b, title="path (circle to square)")
    right.set(xlabel="step", ylabel=f"loss ({LOSS_UNITS[neuron.loss]})", ylim=(0, None), title="learning curve")
    right.legend()
    right.grid(alpha=0.3)
    figure.suptitle(
        f"{_pair(neuron)}: gradient descent, x = {grid.x:g}, y = {grid.y:g}, learning rate {learning_rate:g}",
        fontsize=14,
    )
    return figure


def save_descent(
    directory: Path, neuron: Neuron, descent: Descent, grid: Grid, *, learning_rate: float
) -> tuple[str, str]:
    """Write the descent's figure as PNG and SVG; returns its file name without suffix and its title."""
    name = f"descent_{neuron.activation}_{neuron.loss}"
    save_figure(descent_figure(neuron, descent, grid, learning_rate=learning_rate), directory / name)
    return name, f"{_pair(neuron)}: gradient descent"


def _largest(values: Tensor) -> float:
    finite = values[values.isfinite()].abs()
    # A pole would leave the rest without colour: the scale ends where all but a hundredth of the surface does.
    return float(np.quantile(finite, 0.99)) if finite.numel() and float(finite.max()) > 0 else 1.0


def _pair(neuron: Neuron) -> str:
    words = f"{ACTIVATION_WORDS[neuron.activation]} with {LOSS_WORDS[neuron.loss]}"
    return words[0].upper() + words[1:]


def _title(one: Surface) -> str:
    activation, loss = ACTIVATION_WORDS[one.neuron.activation], LOSS_WORDS[one.neuron.loss]
    return {
        "output": f"Output of a {activation} neuron",
        "loss": f"{loss[0].upper() + loss[1:]} loss of a {activation} neuron",
        "gradient_w": f"Gradient in w: {activation} with {loss}",
        "gradient_b": f"Gradient in b: {activation} with {loss}",
    }[one.quantity]


def _unit(one: Surface) -> str:
    unit = LOSS_UNITS[one.neuron.loss]
    return {
        "output": "output p",
        "loss": f"loss ({unit})",
        "gradient_w": f"d loss / dw ({unit} per unit of w)",
        "gradient_b": f"d loss / db ({unit} per unit of b)",
    }[one.quantity]
