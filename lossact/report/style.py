"""The style of every figure."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from cycler import cycler

from lossact.palette import INK, LINE, PAPER, SERIES

P = ParamSpec("P")
T = TypeVar("T")

DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
STYLE: Any = {
    "axes.edgecolor": INK.light, "axes.labelcolor": INK.light, "xtick.color": INK.light, "ytick.color": INK.light,
    "text.color": INK.light, "axes.titlecolor": INK.light, "figure.facecolor": PAPER.light,
    "axes.facecolor": PAPER.light, "savefig.facecolor": PAPER.light, "grid.color": LINE.light,
    "axes.spines.top": False, "axes.spines.right": False, "font.family": "sans-serif", "font.size": 11,
    "axes.titlesize": 13, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.labelsize": 11,
    "figure.titlesize": 15, "figure.titleweight": "bold", "legend.frameon": False, "lines.linewidth": 2.0,
    "axes.prop_cycle": cycler(color=[colour.light for colour in SERIES]), "hatch.linewidth": 0.7,
    "hatch.color": LINE.light, "svg.fonttype": "none", "svg.hashsalt": "lossact", "path.simplify_threshold": 0.5,
}  # fmt: skip


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Make a function draw in lossact's style, regardless of the user's matplotlib settings."""

    @wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> T:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(STYLE)
            return draw(*args, **kwargs)

    return in_style


def series_look(k: int) -> dict[str, Any]:
    """Return colour and dashes of the k-th line of a figure."""
    return {"color": SERIES[k % len(SERIES)].light, "linestyle": DASHES[k % len(DASHES)]}
