"""Figures as files."""

import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lossact.palette import Colour, css_variables
from lossact.report.style import styled


@styled
def save_figure(figure: Figure, stem: Path, *, dpi: int = 150) -> list[Path]:
    """Write a figure as PNG and SVG.

    The SVG keeps its text as text, takes dark colours where the viewer prefers them, and is equal for equal figures.

    Args:
        figure: the figure.
        stem: the files' path without its suffix.
        dpi: dots an inch of the PNG, and of what the SVG holds as a picture.

    Returns:
        the two files.
    """
    png, svg = (stem.parent / (stem.name + suffix) for suffix in (".png", ".svg"))
    # numpy now and then warns of an overflow in matplotlib's products of finite numbers.
    with np.errstate(all="ignore"):
        figure.savefig(png, dpi=dpi)
        figure.savefig(svg, dpi=dpi, metadata={"Date": None})
    svg.write_text(with_dark_colours(svg.read_text(encoding="utf-8")), encoding="utf-8")
    return [png, svg]


def with_dark_colours(svg: str) -> str:
    """Return an SVG with rules that put the palette's dark colours in place of its light ones."""
    rules = [
        f'[style*="{part}: {colour.light}"]{{{part}:{colour.dark}!important}}'
        for colour in _colours()
        for part in ("fill", "stroke")
        if f"{part}: {colour.light}" in svg
    ]
    rules += [
        f'[{part}="{colour.light}"]{{{part}:{colour.dark}}}' for colour in _colours() for part in ("fill", "stroke")
    ]
    style = f"<style>@media (prefers-color-scheme: dark) {{{''.join(rules)}}}</style>"
    return re.sub(r"(<svg[^>]*>)", lambda match: match[1] + style, svg, count=1)


def _colours() -> list[Colour]:
    return list(css_variables().values())
