"""Pictures of recorded runs as SVG: every run, and performance profiles."""

from collections.abc import Sequence
from html import escape

import numpy as np

from lossact.report.comparison import ConditionRow, RunComparison
from lossact.report.comparison_wording import number
from lossact.stats.recorded import performance_profile

WIDTH, LEFT, RIGHT, ROW, TOP, FOOT = 860, 190, 30, 30, 8, 44
REMARK = 250  # room on the right for what the dots do not show
PROFILE_HEIGHT, PROFILE_POINTS = 300, 200
N_SERIES = 8
LONGEST_LABEL = 24
DASHES = ("", "6 3", "2 2", "6 3 2 3")


def runs_picture(comparison: RunComparison) -> str:
    """Draw every run as a dot, a row a condition, with the median and its 95% interval."""
    axis = _Axis(comparison.conditions, comparison.decimals)
    if any(_remark(row, axis) for row in comparison.conditions):
        axis.right = WIDTH - REMARK
    parts = []
    for k, row in enumerate(comparison.conditions):
        y = TOP + ROW * (k + 0.5)
        parts.append(
            f'<path d="M{LEFT} {y + ROW / 2:.1f}H{WIDTH - RIGHT}" stroke="var(--line)"/>'
            f'<text x="{LEFT - 12}" y="{y + 4:.1f}" text-anchor="end" fill="currentColor">{_label(row.name)}</text>'
        )
        values = row.values[~np.isnan(row.values)]
        shown = values[values <= axis.high]
        for at, value in enumerate(shown):
            offset = (at * 0.618034 % 1 - 0.5) * ROW * 0.55  # spread so that equal values stay visible
            title = f"<title>{escape(row.name)}: {number(float(value), comparison.decimals)}</title>"
            parts.append(
                f'<circle cx="{axis.place(value):.1f}" cy="{y + offset:.1f}" r="3.2" fill="var(--series-0)" '
                f'fill-opacity=".45">{title}</circle>'
            )
        if row.description is not None and row.description.high <= axis.high:
            parts.append(_median(row, axis, y))
        if remark := _remark(row, axis):
            parts.append(
                f'<text x="{WIDTH - RIGHT}" y="{y + 4:.1f}" text-anchor="end" fill="var(--soft)">'
                f"{escape(remark)}</text>"
            )
    bottom = TOP + ROW * len(comparison.conditions)
    parts.append(axis.ticks(bottom, comparison.subject.partition(",")[0]))
    return _svg(bottom + FOOT, parts, f"every recorded run: {comparison.subject}")


def _remark(row: ConditionRow, axis: "_Axis") -> str:
    """What the row's dots do not show."""
    values = row.values[~np.isnan(row.values)]
    beyond = values[values > axis.high]
    if len(beyond):
        low, high = (number(float(each), axis.decimals) for each in (beyond.min(), beyond.max()))
        return f"{len(beyond)} of {row.n} runs at {low} to {high} \u2192"
    return f"{row.n - len(values)} of {row.n} runs did not reach it" if len(values) < row.n else ""


def _median(row: ConditionRow, axis: "_Axis", y: float) -> str:
    each = row.description
    assert each is not None
    mark = f'<path d="M{axis.place(each.median):.1f} {y - 11:.1f}v22" stroke="currentColor" stroke-width="2.5"/>'
    if not np.isfinite(each.low):
        return mark
    low, high = axis.place(each.low), axis.place(each.high)
    return f'{mark}<path d="M{low:.1f} {y:.1f}H{high:.1f}" stroke="currentColor" stroke-width="2.5"/>'


def profile_picture(comparison: RunComparison) -> str:
    """Draw the share of runs that are at least as good as each value: rliable's performance profiles."""
    axis = _Axis(comparison.conditions, comparison.decimals)
    lower = comparison.question.lower or comparison.question.target is not None
    thresholds = np.linspace(axis.low, axis.high, PROFILE_POINTS)
    base = TOP + PROFILE_HEIGHT
    parts = [
        f'<path d="M{LEFT} {base - share * PROFILE_HEIGHT:.1f}H{WIDTH - RIGHT}" stroke="var(--line)"/>'
        f'<text x="{LEFT - 12}" y="{base + 4 - share * PROFILE_HEIGHT:.1f}" text-anchor="end" fill="currentColor">'
        f"{share:.0%}</text>"
        for share in (0.0, 0.5, 1.0)
    ]
    for k, row in enumerate(comparison.conditions):
        worst = np.inf if lower else -np.inf
        shares = performance_profile(np.where(np.isnan(row.values), worst, row.values), thresholds, lower=lower)
        points = " ".join(
            f"{axis.place(x):.1f},{base - share * PROFILE_HEIGHT:.1f}"
            for x, share in zip(thresholds, shares, strict=True)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="var(--series-{k % N_SERIES})" stroke-width="2" '
            f'stroke-dasharray="{DASHES[k // N_SERIES % len(DASHES)]}"><title>{escape(row.name)}</title></polyline>'
        )
    parts.append(axis.ticks(base, comparison.subject.partition(",")[0]))
    return _svg(base + FOOT, parts, f"share of runs at least as good: {comparison.subject}")


def legend(comparison: RunComparison) -> list[tuple[str, str, str]]:
    """The profile's lines: name, colour and dashes."""
    return [
        (row.name, f"var(--series-{k % N_SERIES})", DASHES[k // N_SERIES % len(DASHES)])
        for k, row in enumerate(comparison.conditions)
    ]


class _Axis:
    """A horizontal axis over the values of all runs, but for few that lie far above the rest."""

    def __init__(self, rows: Sequence[ConditionRow], decimals: int) -> None:
        values = np.concatenate([row.values for row in rows])
        values = values[~np.isnan(values)]
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        gaps = np.diff(np.sort(values))
        if len(gaps) and gaps.max() > (high - low) / 2:
            below = np.sort(values)[: int(gaps.argmax()) + 1]
            if 2 * len(below) >= len(values):
                high = float(below.max())
        margin = 0.03 * (high - low) or 0.5
        self.low, self.high, self.decimals = low - margin, high + margin, decimals
        self.right: float = WIDTH - RIGHT

    def place(self, value: float) -> float:
        return float(LEFT + (value - self.low) / (self.high - self.low) * (self.right - LEFT))

    def ticks(self, y: float, label: str) -> str:
        step = 10.0 ** np.floor(np.log10((self.high - self.low) / 4))
        step *= next(factor for factor in (1, 2, 5, 10) if (self.high - self.low) / (factor * step) <= 7)
        parts = []
        decimals = max(0, int(-np.floor(np.log10(step) + 1e-9)))
        for value in np.arange(np.ceil(self.low / step), np.floor(self.high / step) + 1) * step:
            x = self.place(value)
            parts.append(
                f'<path d="M{x:.1f} {y:.1f}v5" stroke="currentColor"/>'
                f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle" fill="currentColor">'
                f"{value:.{decimals}f}</text>"
            )
        middle = (LEFT + self.right) / 2
        parts.append(
            f'<text x="{middle}" y="{y + 37:.1f}" text-anchor="middle" fill="var(--soft)">{escape(label)}</text>'
        )
        return "".join(parts)


def _label(name: str) -> str:
    return escape(name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…")


def _svg(height: float, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}" font-size="13">'
        f"{''.join(parts)}</svg>"
    )
