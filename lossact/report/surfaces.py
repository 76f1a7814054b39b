"""Figures of a neuron's surfaces over weight and bias."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]
from numpy.typing import NDArray
from torch import linspace as torch_linspace

from lossact.functional import Gap, Grid, Mesh, Neuron, mesh
from lossact.functional.mesh import level_lines
from lossact.functional.surfaces import Quantity
from lossact.palette import DIVERGING, INK, LINE, PANEL, SEQUENTIAL, SOFT
from lossact.report.figure import save_figure
from lossact.report.neuron_words import ACTIVATION_WORDS, LOSS_WORDS, QUANTITY_WORDS, surface_title
from lossact.report.style import styled

ACROSS = 6  # points on a level line
ELEVATION, AZIMUTH = 24.0, -58.0  # w x + b runs from left to right, and level lines go into the picture
SHADE = 0.22  # how much darker a facet is that faces away from the light
GAP_WORDS = {"infinite": "infinite", "undefined": "undefined", "beyond the limit": "beyond the scale"}


def figure_list(activations: Sequence[str], losses: Sequence[str]) -> list[tuple[str, Neuron, Quantity]]:
    """Return (file name, neuron, quantity) of each figure: an output an activation, a loss and a gradient a pair."""
    figures: list[tuple[str, Neuron, Quantity]] = [
        (f"output_{activation}", Neuron(activation, losses[0]), "output") for activation in activations
    ]
    for loss in losses:
        for activation in activations:
            neuron = Neuron(activation, loss)
            figures += [(f"loss_{activation}_{loss}", neuron, "loss")]
            figures += [(f"gradient_{activation}_{loss}", neuron, "gradient_w")]
    return figures


@styled
def surface_figure(shown: Mesh) -> Figure:
    """Return a surface in three dimensions; what is undefined or infinite is left out and marked on the floor."""
    figure = Figure(figsize=(8, 6))
    axes: Any = figure.add_axes((0.0, 0.06, 0.9, 0.86), projection="3d")
    norm, colours = draw_surface(axes, shown)
    figure.text(0.04, 0.94, surface_title(shown.neuron, shown.quantity), fontsize=17, weight="bold")
    figure.text(0.04, 0.02, textwrap.fill(_note(shown), 95), fontsize=11, color=SOFT.light)
    bar_axes = figure.add_axes((0.9, 0.25, 0.022, 0.42))
    bar = figure.colorbar(mpl.cm.ScalarMappable(norm, colours), cax=bar_axes, ticks=_ticks(shown))
    bar.outline.set_visible(False)
    bar_axes.tick_params(labelsize=11)
    figure.text(0.93, 0.7, QUANTITY_WORDS[shown.quantity], fontsize=12, ha="center")
    return figure


@styled
def sheet_figure(meshes: Sequence[Sequence[Mesh]]) -> Figure:
    """Return one sheet of all surfaces, a row for each activation."""
    rows, columns = len(meshes), max(map(len, meshes))
    figure = Figure(figsize=(3.5 * columns, 3.3 * rows + 0.3))
    for row, of_activation in enumerate(meshes):
        for column, shown in enumerate(of_activation):
            # Room on the right for the numbers of the last column, and below for the note.
            width, height = 0.98 / columns, 0.91 / rows
            box = (column * width, 0.97 - (row + 1) * height, width, height * 0.94)
            axes: Any = figure.add_axes(box, projection="3d")
            draw_surface(axes, shown, small=True)
            figure.text(box[0] + width / 2, box[1] + height * 0.93, _short_title(shown), ha="center", weight="bold")
    figure.text(0.5, 0.015, f"height and colour show the same value; {_note(meshes[0][0], False)}",
                fontsize=11, ha="center", color=SOFT.light)  # fmt: skip
    return figure


def draw_surface(axes: Any, shown: Mesh, *, small: bool = False) -> tuple[Normalize, Any]:
    """Draw a mesh into axes of three dimensions.

    Args:
        axes: matplotlib's Axes3D.
        shown: the mesh.
        small: with few ticks and short labels, for a sheet.

    Returns:
        the scale of the colours, and the colours.
    """
    ticks = _ticks(shown)
    finite = shown.values[shown.values.isfinite()]
    norm = Normalize(
        *((min(ticks[0], float(finite.min())), max(ticks[-1], float(finite.max()))) if len(finite) else (0, 1))
    )
    colours = mpl.colormaps[DIVERGING if shown.quantity.startswith("gradient") else SEQUENTIAL]
    w, b, values = shown.w.numpy(), shown.b.numpy(), shown.values.numpy()
    corners = np.stack((w, b, np.broadcast_to(values[:, None], w.shape)), axis=-1)
    facets = np.stack((corners[:-1, :-1], corners[1:, :-1], corners[1:, 1:], corners[:-1, 1:]), axis=2)
    whole = np.isfinite(facets).all(axis=(2, 3))
    heights = 0.5 * (values[:-1] + values[1:])
    faces = colours(norm(heights))
    faces[:, :3] *= _brightness(shown, ticks)[:, None]
    face_colours = np.broadcast_to(faces[:, None], (*whole.shape, 4))[whole]
    surface = Poly3DCollection(facets[whole], facecolors=face_colours, edgecolors=face_colours, linewidths=0.4)
    surface.set_rasterized(True)
    axes.computed_zorder = False
    for gap in shown.gaps:
        _mark_gap(axes, shown, gap, ticks[0], small=small)
    axes.add_collection3d(surface)
    width = 1.0 if small else 1.6
    axes.plot(w[:, 0], b[:, 0], values, color=SOFT.light, linewidth=width / 2, zorder=0.5)  # the far edge
    axes.plot(w[:, -1], b[:, -1], values, color=INK.light, linewidth=width, zorder=5)  # the near one: the profile
    axes.set(xlim=shown.grid.w, ylim=shown.grid.b, zlim=(norm.vmin, norm.vmax))
    _dress(axes, shown, ticks, small=small)
    return norm, colours


def _brightness(shown: Mesh, ticks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how bright the facets between two rows are: slopes that rise to the right turn away from the light."""
    z, values = shown.z.numpy(), shown.values.numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.diff(values) / (ticks[-1] - ticks[0]) * np.ptp(z[np.isfinite(z)]) / np.diff(z)
    brightness: NDArray[np.float64] = 1 - SHADE * np.clip(np.nan_to_num(np.arctan(slope) / (np.pi / 2)), 0, 1)
    return brightness


def _mark_gap(axes: Any, shown: Mesh, gap: Gap, floor: float, *, small: bool) -> None:
    """Hatch the floor where there is no surface, and say why."""
    z = torch_linspace(gap.low, gap.high, 33, dtype=shown.z.dtype)
    w, b = (part.numpy() for part in level_lines(z, shown.grid, 2))
    outline = np.stack((np.r_[w[:, 0], w[::-1, 1]], np.r_[b[:, 0], b[::-1, 1]]), axis=1)
    region = np.column_stack((outline, np.full(len(outline), floor)))
    floor_region = Poly3DCollection(
        [region], facecolors=PANEL.light, edgecolors=LINE.light, linewidths=0.8, hatch="///", zorder=0
    )
    axes.add_collection3d(floor_region)
    if not small:
        place = 0.62 * gap.low + 0.38 * gap.high if gap.low <= shown.z.min() else 0.38 * gap.low + 0.62 * gap.high
        middle_w, middle_b = (float(part.mean()) for part in level_lines(z.new_tensor([place]), shown.grid, 2))
        axes.text(middle_w, middle_b, floor, GAP_WORDS[gap.kind], ha="center", va="center", fontsize=11,
                  color=INK.light, zorder=6)  # fmt: skip


def _dress(axes: Any, shown: Mesh, ticks: NDArray[np.float64], *, small: bool) -> None:
    """Set the camera, ticks and labels."""
    # For a negative input the level lines run the other way, and so does the camera.
    axes.view_init(elev=ELEVATION, azim=AZIMUTH if shown.grid.x >= 0 else AZIMUTH + 90)
    axes.set_proj_type("persp", focal_length=1.6)
    axes.set_box_aspect((1, 1, 0.62), zoom=1.12)
    size = 8 if small else 11
    for axis, label in ((axes.xaxis, "weight w"), (axes.yaxis, "bias b")):
        low, high = axis.get_view_interval()
        ticks_here = MaxNLocator(2 if small else 4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        # The last label would lie on the first of the next axis.
        axis.set_ticks([tick for tick in ticks_here if low <= tick < high - 0.04 * (high - low)])
        axis.set_rotate_label(False)
        axis.set_label_text(label if not small else label[-1], fontsize=size + 1, rotation=0)
        axis.labelpad = -6 if small else 8
    axes.set_zticks(ticks[:: 2 if small and len(ticks) > 4 else 1])
    axes.tick_params(labelsize=size, pad=-3 if small else 1)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.pane.set(facecolor=PANEL.light, edgecolor=LINE.light, alpha=1)
        axis.line.set_color(SOFT.light)
        axis._axinfo["grid"].update(color=LINE.light, linewidth=0.6)


def _ticks(shown: Mesh) -> NDArray[np.float64]:
    """Return few round ticks that hold all values between them."""
    values = shown.values[shown.values.isfinite()]
    low, high = (float(values.min()), float(values.max())) if values.numel() else (0.0, 1.0)
    if shown.quantity == "output":
        low = min(low, 0.0)
    if shown.quantity == "loss":
        low = 0.0
    if shown.quantity.startswith("gradient"):
        high = max(abs(low), abs(high))
        low = -high
    if high - low < 1e-12:
        high, low = high + 0.5, low - 0.5
    ticks: NDArray[np.float64] = np.asarray(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    slack = 0.02 * (high - low)
    first, last = np.flatnonzero(ticks <= low + slack)[-1], np.flatnonzero(ticks >= high - slack)[0]
    return ticks[first : last + 1]


def _note(shown: Mesh, with_gaps: bool = True) -> str:
    parts = [f"x = {shown.grid.x:g}, y = {shown.grid.y:g}"]
    if with_gaps and shown.gaps:
        parts.append("left out where it is infinite or undefined")
    if with_gaps and shown.limit is not None:
        parts.append(f"cut off at {_limit_words(shown)}: it grows without bound")
    return "; ".join(parts)


def _limit_words(shown: Mesh) -> str:
    return f"{'±' if shown.quantity.startswith('gradient') else ''}{shown.limit:g}"


def _short_title(shown: Mesh) -> str:
    activation, loss = ACTIVATION_WORDS[shown.neuron.activation], LOSS_WORDS[shown.neuron.loss]
    pair = f"{activation}, {loss}"
    return {"output": f"{activation}: output"}.get(shown.quantity, f"{pair}: {shown.quantity.partition('_')[0]}")


def draw_surfaces(
    directory: Path, activations: Sequence[str], losses: Sequence[str], grids: Mapping[str, Grid]
) -> list[tuple[str, str]]:
    """Write every surface as PNG and SVG.

    Args:
        directory: where to; must exist.
        activations, losses: names.
        grids: of each activation.

    Returns:
        (file name without suffix, title) of each.
    """
    written = []
    for name, neuron, quantity in figure_list(activations, losses):
        shown = mesh(neuron, quantity, grids[neuron.activation], across=ACROSS)
        save_figure(surface_figure(shown), directory / name)
        written.append((name, surface_title(neuron, quantity)))
    return written


def draw_sheet(
    directory: Path, activations: Sequence[str], losses: Sequence[str], grids: Mapping[str, Grid]
) -> tuple[str, str]:
    """Write one sheet of all surfaces as PNG and SVG.

    Args:
        directory: where to; must exist.
        activations, losses: names.
        grids: of each activation.

    Returns:
        its file name without suffix, and its title.
    """
    figures = figure_list(activations, losses)
    rows = [
        [
            mesh(neuron, quantity, grids[name], across=ACROSS)
            for _, neuron, quantity in figures
            if neuron.activation == name
        ]
        for name in activations
    ]
    save_figure(sheet_figure(rows), directory / "all_surfaces", dpi=110)
    return "all_surfaces", "All surfaces on one sheet"
