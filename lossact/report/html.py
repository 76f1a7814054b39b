"""A report as one page: the verdicts first, then each claim with its evidence and curves; it loads nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lossact.claims.result import ClaimResult
from lossact.claims.verdict_summary import ConditionCounts, SingleRunAgreement
from lossact.palette import css
from lossact.report.charts import curve_charts, evidence_chart, order_chart, prefix_ids, reach_chart, series
from lossact.report.files import write_whole
from lossact.report.formatting import (
    beside_the_verdict,
    bounds,
    counted,
    decided,
    families,
    family_level,
    level,
    medians,
    sentence,
    story,
    thresholds,
    value,
)
from lossact.report.run_info import RunInfo
from lossact.report.stored import StoredCondition

Charts = list[tuple[str, Markup]]


def write_html(
    path: Path, results: Sequence[ClaimResult], conditions: Mapping[str, StoredCondition], run: RunInfo
) -> None:
    """Write the page; the folder is made where it is missing.

    Args:
        path: the file.
        results: at least one.
        conditions: by key, as far as the store holds them.
        run: what the verdicts hold for.
    """
    templates = PackageLoader("lossact.report", "templates")
    environment = Environment(
        loader=templates, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"x": _place, "share": _share}
    curves = _Curves(conditions)
    shown = {result.id: _claim(number, result, curves, run) for number, result in enumerate(results, start=1)}
    grouped = [
        {"name": group[0].family, "summary": _family(group, run), "claims": [shown[member.id] for member in group]}
        for group in families(results)
    ]
    computed = {
        f"{s['precision']}, {s['threads']} threads" for s in (c.content["setting"] for c in conditions.values())
    }
    style, _, _ = templates.get_source(environment, "report.css")
    page = environment.get_template("report.html.jinja").render(
        title=f"Claims: {', '.join(dict.fromkeys(result.family for result in results))}",
        counted=counted(results),
        families=grouped,
        undecided=run.undecided,
        style=Markup(css() + style),
        foot=f"{run.setting}; "
        + ", ".join([*computed, *(f"{name} {version}" for name, version in run.versions.items())]),
    )
    write_whole(path, page)


class _Curves:
    """The charts of a claim's conditions, drawn once for claims about the same ones."""

    def __init__(self, conditions: Mapping[str, StoredCondition]) -> None:
        self.conditions = conditions
        self._drawn: dict[tuple[tuple[str, ...], int], Charts] = {}

    def of(self, keys: tuple[str, ...], replicas: int) -> Charts:
        """Return the charts over the first so many replicas."""
        if not keys or not self.conditions.keys() >= set(keys):
            return []
        if (keys, replicas) not in self._drawn:
            conditions = [self.conditions[key].first(replicas) for key in keys]
            kept = max(len(condition.curves or ()) for condition in conditions)
            what = f"median and 80% band of {kept} replicas, which rest where they arrive; thin: single runs"
            self._drawn[keys, replicas] = [
                *(
                    [("Replicas that reached the target, up to the budget", reach_chart(conditions))]
                    if any(condition.has_target for condition in conditions)
                    else []
                ),
                *((f"{name[:1].upper()}{name[1:]}: {what}", chart) for name, chart in curve_charts(conditions).items()),
            ]
        return self._drawn[keys, replicas]

    def in_order(self, keys: tuple[str, ...], replicas: int) -> Charts:
        """Return the claimed order of the conditions beside the measured one."""
        if not keys or not self.conditions.keys() >= set(keys):
            return []
        chart = order_chart([self.conditions[key].first(replicas) for key in keys])
        return [("The claimed order, and the measured one by the mean rank within a replica", chart)]


def _claim(number: int, result: ClaimResult, curves: _Curves, run: RunInfo) -> dict[str, Any]:
    """Return what the template shows of a claim."""
    verdict = result.verdict
    effect = verdict.effect
    keys = tuple(key for _, key in result.keys)
    settings = _values([_flat(curves.conditions[key].content["condition"]) for key in keys if key in curves.conditions])
    order = curves.in_order(keys, verdict.replicas) if verdict.single_run_agreement else []
    return {
        "number": number,
        "name": result.name,
        "statement": result.statement,
        "source": result.source,
        "sentence": result.sentence,
        "reason": verdict.reason,
        "exact": result.exact,
        "recorded": result.recorded or "",
        "decides": result.decides,
        "replicas": verdict.replicas,
        "thresholds": result.thresholds,
        "effect": asdict(effect) | {"text": value(result), "bounds": bounds(result)},
        "summary": _summary(result),
        "warnings": result.warnings,
        "story": _story(verdict.single_run_agreement) if verdict.single_run_agreement else "",
        "conditions": [
            _condition(k, counts, verdict.budget) | {"median_value": dict(medians(result)).get(counts.name, "")}
            for k, counts in enumerate(verdict.conditions)
        ],
        "measure": verdict.difference.measure if medians(result) and verdict.difference else "",
        "diverged": any(counts.diverged for counts in verdict.conditions),
        "charts": [
            (caption, prefix_ids(chart, f"c{number}-{k}"))
            for k, (caption, chart) in enumerate([*_evidence(result, run), *order, *curves.of(keys, verdict.replicas)])
        ],
        "setting": [(name, values[0]) for name, values in settings if len(set(values)) == 1],
        "differences": [(name, values) for name, values in settings if len(set(values)) > 1],
        "again": run.rerun_command(result),
    }


def _summary(result: ClaimResult) -> str:
    verdict, effect = result.verdict, result.verdict.effect
    if result.exact:
        return sentence(f"{effect.name} {value(result)}; a theorem, checked and not sampled")
    if verdict.sample:
        interval = f"{level(result)} interval {bounds(result)}"
        parts = [
            sentence(f"{effect.name} {value(result)}, {interval}; {verdict.sample}"),
            thresholds(result),
            *(sentence(part) for part in beside_the_verdict(result)),
        ]
        return " ".join(filter(None, parts))
    within = f" within {verdict.budget} updates" if verdict.budget else ""
    ended = f", {decided(result)}" if verdict.decided_at else ""
    parts = [
        sentence(
            f"{effect.name} {value(result)}, {level(result)} confidence sequence {bounds(result)}{within}; "
            f"{verdict.replicas} replicas{ended}"
        ),
        thresholds(result),
        *(sentence(part) for part in beside_the_verdict(result)),
    ]
    return " ".join(filter(None, parts))


def _story(agreement: SingleRunAgreement) -> str:
    return sentence(f"{story(agreement)}, at {agreement.level:.1%}")


def _evidence(result: ClaimResult, run: RunInfo) -> Charts:
    if result.evidence_path is None:
        return []
    needed = result.family_size / run.alpha
    chart = evidence_chart(result.evidence_path, needed=needed, decided_at=result.verdict.decided_at)
    ended = decided(result)
    caption = Markup(
        'Largest evidence so far <span class="supported">for</span> and, broken, <span class="refuted">against</span>; '
        "{:.0f} (line) decides{}"
    )
    return [(caption.format(needed, f"; dotted: {ended}" if ended else ""), chart)]


def _condition(k: int, counts: ConditionCounts, budget: int | None) -> dict[str, Any]:
    median = counts.median_steps_to_target
    if not counts.has_target:
        words = {"arrived": "no target", "median": ""}
    else:
        shown = f"> {budget}" if median is None else f"{median:g}"
        words = {"arrived": f"{counts.reached} of {counts.replicas}", "median": shown}
    return asdict(counts) | series(k) | words


def _family(members: Sequence[ClaimResult], run: RunInfo) -> str:
    first = members[0]
    theorems = sum(member.exact for member in members)
    text = f"{family_level(first, run.alpha)}, delta {run.delta:g}"
    return text + (f"; and {theorems} theorem{'s' if theorems > 1 else ''}, checked exactly" if theorems else "")


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a condition's content as one level of words."""
    flat: dict[str, str] = {}
    for name, value_of_field in content.items():
        if isinstance(value_of_field, Mapping):
            flat |= _flat(value_of_field, f"{prefix}{name}.")
        elif value_of_field not in (None, ""):
            flat[prefix + name] = str(value_of_field)
    return flat


def _values(contents: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    """Return each name with the value that every condition has under it."""
    names = dict.fromkeys(name for content in contents for name in content)
    return [(name, [content.get(name, "") for content in contents]) for name in names]


def _place(share: float) -> float:
    """Return where a probability lies on the interval's axis."""
    return round(10 + 300 * share, 1)


def _share(number: float) -> str:
    return "1/2" if number == 0.5 else f"{number:.3g}"
