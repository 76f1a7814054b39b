"""Values of replicas, their differences and their trends, drawn into axes of matplotlib."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from lossact.claims.value_samples import Sample, ValueSamples
from lossact.claims.verdict_summary import Estimate
from lossact.palette import INK, LINE, SERIES, SOFT
from lossact.report.curve_axes import Look

Numbers = NDArray[np.float64]

MOST_POINTS = 128  # of a row; of more replicas the points are quantiles at even ranks
MOST_LINES = 40  # of a trend, a replica each
SWARM_BINS = 64  # columns over the width in which points are piled up
HALF_HEIGHT = 0.3  # of a row's points, of 1
FAR = 3.0  # widths of the middle 90% beyond which a value is not drawn at its place
LONGEST_NAME = 56
BAR_BELOW = 0.42  # where an estimate's bar lies under its row


@dataclass(frozen=True)
class Span:
    """The range of an axis of values, without the few that lie far beyond all others.

    Attributes:
        low, high: its ends.
    """

    low: float
    high: float

    @classmethod
    def of(cls, rows: Sequence[Sample], lines: Sequence[float] = ()) -> "Span":
        """Return the range that holds what rows are about, and lines drawn across them.

        Args:
            rows: with their estimates.
            lines: values that are seen whatever the rows hold.
        """
        seen = [number for number in lines if math.isfinite(number)]
        for row in rows:
            numbers = finite(row)
            if len(numbers):
                low, high = np.quantile(numbers, [0.05, 0.95])
                reach = FAR * (high - low) or np.inf
                near = numbers[(numbers >= low - reach) & (numbers <= high + reach)]
                seen += [float(near.min()), float(near.max())]
            if row.estimate is not None:
                ends = (row.estimate.value, row.estimate.low, row.estimate.high)
                seen += [number for number in ends if math.isfinite(number)]
        low, high = (min(seen), max(seen)) if seen else (0.0, 1.0)
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
        return cls(low - margin, high + margin)

    def holds(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Return which numbers lie within."""
        return (numbers >= self.low) & (numbers <= self.high)


def finite(row: Sample) -> Numbers:
    """Return a row's numbers that are finite, ascending."""
    numbers = np.array(row.numbers, dtype=np.float64)
    return np.sort(numbers[np.isfinite(numbers)])


def thinned(numbers: Numbers) -> Numbers:
    """Return the numbers, or of too many the quantiles at even ranks, the smallest and the largest among them."""
    if len(numbers) <= MOST_POINTS:
        return numbers
    ranks = np.linspace(0, len(numbers) - 1, MOST_POINTS).round().astype(np.int64)
    return np.take(numbers, ranks)


def swarm(numbers: Numbers, span: Span) -> Numbers:
    """Return how far each point of a row lies from its middle, so that neighbours stay apart; nothing is random.

    Args:
        numbers: ascending.
        span: of the axis.

    Returns:
        offsets, in [-HALF_HEIGHT, HALF_HEIGHT].
    """
    column = np.floor((numbers - span.low) / (span.high - span.low) * SWARM_BINS)
    offsets = np.zeros(len(numbers))
    tallest = max((int(count) for count in np.unique(column, return_counts=True)[1]), default=1)
    step = min(0.12, HALF_HEIGHT / max(1, tallest // 2))
    for each in np.unique(column):
        members = np.flatnonzero(column == each)
        piled = np.arange(len(members))
        offsets[members] = step * np.where(piled % 2, (piled + 1) // 2, -(piled // 2))
    return offsets


def draw_values(axes: Axes, samples: ValueSamples, look: Look) -> None:
    """Draw a row for each condition: a point a replica, a box from the lower to the upper quartile, the median.

    Args:
        axes: where to.
        samples: with values.
        look: colour of a row.
    """
    span = Span.of(samples.values)
    for k, row in enumerate(samples.values):
        _draw_points(axes, k, row, span, look(k)["color"])
    _finish(axes, samples.values, span)
    axes.set_xlabel(escaped(samples.label))


def draw_compared(axes: Axes, samples: ValueSamples) -> None:
    """Draw a row for each difference: a point a replica, and below them the estimate with its bounds, as a bar.

    The line at no difference is solid, what the claim is held against dashed. A bar without an end has an arrow there.

    Args:
        axes: where to.
        samples: with numbers that the claim is about.
    """
    lines = [*([0.0] if samples.are_differences else []), *samples.margins]
    span = Span.of(samples.compared, lines)
    rows = samples.compared
    for k, row in enumerate(rows):
        bottom, top = k + 0.55, k - 0.36
        if len(samples.margins) == 2:
            axes.fill_betweenx([bottom, top], *samples.margins, color=LINE.light, alpha=0.6, linewidth=0, zorder=0)
        axes.vlines(
            samples.margins,
            bottom,
            top,
            color=INK.light,
            linewidth=1.2,
            linestyle=(0, (3, 1.5)),
            zorder=1,
            gid="margin",
        )
        if samples.are_differences:
            axes.vlines(0, bottom, top, color=INK.light, linewidth=1, zorder=1, gid="zero")
        _draw_points(axes, k, row, span, SERIES[0].light if row.estimate is None else SOFT.light, row.estimate is None)
        if row.estimate is not None:
            _draw_estimate(axes, k + (BAR_BELOW if row.numbers else 0), row.estimate, span)
    _finish(axes, rows, span, is_named=rows[0].name != samples.measure)
    what = f"difference of {samples.measure}" if samples.are_differences else samples.measure
    axes.set_xlabel(escaped(with_unit(what, samples.compared_unit)))


def draw_trend(axes: Axes, samples: ValueSamples) -> None:
    """Draw the values against the setting: a faint line a replica, and the medians.

    Args:
        axes: where to.
        samples: of a trend.
    """
    x = np.array(samples.settings)
    values = np.array([row.numbers for row in samples.values])
    span = Span.of(samples.values)
    for replica in values.T[:MOST_LINES]:
        axes.plot(x, replica, color=SERIES[0].light, linewidth=0.6, alpha=0.35, gid="replica")
    axes.plot(
        x, [row.median for row in samples.values], color=INK.light, linewidth=2, marker="o", markersize=5, gid="medians"
    )
    if x[0] > 0 and x[-1] >= 8 * x[0]:
        axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(x, [f"{number:g}" for number in x])
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_ylim(span.low, span.high)
    axes.set(xlabel="setting", ylabel=escaped(samples.label))


def with_unit(text: str, unit: str) -> str:
    """Return a quantity with its unit in brackets, where it has one."""
    return f"{text} ({unit})" if unit else text


def trimmed(name: str) -> str:
    """Return a name that fits above a row."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _draw_points(axes: Axes, k: int, row: Sample, span: Span, colour: str, has_box: bool = True) -> None:
    numbers = finite(row)
    if not len(numbers):
        return
    points = thinned(numbers)
    points = points[span.holds(points)]
    axes.add_patch(_dots(points, k + swarm(points, span), span, colour, gid=f"points-{k}"))
    if not has_box:
        return
    low, middle, high = np.clip(np.quantile(numbers, [0.25, 0.5, 0.75]), span.low, span.high)
    box: dict[str, Any] = {"color": INK.light, "solid_capstyle": "butt", "zorder": 3}
    corners = np.array([[low, -1], [high, -1], [high, 1], [low, 1], [low, -1]])
    axes.plot(corners[:, 0], k + 0.36 * corners[:, 1], linewidth=0.9, gid=f"box-{k}", **box)
    axes.plot([middle, middle], [k - 0.36, k + 0.36], linewidth=2.2, gid=f"median-{k}", **box)


def _dots(x: Numbers, y: Numbers, span: Span, colour: str, *, gid: str) -> PathPatch:
    """Return points as one path, each a stroke with round ends: a third of the bytes of as many markers in an SVG."""
    length = 1e-4 * (span.high - span.low)  # what has no length at all has no ends either
    vertices = np.stack([x, y, x + length, y], axis=1).reshape(-1, 2)
    path = Path(vertices, np.tile([Path.MOVETO, Path.LINETO], len(x)))
    path.should_simplify = False
    return PathPatch(
        path,
        fill=False,
        color=colour,
        linewidth=3.2 if len(x) <= 64 else 2.4,
        capstyle="round",
        alpha=0.8,
        zorder=2,
        gid=gid,
    )


def _draw_estimate(axes: Axes, y: float, estimate: Estimate, span: Span) -> None:
    low, high = max(estimate.low, span.low), min(estimate.high, span.high)
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return
    ink: dict[str, Any] = {"color": INK.light, "zorder": 4, "clip_on": False}
    axes.plot([low, high], [y, y], linewidth=2.6, solid_capstyle="butt", gid="interval", **ink)
    for end, place, marker in ((estimate.low, low, "<"), (estimate.high, high, ">")):
        if math.isinf(end):
            axes.plot(place, y, marker, markersize=6, gid="no-bound", **ink)
    if math.isfinite(estimate.value):
        axes.plot(estimate.value, y, "D", markersize=6, gid="estimate", **ink)


def _finish(axes: Axes, rows: Sequence[Sample], span: Span, *, is_named: bool = True) -> None:
    """Name each row above its points, with what they do not show, and give the axes their range."""
    axes.set_xlim(span.low, span.high)
    axes.set_ylim(len(rows) - 0.35, -0.75)
    axes.set_yticks([])
    for k, row in enumerate(rows):
        name = escaped(trimmed(row.name)) if is_named else ""
        words = ": ".join(filter(None, [name, ", ".join(remarks(row, span))]))
        axes.text(0, k - 0.4, words, transform=axes.get_yaxis_transform(), va="bottom", gid=f"name-{k}")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.spines["left"].set_visible(False)


def remarks(row: Sample, span: Span) -> list[str]:
    """Return in words what the points of a row do not show: replicas without a value, and values far beyond."""
    numbers = np.array(row.numbers, dtype=np.float64)
    undefined = int(np.isnan(numbers).sum())
    unbounded = int(np.isinf(numbers).sum())
    known = numbers[np.isfinite(numbers)]
    beyond = known[~span.holds(known)]
    words = []
    if row.diverged:
        words.append(f"{row.diverged} of {len(numbers)} diverged")
    if undefined - row.diverged > 0:
        words.append(f"{undefined - row.diverged} of {len(numbers)} undefined")
    if unbounded:
        words.append(f"{unbounded} with one diverged")
    if len(beyond):
        words.append(f"{len(beyond)} at {beyond.min():.3g}" + (f" to {beyond.max():.3g}" if len(beyond) > 1 else ""))
    return words


def escaped(text: str) -> str:
    """Return text in which matplotlib sees no formula."""
    return text.replace("$", r"\$")
