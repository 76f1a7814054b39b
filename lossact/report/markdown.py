"""The verdicts as Markdown, for a pull request."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from lossact.claims.result import ClaimResult
from lossact.report.escaping import plain
from lossact.report.files import write_whole
from lossact.report.formatting import (
    bounds,
    counted,
    families,
    family_level,
    medians_in_words,
    reached,
    story,
    title,
    value,
)
from lossact.report.run_info import RunInfo

MARKS = {"supported": "✅", "refuted": "❌", "inconclusive": "❔"}


def write_markdown(path: Path, results: Sequence[ClaimResult], run: RunInfo) -> None:
    """Write a table for each family, and details of each claim below it.

    Args:
        path: the file.
        results: at least one.
        run: what the verdicts hold for.
    """
    undecided = f", {len(run.undecided)} not decided" if run.undecided else ""
    lines = [f"# {counted(results)}{undecided}", ""]
    for members in families(results):
        first = members[0]
        lines += [
            f"## {plain(first.family)}",
            "",
            f"{family_level(first, run.alpha)}, delta {run.delta:g}, {run.setting}",
            "",
            "| verdict | claim | effect | interval | replicas | on record |",
            "|---|---|---|---|---|---|",
            *map(_row, members),
            "",
            *(line for member in members for line in _details(member, run)),
        ]
    lines += [f"- not decided: {plain(claim.id)} ({plain(claim.reason)})" for claim in run.undecided]
    lines += ["", ", ".join(f"{name} {version}" for name, version in run.versions.items()), ""]
    write_whole(path, "\n".join(lines))


def _row(result: ClaimResult) -> str:
    cells = [
        f"{MARKS[result.name]} {result.name.upper()}",
        plain(title(result) + (f" ({result.source})" if result.source else "")),
        value(result),
        bounds(result),
        "" if result.exact else str(result.verdict.replicas),
        result.recorded or "",
    ]
    return f"| {' | '.join(cells)} |"


def _details(result: ClaimResult, run: RunInfo) -> list[str]:
    verdict = result.verdict
    notes = [verdict.reason, verdict.sample, *result.warnings]
    if verdict.difference is not None:
        notes += [str(verdict.difference), medians_in_words(result)]
    with_target = [condition for condition in verdict.conditions if condition.has_target]
    if with_target:
        notes.append("reached the target: " + ", ".join(map(reached, with_target)))
    if verdict.single_run_agreement:
        notes.append(story(verdict.single_run_agreement))
    return [
        "<details>",
        f"<summary>{escape(title(result))}</summary>",
        "",
        f"{result.name.upper()}: {plain(result.sentence)}",
        "",
        *(f"- {plain(note)}" for note in notes if note),
        "",
        *_code(run.rerun_command(result)),
        "",
        "</details>",
        "",
    ]


def _code(text: str) -> list[str]:
    fence = "`" * (1 + max([2, *(len(run) for run in re.findall("`+", text))]))
    return [fence, " ".join(text.split()), fence]
