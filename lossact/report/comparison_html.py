"""A comparison of recorded runs as one page, with a picture of every run; it loads nothing."""

from markupsafe import Markup

from lossact.report import comparison_wording as wording
from lossact.report.comparison import RunComparison
from lossact.report.comparison_pictures import legend, profile_picture, runs_picture
from lossact.report.render_page import render_page


def comparison_html(comparison: RunComparison) -> str:
    """Return the page."""
    content = {
        "title": comparison.subject,
        "head": wording.counted(comparison),
        "undecidable": wording.undecidable(comparison),
        "left_out": comparison.left_out,
        "condition_columns": wording.CONDITION_COLUMNS,
        "conditions": [(row.name, wording.condition_cells(row, comparison.decimals)) for row in comparison.conditions],
        "correction": wording.correction(comparison),
        "pairs": [
            {
                "better": pair.better,
                "worse": pair.worse,
                "decided": pair.is_decided,
                "superiority": wording.superiority(pair),
                "advantage": wording.advantage(pair, comparison.decimals),
                "plan": wording.plan(pair, comparison),
                "p": f"{pair.p_value:.2g}",
                "needed": f"{pair.p_needed:.2g}",
            }
            for pair in comparison.pairs
        ],
        "notes": [*comparison.notes, *wording.warnings(comparison)],
        "reading": wording.reading(comparison),
        "runs": Markup(runs_picture(comparison)),
        "profiles": Markup(profile_picture(comparison)),
        "legend": legend(comparison),
    }
    return render_page("comparison.html.jinja", content)
