"""A comparison of recorded runs as Markdown, for a pull request."""

from collections.abc import Sequence

from lossact.report import comparison_wording as wording
from lossact.report.comparison import RunComparison
from lossact.report.escaping import plain


def comparison_markdown(comparison: RunComparison) -> str:
    """Return the tables as Markdown."""
    decimals = comparison.decimals
    lines = [f"# {plain(comparison.subject)}", "", plain(wording.counted(comparison)), ""]
    lines += [f"- {plain(sentence)}" for sentence in wording.undecidable(comparison)]
    lines += [f"- left out: {plain(f'{name} {why}')}" for name, why in comparison.left_out]
    lines += ["", *_table(wording.CONDITION_COLUMNS, [
        [row.name, *wording.condition_cells(row, decimals)] for row in comparison.conditions
    ])]  # fmt: skip
    lines += ["", plain(wording.correction(comparison)), ""]
    lines += _table(wording.PAIR_COLUMNS, [
        [
            pair.better,
            wording.verdict(pair),
            pair.worse,
            wording.superiority(pair),
            wording.advantage(pair, decimals),
            wording.plan(pair, comparison),
        ]
        for pair in comparison.pairs
    ])  # fmt: skip
    notes = (*comparison.notes, *wording.warnings(comparison), *wording.reading(comparison))
    return "\n".join([*lines, "", *(f"- {plain(note)}" for note in notes), ""])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(columns)} |",
        f"|{'---|' * len(columns)}",
        *(f"| {' | '.join(plain(cell) for cell in row)} |" for row in rows),
    ]
