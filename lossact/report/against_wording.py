"""The words in which the table, the Markdown and the page describe two states of the code."""

import math
from collections import Counter

from lossact.against import BeforeAfter, ConditionResult, MeasureResult
from lossact.against.results import ORDER
from lossact.claims.verdict_summary import Estimate

COLUMNS = ("condition", "measure", "verdict", "before", "now", "median difference", "P(better)", "replicas")
SHORT_COMMIT = 10
MOST_NAMES = 4  # of conditions with the same changes


def title(result: BeforeAfter) -> str:
    """Return what was compared."""
    return f"working tree{' with uncommitted changes' if result.is_dirty else ''} against {revision(result)}"


def revision(result: BeforeAfter) -> str:
    """Return the revision as it was asked for, and its commit."""
    commit = result.commit[:SHORT_COMMIT]
    return result.revision if result.commit.startswith(result.revision) else f"{result.revision} ({commit})"


def head(result: BeforeAfter) -> str:
    """Return how many conditions have each verdict, the gravest first."""
    counts = Counter(condition.verdict for condition in result.conditions)
    n = len(result.conditions)
    listed = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ORDER if counts[verdict])
    return f"{n} condition{'s' if n > 1 else ''}: {listed}"


def rows(result: BeforeAfter) -> list[tuple[ConditionResult, MeasureResult | None]]:
    """Return a row for each measure, the gravest conditions first; one row where all bits are equal."""
    ordered = sorted(result.conditions, key=lambda condition: ORDER.index(condition.verdict))
    return [
        (condition, measure)
        for condition in ordered
        for measure in ([None] if condition.is_identical or not condition.measures else condition.measures)
    ]


def cells(condition: ConditionResult, measure: MeasureResult | None) -> list[str]:
    """Return a row's cells after the condition's name."""
    replicas = str(len(condition.after))
    if measure is None:
        bits = "same code and values" if condition.same_key else "every bit equal"
        return ["all", condition.verdict, "", "", bits if condition.is_identical else "", "", replicas]
    verdict = measure.verdict.upper() if measure.verdict in {"worse", "different"} else measure.verdict
    return [
        measure.measure,
        verdict,
        median(measure, measure.before),
        median(measure, measure.after),
        difference(measure),
        probability(measure),
        str(measure.replicas),
    ]


def median(measure: MeasureResult, value: float | None) -> str:
    """Return a median in the unit of the table."""
    if value is None:
        return "none"
    return f"{value:.1%}" if measure.difference.unit == "points" else f"{value:.4g}"


def difference(measure: MeasureResult) -> str:
    """Return the median difference with its interval and unit."""
    each = measure.difference
    if math.isnan(each.value):
        return "unknown"
    unit = "" if each.unit == measure.measure else f" {each.unit}"
    return f"{_signed(each.value)} [{_signed(each.low)}, {_signed(each.high)}]{unit}"


def probability(measure: MeasureResult) -> str:
    """Return the win probability with its interval, or the margin that is tested instead."""
    if measure.within is not None:
        return f"within {measure.within:g}"
    if measure.win_probability is None:
        return ""
    return ("" if measure.direction else "higher: ") + _interval(measure.win_probability)


def reasons(result: BeforeAfter) -> list[str]:
    """Return why what is open is open, and what else a verdict alone does not say."""
    lines = [
        f"{condition.name}: {int(condition.after.diverged.sum())} of {len(condition.after)} replicas diverge now, "
        f"{int(condition.before.diverged.sum())} did before"
        for condition in dict.fromkeys(condition for condition, _ in rows(result))
        if condition.after.diverged.sum() != condition.before.diverged.sum()
    ]
    for condition, measure in rows(result):
        if measure is None:
            continue
        if measure.verdict == "different" and not math.isfinite(measure.difference.value):
            lines.append(f"{condition.name}, {measure.measure}: most replicas have no value on one side")
        elif measure.verdict == "different":
            higher = measure.difference.value > 0
            lines.append(
                f"{condition.name}, {measure.measure}: {'higher' if higher else 'lower'} than before; say which is "
                f"better: --higher {measure.measure}, or --lower {measure.measure}"
            )
        elif measure.reason:
            lines.append(f"{condition.name}, {measure.measure}: {measure.verdict}; {measure.reason}")
    return lines


def changes(result: BeforeAfter) -> list[str]:
    """Return what differs in conditions, those with the same changes together, the gravest first."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for condition in sorted(result.conditions, key=lambda each: ORDER.index(each.verdict)):
        if condition.changes:
            groups.setdefault(condition.changes, []).append(condition.name)
    return [f"{_listed(names)}: {'; '.join(changed)}" for changed, names in groups.items()]


def one_sided(result: BeforeAfter) -> list[str]:
    """Return which conditions only one side has."""
    sides = ((f"only {revision(result)} has", result.only_before), ("only the working tree has", result.only_after))
    return [f"{which} {', '.join(names)}" for which, names in sides if names]


def environments(result: BeforeAfter) -> list[str]:
    """Return which packages differ between the sides."""
    before, after = result.versions
    return [f"{name} {before[name]} before, {after[name]} now" for name in before if before[name] != after.get(name)]


def method(result: BeforeAfter) -> str:
    """Return the level, the margin and the size of the comparison."""
    settings = result.settings
    if not result.tests:
        tested = "nothing had to be tested"
    else:
        measures = f"{result.tests} measure{'s' if result.tests > 1 else ''} of changed conditions"
        tested = (
            f"alpha {settings.alpha:g} a side for {measures} together, {1 - 2 * settings.alpha / result.tests:.2%} "
            f"intervals, delta {settings.delta:g}"
        )
    return f"{tested}; seed {settings.seed}; {result.trained_replicas:,} replicas trained, {result.seconds:.0f} s"


def notes(result: BeforeAfter) -> list[str]:
    """Return everything below the table, in its order."""
    return [
        *reasons(result),
        *one_sided(result),
        *(f"changed: {change}" for change in changes(result)),
        *environments(result),
        *result.notes,
        method(result),
    ]


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _signed(number: float) -> str:
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    return "0" if number == 0 else f"{number:+.3g}"
