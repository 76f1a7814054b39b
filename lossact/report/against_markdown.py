"""Two states of the code as Markdown, for a pull request."""

from lossact.against import BeforeAfter
from lossact.report import against_wording as wording
from lossact.report.escaping import plain

MARKS = {"identical": "✅", "equivalent": "✅", "better": "🔼", "worse": "❌", "different": "❗", "not yet": "❔"}


def against_markdown(result: BeforeAfter) -> str:
    """Return the table and the notes below it."""
    lines = [f"## {plain(wording.title(result))}", "", plain(wording.head(result)), ""]
    lines += [f"| {' | '.join(wording.COLUMNS)} |", "|---|---|---|--:|--:|---|---|--:|"]
    for condition, measure in wording.rows(result):
        measure_name, verdict, *rest = wording.cells(condition, measure)
        mark = MARKS[condition.verdict if measure is None else measure.verdict]
        lines.append(f"| {' | '.join(map(plain, [condition.name, measure_name, f'{mark} {verdict}', *rest]))} |")
    return "\n".join([*lines, "", *(f"- {plain(note)}" for note in wording.notes(result)), ""])
