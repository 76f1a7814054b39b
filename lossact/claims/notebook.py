"""A verdict as HTML for a notebook: its sentence, a table of the conditions, and the share that reached the target."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from lossact.claims.summary import ConditionSummary
from lossact.palette import SERIES, VERDICTS
from lossact.stats.bands import cumulative_incidence

WIDTH, HEIGHT, LEFT, BOTTOM = 460, 170, 44, 30


def verdict_html(
    verdict: str,
    text: str,
    warnings: Sequence[str],
    conditions: Sequence[ConditionSummary],
    *,
    budget: int | None,
    medians: Mapping[str, Mapping[str, float]],
) -> str:
    """Render a verdict as self-contained HTML, without scripts or external files.

    Args:
        verdict: "supported", "refuted" or "inconclusive".
        text: the verdict in words, its sentence on the first line.
        warnings: what a reader should know, a paragraph each.
        conditions: a row each of the table, and a line each of the figure.
        budget: the largest number of updates, None where nothing is trained.
        medians: of each measure that the claim is about, by condition.

    Returns:
        HTML, user's text escaped.
    """
    sentence, _, detail = text.partition("\n")
    word, _, rest = sentence.partition(":")
    parts = [
        f'<p><b style="color:{VERDICTS[verdict].light}">{escape(word)}</b>:{escape(rest)}<br>{escape(detail)}</p>',
        *(f"<p>{escape(warning)}</p>" for warning in warnings),
    ]
    if conditions:
        has_target = any(condition.has_target for condition in conditions)
        table = _reached(conditions) if has_target else _values(conditions, medians)
        head = "".join(f"<th>{escape(name)}</th>" for name in table)
        cells = zip(*table.values(), strict=True)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in cells)
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
        if has_target:
            parts.append(reach_curves(conditions, budget=budget))
    return f"<div>{''.join(parts)}</div>"


def _reached(conditions: Sequence[ConditionSummary]) -> dict[str, list[str]]:
    """The columns of a table of conditions with targets."""
    medians = [condition.median_steps_to_target for condition in conditions]
    return {
        "condition": [condition.name for condition in conditions],
        "reached the target": [f"{condition.reached} of {condition.replicas}" for condition in conditions],
        "median updates": ["" if median is None else f"{median:g}" for median in medians],
        "diverged": [str(condition.diverged or "") for condition in conditions],
    }


def _values(conditions: Sequence[ConditionSummary], medians: Mapping[str, Mapping[str, float]]) -> dict[str, list[str]]:
    """The columns of a table of conditions without targets, a median for each measure."""
    names = [condition.name for condition in conditions]
    recorded = any(condition.median_value is not None for condition in conditions)
    columns = {
        "condition": names,
        "recorded runs" if recorded else "replicas": [str(condition.replicas) for condition in conditions],
    }
    for measure, by_condition in medians.items():
        columns[f"median {measure}"] = [f"{by_condition[name]:.6g}" if name in by_condition else "" for name in names]
    if any(condition.diverged for condition in conditions):
        columns["diverged"] = [str(condition.diverged or "") for condition in conditions]
    return columns


def reach_curves(conditions: Sequence[ConditionSummary], *, budget: int | None) -> str:
    """Return an SVG of the share of replicas that had met the target, by updates: one minus Kaplan-Meier's estimate.

    Args:
        conditions: each a line.
        budget: updates at most, the end of the axis.

    Returns:
        an SVG element.
    """
    last = max(1, budget or max(condition.trials.budget for condition in conditions))
    lines, labels = [], []
    for k, condition in enumerate(conditions):
        colour = SERIES[k % len(SERIES)].light
        share = cumulative_incidence(
            condition.trials.steps[condition.trials.reached], last, replicas=condition.replicas
        )
        corners = [(0.0, 0.0)]
        for update in np.flatnonzero(np.diff(share, prepend=0.0)):
            corners += [(update / last, corners[-1][1]), (update / last, share[update])]
        corners.append((1.0, corners[-1][1]))
        points = " ".join(f"{LEFT + x * WIDTH:.1f},{10 + (1 - y) * HEIGHT:.1f}" for x, y in corners)
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        labels.append(
            f'<text x="{LEFT + WIDTH + 10}" y="{24 + 18 * k}" fill="{colour}">{escape(condition.name)}</text>'
        )
    ticks = "".join(
        f'<path d="M{LEFT} {10 + (1 - share) * HEIGHT}h{WIDTH}" stroke="#8884"/>'
        f'<text x="{LEFT - 6}" y="{14 + (1 - share) * HEIGHT}" text-anchor="end">{share:.0%}</text>'
        for share in (0, 0.5, 1)
    )
    foot = 10 + HEIGHT + 16
    axis = (
        f'<text x="{LEFT}" y="{foot}">0</text><text x="{LEFT + WIDTH}" y="{foot}" text-anchor="end">{last}</text>'
        f'<text x="{LEFT + WIDTH / 2}" y="{foot}" text-anchor="middle">updates</text>'
    )
    size = f"{LEFT + WIDTH + 180} {10 + HEIGHT + BOTTOM}"
    return (
        f'<svg viewBox="0 0 {size}" style="max-width:44rem" role="img" aria-label="share that reached the target by '
        f'updates" font-size="12" fill="currentColor">{ticks}{axis}{"".join(lines)}{"".join(labels)}</svg>'
    )
