"""A report as one page: the verdicts first, then each claim with its evidence and curves; it loads nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lossact.claims.result import ClaimResult
from lossact.claims.value_samples import ValueSamples
from lossact.claims.verdict_summary import ConditionCounts, SingleRunAgreement
from lossact.report.charts import (
    curve_charts,
    evidence_chart,
    moments_chart,
    order_chart,
    prefix_ids,
    reach_chart,
    series,
    value_chart,
)
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
    title,
    value,
)
from lossact.report.render_page import render_page
from lossact.report.run_info import RunInfo
from lossact.report.stored import StoredCondition
from lossact.report.value_figures import value_panels
from lossact.report.value_wording import capitalized


@dataclass(frozen=True)
class Chart:
    """A picture on the page.

    Attributes:
        caption: beside it; text or Markup.
        picture: SVG.
        description: what is to be seen, where the caption does not say it.
    """

    caption: str
    picture: Markup
    description: str = ""


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
    curves = _Curves(conditions)
    shown = {result.id: _claim(number, result, curves, run) for number, result in enumerate(results, start=1)}
    grouped = [
        {"name": group[0].family, "summary": _family(group, run), "claims": [shown[member.id] for member in group]}
        for group in families(results)
    ]
    computed = {
        f"{s['precision']}, {s['threads']} threads" for s in (c.content["setting"] for c in conditions.values())
    }
    content = {
        "title": f"Claims: {', '.join(dict.fromkeys(result.family for result in results))}",
        "counted": counted(results),
        "families": grouped,
        "undecided": run.undecided,
        "foot": f"{run.setting}; "
        + ", ".join([*computed, *(f"{name} {version}" for name, version in run.versions.items())]),
    }
    write_whole(path, render_page("report.html.jinja", content, {"x": _place, "share": _share}))


class _Curves:
    """The charts of a claim's conditions, drawn once for claims about the same ones."""

    def __init__(self, conditions: Mapping[str, StoredCondition]) -> None:
        self.conditions = conditions
        self._drawn: dict[tuple[tuple[str, ...], int], list[Chart]] = {}

    def of(self, keys: tuple[str, ...], replicas: int) -> list[Chart]:
        """Return the charts over the first so many replicas."""
        conditions = self._first(keys, replicas)
        if not conditions:
            return []
        if (keys, replicas) not in self._drawn:
            kept = max(len(condition.curves or ()) for condition in conditions)
            rest = ", which rest where they arrive" if any(condition.rests for condition in conditions) else ""
            what = f"median and 80% band of {kept} replicas{rest}; thin: single runs"
            charts = [Chart(f"{capitalized(name)}: {what}", chart) for name, chart in curve_charts(conditions).items()]
            if any(condition.has_target for condition in conditions):
                arrivals = "Replicas that reached the target, up to the budget"
                charts.insert(0, Chart(arrivals, reach_chart(conditions)))
            self._drawn[keys, replicas] = charts
        return self._drawn[keys, replicas]

    def by_moment(self, keys: tuple[str, ...], replicas: int, samples: Sequence[ValueSamples]) -> list[Chart]:
        """Return each measure at the moments at which it was taken, where there are several."""
        conditions = self._first(keys, replicas)
        measures = {each.measure.partition("@")[0]: each for each in samples if each.values or not each.are_differences}
        charts = [moments_chart(conditions, each) for each in measures.values()]
        return [Chart(*chart) for chart in charts if chart is not None]

    def _first(self, keys: tuple[str, ...], replicas: int) -> list[StoredCondition]:
        """Return the conditions over the first so many replicas; none where one of them is not known."""
        if not self.conditions.keys() >= set(keys):
            return []
        return [self.conditions[key].first(replicas) for key in keys]

    def in_order(self, keys: tuple[str, ...], replicas: int) -> list[Chart]:
        """Return the claimed order of the conditions beside the measured one."""
        conditions = self._first(keys, replicas)
        if not conditions:
            return []
        return [
            Chart("The claimed order, and the measured one by the mean rank within a replica", order_chart(conditions))
        ]


def _claim(number: int, result: ClaimResult, curves: _Curves, run: RunInfo) -> dict[str, Any]:
    """Return what the template shows of a claim."""
    verdict = result.verdict
    effect = verdict.effect
    keys = tuple(key for _, key in result.keys)
    settings = _by_name(
        [_flat(curves.conditions[key].content["condition"]) for key in keys if key in curves.conditions]
    )
    measure, median_values = _medians(result)
    order = curves.in_order(keys, verdict.replicas) if verdict.single_run_agreement else []
    return {
        "number": number,
        "name": result.name,
        "statement": title(result),
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
            _condition(k, counts, verdict.budget) | {"median_value": median_values.get(counts.name, "")}
            for k, counts in enumerate(verdict.conditions)
        ],
        "measure": measure,
        "is_recorded": bool(verdict.sample),
        "diverged": any(counts.diverged for counts in verdict.conditions),
        "charts": [
            replace(chart, picture=prefix_ids(chart.picture, f"c{number}-{k}"))
            for k, chart in enumerate(
                [
                    *_values(result),
                    *curves.by_moment(keys, verdict.replicas, result.value_samples),
                    *_evidence(result, run),
                    *order,
                    *curves.of(keys, verdict.replicas),
                ]
            )
        ],
        "setting": [
            (name, values[0]) for name, values in settings if len(set(values)) == 1 and not _is_inner(name, values[0])
        ],
        "differences": [(name, values) for name, values in settings if len(set(values)) > 1],
        "again": run.rerun_command(result),
    }


def _medians(result: ClaimResult) -> tuple[str, dict[str, str]]:
    """Return the measure with its unit, and each condition's median, where the claim is about values alone."""
    difference = result.verdict.difference
    if medians(result) and difference is not None:
        return difference.measure, dict(medians(result))
    samples = next((each for each in result.value_samples if each.by_condition), None)
    if samples is None or any(counts.has_target for counts in result.verdict.conditions):
        return "", {}
    same = [row for each in result.value_samples if each.label == samples.label for row in each.by_condition]
    return samples.label, {row.name: f"{row.median:.4g}" for row in same}


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


def _evidence(result: ClaimResult, run: RunInfo) -> list[Chart]:
    if result.evidence_path is None:
        return []
    needed = result.family_size / run.alpha
    chart = evidence_chart(result.evidence_path, needed=needed, decided_at=result.verdict.decided_at)
    ended = decided(result)
    caption = Markup(
        'Largest evidence so far <span class="supported">for</span> and, broken, <span class="refuted">against</span>; '
        "{:.0f} (line) decides{}"
    )
    return [Chart(caption.format(needed, f"; dotted: {ended}" if ended else ""), chart)]


def _values(result: ClaimResult) -> list[Chart]:
    return [
        Chart(panel.caption, value_chart(panel), panel.description)
        for samples in result.value_samples
        for panel in value_panels(samples)
    ]


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
    """Return a condition's content as one level of words; attributes of an object are named as settings are."""
    flat: dict[str, str] = {}
    for name, value_of_field in _fields(content):
        if isinstance(value_of_field, Mapping):
            flat |= _flat(value_of_field, f"{prefix}{name}." if name else prefix)
        elif value_of_field not in (None, "", []):
            flat[prefix + name] = str(value_of_field)
    return flat


def _fields(content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return names and values of a part of a fingerprint; "" where a part stands for what holds it."""
    if list(content) == ["dict"] and _are_pairs(content["dict"]):
        return [(str(name).strip("'"), each) for name, each in content["dict"]]
    if isinstance(content.get("reduced"), Mapping) and isinstance(content["reduced"].get("given"), Mapping):
        return [("", content["reduced"]["given"]), *((name, content[name]) for name in content if name != "reduced")]
    return list(content.items())


def _are_pairs(items: object) -> bool:
    return isinstance(items, list) and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in items)


def _is_inner(name: str, shown: str) -> bool:
    """Return whether a setting is an object's own business, such as hooks that nobody registered."""
    return any(part.startswith("_") for part in name.split(".")) or shown.startswith("again ")


def _by_name(contents: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    """Return each name with the value that every condition has under it."""
    names = dict.fromkeys(name for content in contents for name in content)
    return [(name, [content.get(name, "") for content in contents]) for name in names]


def _place(share: float) -> float:
    """Return where a probability lies on the interval's axis."""
    return round(10 + 300 * share, 1)


def _share(number: float) -> str:
    return "1/2" if number == 0.5 else f"{number:.3g}"
