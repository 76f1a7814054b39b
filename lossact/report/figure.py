"""Figures as files."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and SVG, the latter with its text as text and equal for equal figures.

    Returns:
        the two files.
    """
    png, svg = (stem.parent / (stem.name + suffix) for suffix in (".png", ".svg"))
    # numpy now and then warns of an overflow in matplotlib's products of finite numbers.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lossact"}), np.errstate(all="ignore"):
        figure.savefig(png, dpi=150)
        figure.savefig(svg, metadata={"Date": None})
    return [png, svg]
