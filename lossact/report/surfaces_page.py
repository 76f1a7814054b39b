"""A page on which a neuron's surfaces are turned by hand, and its input, target, activation and losses changed."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import matplotlib as mpl
from matplotlib.colors import to_hex

from lossact.functional import RANGES, Grid
from lossact.palette import DIVERGING, SEQUENTIAL, css
from lossact.report.surfaces import figure_list

ROWS = 61  # along z, at least
SCRIPTS = ("neuron.js", "mesh.js", "profile.js", "page.js")


def write_page(directory: Path, activations: Sequence[str], losses: Sequence[str], grids: Mapping[str, Grid]) -> Path:
    """Write surfaces.html and, beside it, surfaces.js with all that it runs; no network is needed.

    Without WebGL the page shows the pictures of the pairs that lie beside it.

    Args:
        directory: where to; must exist.
        activations, losses: names; the first ones are shown first.
        grids: of each of these activations: ranges, and the input and target shown first.

    Returns:
        the page.
    """
    from plotly.offline import get_plotlyjs

    first = grids[activations[0]]
    ranges = {name: {"w": ends, "b": ends} for name, ends in RANGES.items()}
    ranges |= {name: {"w": grid.w, "b": grid.b} for name, grid in grids.items()}
    setup = {
        "state": {
            "activation": activations[0],
            "left": losses[0],
            "right": losses[min(1, len(losses) - 1)],
            "quantity": "loss",
            "x": first.x,
            "y": first.y,
        },
        "ranges": ranges,
        "rows": ROWS,
        "drawn": {"pictures": [name for name, _, _ in figure_list(activations, losses)], "x": first.x, "y": first.y},
        "sequential": _colour_scale(SEQUENTIAL),
        "diverging": _colour_scale(DIVERGING),
    }
    parts = files("lossact.report").joinpath("page")
    scripts = [parts.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS]
    whole = "\n".join([get_plotlyjs(), f"const SETUP = {json.dumps(setup)};", *scripts])
    (directory / "surfaces.js").write_text(whole, encoding="utf-8")
    page = directory / "surfaces.html"
    html = parts.joinpath("page.html").read_text(encoding="utf-8")
    page.write_text(html.replace("/* palette */\n", css()), encoding="utf-8")
    return page


def _colour_scale(name: str) -> list[tuple[float, str]]:
    """Return a colour map of matplotlib as plotly takes it."""
    return [(k / 20, to_hex(mpl.colormaps[name](k / 20))) for k in range(21)]
