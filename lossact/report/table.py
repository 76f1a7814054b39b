"""The table of verdicts that closes a pytest run."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from lossact.claims.result import ClaimResult
from lossact.palette import TERMINAL
from lossact.report.escaping import printable
from lossact.report.formatting import (
    bounds,
    decided,
    difference,
    family_level,
    medians_in_words,
    reached,
    short_name,
    story,
    unreached,
    value,
)


@dataclass(frozen=True)
class Line:
    """A line of a terminal table."""

    text: str
    colour: str | None = None
    bold: bool = False


def verdict_table(
    results: Sequence[ClaimResult], *, alpha: float, delta: float, setting: str, width: int
) -> list[Line]:
    """Return the verdicts of a family, each with effect, interval, replicas and shares that arrived.

    Args:
        results: of one family, at least one.
        alpha, delta: of the family.
        setting: what else the verdicts hold for, in words.
        width: columns of the terminal.
    """
    first = results[0]
    budgets = sorted({result.verdict.budget for result in results if result.verdict.budget})
    levels = {result.verdict.effect.level for result in results if not result.exact}
    level = max(levels, default=1.0)
    head = (
        f"{family_level(first, alpha)}, delta {delta:g}, "
        + (f"budget {' or '.join(map(str, budgets))} updates, " if budgets else "")
        + setting
    )
    if any(result.recorded is not None and not result.decides for result in results):
        head += "; verdicts on record are for another setting and decide nothing here"
    lines = [Line(text) for text in textwrap.wrap(head, width)]
    lines.append(Line(f"{'verdict':12}  {'effect':6} {f'{level:.1%} interval':15}  replicas  claim", bold=True))
    for result in results:
        lines += _claim_lines(result, level, width)
    lines.append(Line(""))
    return lines


def _claim_lines(result: ClaimResult, level: float, width: int) -> list[Line]:
    verdict = result.verdict
    effect = verdict.effect
    replicas = "" if result.exact else verdict.replicas
    name = short_name(result) + unreached(result)
    row = f"{result.name.upper():12}  {value(result):6} {bounds(result):15}  {replicas:>8}  {name}"
    details = [f"{result.sentence}{f' ({result.source})' if result.source else ''}"]
    if verdict.decided_at or verdict.reason:
        details.append("; ".join(filter(None, (decided(result), verdict.reason))))
    if verdict.sample:
        details.append(verdict.sample)
    if effect.name != "win probability" and not result.exact:
        details.append(f"effect: {effect.name}")
    if effect.level != level and not result.exact:
        details.append(f"interval at {effect.level:.1%}")
    if result.recorded is not None and result.recorded != result.name:
        details.append(f"on record{'' if result.decides else ' for the default setting'}: {result.recorded}")
    shown = difference(result)
    if shown is not None:
        details.append(str(shown))
    details += filter(None, [medians_in_words(result)])
    with_target = [condition for condition in verdict.conditions if condition.has_target]
    if with_target:
        details.append("reached the target: " + ", ".join(map(reached, with_target)))
    if verdict.single_run_agreement:
        details.append(story(verdict.single_run_agreement))
    details += [f"note: {warning}" for warning in result.warnings]
    indent = " " * 4
    wrapped = [
        text
        for detail in details
        for text in textwrap.wrap(detail, max(width, 40), initial_indent=indent, subsequent_indent=indent * 2)
    ]
    return [Line(printable(row), TERMINAL[result.name]), *(Line(printable(text)) for text in wrapped)]
