"""What pictures of values show, in words."""

from collections.abc import Sequence

import numpy as np

from lossact.claims.value_samples import Sample, ValueSamples
from lossact.report.value_axes import MOST_LINES, MOST_POINTS, finite, with_unit


def values_caption(samples: ValueSamples) -> str:
    """Return what the rows of values are."""
    return f"{capitalized(samples.measure)}: {_points(samples.values)}; box: middle half of them, thick line: median"


def compared_caption(samples: ValueSamples) -> str:
    """Return what the rows of differences are, or of a claim's own number, with their estimate as it is printed."""
    estimates = [row.estimate for row in samples.compared if row.estimate is not None]
    what = "Differences" if samples.are_differences else capitalized(samples.measure)
    shown = _points(samples.compared) if any(row.numbers for row in samples.compared) else ""
    parts = [f"{what}: {shown}".removesuffix(": ")]
    if not estimates:
        parts.append("box: middle half of them, thick line: median")
    elif len(estimates) == 1:
        parts.append(f"diamond and bar: {estimates[0]}")
    else:
        parts.append(f"diamonds and bars: medians with {estimates[0].level:.1%} confidence sequences")
    if samples.margins:
        margins = " and ".join(f"{margin:g}" for margin in samples.margins)
        parts.append(f"dashed: {margins} {samples.compared_unit}".rstrip())
    return "; ".join(parts)


def trend_caption(samples: ValueSamples) -> str:
    """Return what the lines of a trend are."""
    n = len(samples.values[0].numbers)
    lost = sum(len(row.numbers) - len(finite(row)) for row in samples.values)
    lines = f"faint: the first {MOST_LINES} of {n} replicas" if n > MOST_LINES else f"faint: each of {n} replicas"
    missing = f"; without a value: {lost}" if lost else ""
    return f"{capitalized(samples.measure)}: {lines}; bold: medians{missing}"


def described(rows: Sequence[Sample], measure: str, unit: str) -> str:
    """Return the alternative text of a picture's rows: medians, middle halves, and replicas without a value."""
    return f"{with_unit(measure, unit)}: " + "; ".join(map(_row, rows))


def _row(row: Sample) -> str:
    numbers = finite(row)
    without = len(row.numbers) - len(numbers)
    if not row.numbers:
        return f"{row.name}, not paired"
    if not len(numbers):
        return f"{row.name}, none of {len(row.numbers)} has a value"
    low, middle, high = np.quantile(numbers, [0.25, 0.5, 0.75])
    lost = f", {without} without a value" if without else ""
    return f"{row.name}, median {middle:.4g}, half of them {low:.4g} to {high:.4g}, {len(row.numbers)} replicas{lost}"


def _points(rows: Sequence[Sample]) -> str:
    most = max(len(finite(row)) for row in rows)
    return f"points: {MOST_POINTS} quantiles of {most} replicas" if most > MOST_POINTS else "a point a replica"


def capitalized(text: str) -> str:
    """Return text with a capital letter."""
    return text[:1].upper() + text[1:]
