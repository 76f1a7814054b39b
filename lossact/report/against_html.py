"""Two states of the code as one page, with the curves of both sides; it loads nothing."""

from typing import Any

from markupsafe import Markup

from lossact.against import BeforeAfter, ConditionResult
from lossact.report import against_wording as wording
from lossact.report.charts import curve_charts, prefix_ids, reach_chart, series
from lossact.report.render_page import render_page
from lossact.report.stored import StoredCondition

MOST_DRAWN = 24  # conditions with curves, the gravest first
LOOKS = {"worse": "refuted", "different": "refuted", "not yet": "inconclusive"}  # the others hold


def against_html(result: BeforeAfter) -> str:
    """Return the page."""
    table = []
    for condition, measure in wording.rows(result):
        verdict = condition.verdict if measure is None else measure.verdict
        measure_name, word, *rest = wording.cells(condition, measure)
        table.append(
            {"name": condition.name, "measure": measure_name, "verdict": word, "look": LOOKS.get(verdict, "supported")}
            | dict(zip(("before", "after", "difference", "probability", "replicas"), rest, strict=True))
        )
    drawn = list(dict.fromkeys(condition for condition, _ in wording.rows(result)))[:MOST_DRAWN]
    content = {
        "title": wording.title(result),
        "head": wording.head(result),
        "columns": wording.COLUMNS,
        "rows": table,
        "notes": wording.notes(result),
        "sides": [(wording.revision(result), series(0)), ("working tree", series(1))],
        "conditions": [
            {"name": condition.name, "verdict": condition.verdict, "look": LOOKS.get(condition.verdict, "supported"),
             "changes": "; ".join(condition.changes), "charts": _charts(number, condition)}
            for number, condition in enumerate(drawn)
        ],
    }  # fmt: skip
    return render_page("against.html.jinja", content)


def _charts(number: int, condition: ConditionResult) -> list[tuple[str, Markup]]:
    sides = [
        StoredCondition(name, dict(condition.content), trials, curves, ())
        for name, trials, curves in zip(
            ("before", "now"), (condition.before, condition.after), condition.curves, strict=True
        )
    ]
    charts: dict[str, Any] = {}
    if any(side.trials.reached.any() for side in sides):
        charts["Replicas that reached the target"] = reach_chart(sides)
    kept = max(len(side.curves or ()) for side in sides)
    for name, chart in curve_charts(sides).items():
        charts[f"{name[:1].upper()}{name[1:]}: median and 80% band of {kept} replicas; thin: single runs"] = chart
    return [(caption, prefix_ids(chart, f"c{number}-{k}")) for k, (caption, chart) in enumerate(charts.items())]
