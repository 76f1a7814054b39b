"""A comparison of recorded runs as a table for the terminal."""

from lossact.report import comparison_wording as wording
from lossact.report.comparison import RunComparison
from lossact.report.text_table import short, text_table, wrapped


def comparison_text(comparison: RunComparison, *, width: int) -> str:
    """Return the tables as text.

    Args:
        comparison: what is shown.
        width: columns of the terminal, for sentences; tables take what they need.
    """
    decimals = comparison.decimals
    head = f"{comparison.subject}: {wording.counted(comparison)}"
    lines = wrapped([*wording.undecidable(comparison), head], width)
    lines += wrapped([f"left out: {name} {why}" for name, why in comparison.left_out], width)
    conditions = [[short(row.name), *wording.condition_cells(row, decimals)] for row in comparison.conditions]
    lines += ["", *text_table(wording.CONDITION_COLUMNS, conditions, right={1, 2, 3, 4})]
    lines += ["", *wrapped([wording.correction(comparison)], width)]
    pairs = [
        [
            short(pair.better),
            wording.verdict(pair),
            short(pair.worse),
            wording.superiority(pair),
            wording.advantage(pair, decimals),
            wording.plan(pair, comparison),
        ]
        for pair in comparison.pairs
    ]
    lines += text_table(wording.PAIR_COLUMNS, pairs)
    notes = [f"note: {note}" for note in (*comparison.notes, *wording.warnings(comparison))]
    lines += ["", *wrapped([*notes, *wording.reading(comparison)], width)]
    return "\n".join(lines)
