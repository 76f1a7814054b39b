"""Pictures of what claims about values rest on: the values by condition, and what is compared."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from lossact.claims.value_samples import ValueSamples
from lossact.palette import SOFT
from lossact.report.style import series_look, styled
from lossact.report.value_axes import draw_compared, draw_trend, draw_values, escaped
from lossact.report.value_wording import compared_caption, described, trend_caption, values_caption

CAPTION_WIDTH = 74  # letters over a panel


@dataclass(frozen=True)
class Panel:
    """One picture, not drawn yet.

    Attributes:
        caption: what its marks are.
        description: alternative text for the picture.
        height: of its axes, in rows of values.
        draw: draws it.
        has_scale: whether it has numbers on the left.
    """

    caption: str
    description: str
    height: float
    draw: Callable[[Axes], None]
    has_scale: bool = False


def value_panels(samples: ValueSamples) -> list[Panel]:
    """Return the pictures of what a claim about values rests on.

    Args:
        samples: one entry of a verdict's `value_samples`.

    Returns:
        the values by condition, or by setting of a trend; and what the claim compares.
    """
    panels = []
    if samples.settings:
        seen = described(samples.values, samples.measure, samples.unit)
        panels.append(Panel(trend_caption(samples), seen, 4, partial(draw_trend, samples=samples), True))
    elif samples.values:
        seen = described(samples.values, samples.measure, samples.unit)
        draw = partial(draw_values, samples=samples, look=series_look)
        panels.append(Panel(values_caption(samples), seen, len(samples.values), draw))
    if samples.compared:
        what = f"difference of {samples.measure}" if samples.are_differences else samples.measure
        caption = compared_caption(samples)
        seen = f"{described(samples.compared, what, samples.compared_unit)}. {caption}"
        panels.append(Panel(caption, seen, len(samples.compared), partial(draw_compared, samples=samples)))
    return panels


@styled
def values_figure(samples: ValueSamples, *, title: str = "") -> Figure:
    """Return what a claim about values rests on as one figure.

    Args:
        samples: one entry of a verdict's `value_samples`.
        title: of the figure.

    Returns:
        panels side by side: the values by condition or setting, and what is compared with its estimate.
    """
    panels = value_panels(samples)
    size = (5.6 * len(panels), 1.7 + 0.75 * max(panel.height for panel in panels))
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.15))
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        panel.draw(axes)
        axes.set_title(fill(escaped(panel.caption), CAPTION_WIDTH), fontsize=9, color=SOFT.light, weight="normal")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return figure
