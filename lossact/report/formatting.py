"""The words in which tables, pages and logs describe a claim."""

import math
from collections.abc import Sequence

from lossact.claims.result import ClaimResult
from lossact.claims.verdict_summary import ConditionCounts, Estimate, SingleRunAgreement, digits_for


def short_name(result: ClaimResult) -> str:
    """Return the claim's name without file and prefix."""
    test, bracket, parameters = _test_of(result)
    return f"{test.rpartition('::')[2].removeprefix('test_')}{bracket}{parameters}"


def title(result: ClaimResult) -> str:
    """Return the claim's statement, with its parameters, which tell the claims of one parametrised test apart."""
    _, bracket, parameters = _test_of(result)
    return f"{result.statement} [{parameters}" if bracket else result.statement


def _test_of(result: ClaimResult) -> tuple[str, str, str]:
    """Split a claim's id, without its file, where its parameters begin."""
    _, _, test = result.id.partition("::")
    return (test or result.id).partition("[")


def family_level(result: ClaimResult, alpha: float) -> str:
    """Return how many claims share the family's alpha, and at which level each is decided."""
    size = result.family_size
    if not result.family_declared:
        return (
            f"each claim at alpha {alpha:g} a side by itself, not corrected for their number (to correct, write "
            "size = N in a family.toml beside them)"
        )
    return f"{size} claim{'s' if size > 1 else ''}, alpha {alpha:g}/{size} a side"


def value(result: ClaimResult) -> str:
    """Return the effect, or for a theorem the largest deviation."""
    effect = result.verdict.effect.value
    if not result.exact:
        return result.verdict.effect.number
    return f"{effect:.0e}" if math.isfinite(effect) else "NaN"


def bounds(result: ClaimResult) -> str:
    """Return the interval, or "exact" where nothing was sampled."""
    return "exact" if result.exact else result.verdict.effect.bounds


def level(result: ClaimResult) -> str:
    """Return the interval's level, with as many digits as it takes not to say 100%."""
    of_effect = result.verdict.effect.level
    texts = (f"{of_effect:.{digits}%}" for digits in range(1, 8))
    return next((text for text in texts if not text.startswith("100") or of_effect == 1), "nearly 100%")


def decided(result: ClaimResult) -> str:
    """Return after how many replicas the claim was decided, or given up; "" where neither happened."""
    at = result.verdict.decided_at
    if not at:
        return ""
    given_up = result.name == "inconclusive" or result.by_holm
    then = result.verdict.effect_at_decision
    there = f" (effect {then.number} there)" if then is not None and not given_up else ""
    return f"{'looking ended' if given_up else 'decided'} at replica {at}{there}"


def share(count: int, of: int) -> str:
    """Return a percentage that is 0% or 100% only where it is exactly that."""
    text = f"{count / of:.0%}"
    if 0 < count < of:
        return {"0%": "<1%", "100%": ">99%"}.get(text, text)
    return text


def reached(condition: ConditionCounts) -> str:
    """Return a condition's name and the share of its replicas that met the target."""
    diverged = f", {condition.diverged} diverged" if condition.diverged else ""
    return f"{condition.name} {share(condition.reached, condition.replicas)}{diverged}"


def medians(result: ClaimResult) -> list[tuple[str, str]]:
    """Return each condition's name and the median of its recorded values, for claims about these; else nothing."""
    difference = result.verdict.difference
    if difference is None:
        return []
    form = digits_for(difference.high - difference.low)
    return [
        (condition.name, f"{condition.median_value:{form}}")
        for condition in result.verdict.conditions
        if condition.median_value is not None
    ]


def medians_in_words(result: ClaimResult) -> str:
    """Return the medians of several conditions' recorded values; "" for other claims."""
    values = medians(result)
    difference = result.verdict.difference
    if difference is None or len(values) < 2:  # the median of a single condition is what the claim is about
        return ""
    return f"medians of {difference.measure}: " + ", ".join(f"{name} {median}" for name, median in values)


def unreached(result: ClaimResult) -> str:
    """Return which conditions nobody reached the target with, where that alone may be why a claim is supported."""
    never = [
        condition.name for condition in result.verdict.conditions if condition.has_target and not condition.reached
    ]
    return f" (reached by nobody: {', '.join(never)})" if never and result.name == "supported" else ""


def difference(result: ClaimResult) -> Estimate | None:
    """Return what a claim about values is about, in the measure's unit; None where the effect says just that."""
    summary = result.verdict
    if summary.difference is None or (summary.effect.unit and summary.difference.unit == summary.effect.unit):
        return None
    return summary.difference


def beside_the_verdict(result: ClaimResult) -> list[str]:
    """Return what is measured beside the verdict, in its own unit, and the effect between independent runs."""
    summary = result.verdict
    shown = difference(result)
    parts = [] if shown is None else [str(shown)]
    if summary.unpaired_effect is not None:
        parts.append(f"between independent runs the win probability is {_estimate(summary.unpaired_effect, 3)}")
    if summary.mean_difference is not None:
        parts.append(
            f"within the budget the second condition uses {_estimate(summary.mean_difference, 1)} updates more than "
            "the first on average"
        )
    return parts


def _estimate(estimate: Estimate, digits: int) -> str:
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def story(agreement: SingleRunAgreement) -> str:
    """Return in words how often one run of each condition shows the claimed order."""
    return (
        f"a single run of each shows this order in {agreement.successes} of {agreement.n} "
        f"({agreement.value:.1%}, [{agreement.low:.3f}, {agreement.high:.3f}])"
    )


def thresholds(result: ClaimResult) -> str:
    """Return in words what each verdict shows."""
    match tuple(f"{threshold:.3g}" for threshold in result.thresholds):
        case (low, high):
            return (
                f"SUPPORTED: shown to be above {low}. REFUTED: shown to be below {high}. "
                "Between the two either verdict may come."
            )
        case (low, _, high):
            return f"SUPPORTED: shown to lie between {low} and {high}. REFUTED: shown to lie outside."
    return ""


def sentence(text: str) -> str:
    """Return text with a capital letter and a full stop."""
    return text[:1].upper() + text[1:] + "."


def families(results: Sequence[ClaimResult]) -> list[list[ClaimResult]]:
    """Return the claims of each family, in their order."""
    folders = dict.fromkeys(result.family_folder for result in results)
    return [[result for result in results if result.family_folder == folder] for folder in folders]


def counted(results: Sequence[ClaimResult]) -> str:
    """Return how many claims there are, and how many of each verdict."""
    names = [result.name for result in results]
    parts = [f"{names.count(name)} {name}" for name in ("supported", "refuted", "inconclusive") if name in names]
    theorems = sum(result.exact for result in results)
    of_theorems = f" ({theorems} theorem{'s' if theorems > 1 else ''} among them)" if theorems else ""
    return f"{len(names)} claim{'s' if len(names) > 1 else ''}{of_theorems}: {', '.join(parts)}"
