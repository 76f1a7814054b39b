"""What tables, pages and logs say of a claim, in the same words."""

import math
from collections.abc import Sequence

from lossact.claims.result import ClaimResult
from lossact.claims.verdict_summary import ConditionCounts, Estimate, SingleRunAgreement


def printable(text: str) -> str:
    """Text whose characters a terminal shows, and does not obey."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def short_name(result: ClaimResult) -> str:
    """The claim's name without file and prefix."""
    return result.id.rpartition("::")[2].removeprefix("test_")


def family_level(result: ClaimResult, alpha: float) -> str:
    """How many claims share the family's alpha, and at which level each is decided."""
    size = result.family_size
    if not result.family_declared:
        return (
            f"each claim at alpha {alpha:g} a side by itself, not corrected for their number (to correct, write "
            "size = N in a family.toml beside them)"
        )
    return f"{size} claim{'s' if size > 1 else ''}, alpha {alpha:g}/{size} a side"


def value(result: ClaimResult) -> str:
    """The effect; of a theorem, the largest deviation."""
    found = result.verdict.effect.value
    if not result.exact:
        return f"{found:.3f}"
    return f"{found:.0e}" if math.isfinite(found) else "NaN"


def bounds(result: ClaimResult) -> str:
    """The interval, or "exact" where nothing was sampled."""
    effect = result.verdict.effect
    return "exact" if result.exact else f"[{effect.low:.3f}, {effect.high:.3f}]"


def level(result: ClaimResult) -> str:
    """The interval's, with as many digits as it takes not to say 100%."""
    found = result.verdict.effect.level
    texts = (f"{found:.{digits}%}" for digits in range(1, 8))
    return next((text for text in texts if not text.startswith("100") or found == 1), "nearly 100%")


def decided(result: ClaimResult) -> str:
    """After how many replicas the verdict fell, or looking was given up; else nothing."""
    at = result.verdict.decided_at
    if not at:
        return ""
    given_up = result.name == "inconclusive" or result.by_holm
    return f"{'looking ended' if given_up else 'decided'} at replica {at}"


def share(count: int, of: int) -> str:
    """A percentage that is 0% or 100% only where it is so."""
    text = f"{count / of:.0%}"
    if 0 < count < of:
        return {"0%": "<1%", "100%": ">99%"}.get(text, text)
    return text


def reached(condition: ConditionCounts) -> str:
    """A condition and how many of its replicas met the target."""
    diverged = f", {condition.diverged} diverged" if condition.diverged else ""
    return f"{condition.name} {share(condition.reached, condition.replicas)}{diverged}"


def unreached(result: ClaimResult) -> str:
    """Which conditions nobody reached the target with, where that alone may be why a claim is supported."""
    never = [condition.name for condition in result.verdict.conditions if not condition.reached]
    return f" (reached by nobody: {', '.join(never)})" if never and result.name == "supported" else ""


def beside_the_verdict(result: ClaimResult) -> list[str]:
    """What is measured beside the verdict: the effect when it fell, without pairing, and in updates."""
    summary = result.verdict
    parts = []
    if summary.effect_at_decision is not None and summary.replicas != summary.decided_at:
        parts.append(f"at replica {summary.decided_at} the effect was {_estimate(summary.effect_at_decision, 3)}")
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
    """How often one run of each condition shows the claimed order."""
    return (
        f"a single run of each tells this order in {agreement.successes} of {agreement.n} "
        f"({agreement.value:.1%}, [{agreement.low:.3f}, {agreement.high:.3f}])"
    )


def thresholds(result: ClaimResult) -> str:
    """What each verdict shows."""
    match tuple(f"{one:.3g}" for one in result.thresholds):
        case (low, high):
            return (
                f"SUPPORTED: shown to be above {low}. REFUTED: shown to be below {high}. "
                "Between the two either verdict may come."
            )
        case (low, _, high):
            return f"SUPPORTED: shown to lie between {low} and {high}. REFUTED: shown to lie outside."
    return ""


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return text[:1].upper() + text[1:] + "."


def families(results: Sequence[ClaimResult]) -> list[list[ClaimResult]]:
    """The claims of each family, in their order."""
    folders = dict.fromkeys(result.family_folder for result in results)
    return [[one for one in results if one.family_folder == folder] for folder in folders]


def counted(results: Sequence[ClaimResult]) -> str:
    """How many claims there are, and how many of each verdict."""
    names = [result.name for result in results]
    parts = [f"{names.count(name)} {name}" for name in ("supported", "refuted", "inconclusive") if name in names]
    theorems = sum(result.exact for result in results)
    told = f" ({theorems} theorem{'s' if theorems > 1 else ''} among them)" if theorems else ""
    return f"{len(names)} claim{'s' if len(names) > 1 else ''}{told}: {', '.join(parts)}"
