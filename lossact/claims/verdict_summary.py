"""A verdict as plain values, which travel between processes and into reports."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lossact.stats import VerdictName


def _finite(number: float) -> float | None:
    """The number, or None where JSON has none."""
    return number if math.isfinite(number) else None


def digits_for(width: float) -> str:
    """Return the format with the fewest decimals that make an interval at least 3 units of the last one wide.

    Args:
        width: of the interval, >= 0 or infinite.

    Returns:
        a format specification such as ".4f".
    """
    if not 1e-12 < width < math.inf:
        return ".4g"
    return f".{max(0, 1 - math.floor(math.log10(width / 3)))}f"


@dataclass(frozen=True)
class Estimate:
    """An estimate with its confidence sequence.

    Attributes:
        name: what is estimated.
        value, low, high: the estimate and its bounds; infinite where there is no bound.
        level: joint coverage of the bounds, in (0, 1].
        unit: of value and bounds, "" for a probability.
        measure: what was measured, "" where it is no measure of trained networks.
        is_fixed: whether the bounds are for a fixed number of runs, and not a confidence sequence.
    """

    name: str
    value: float
    low: float
    high: float
    level: float
    unit: str = ""
    measure: str = ""
    is_fixed: bool = False

    @property
    def number(self) -> str:
        """The estimate as tables show it."""
        return self._shown(self.value)

    @property
    def bounds(self) -> str:
        """The bounds as tables show them."""
        return f"[{self._shown(self.low)}, {self._shown(self.high)}]"

    def _shown(self, number: float) -> str:
        """Three decimals of a probability; of what has a unit, as many as its interval is worth."""
        return format(number, "z" + (digits_for(self.high - self.low) if self.unit else ".3f"))

    def __str__(self) -> str:
        sign = "+" if any(word in self.name for word in ("difference", "shift")) else ""
        unit = f" {self.unit}" if self.unit not in {"", self.measure} else ""
        form = digits_for(self.high - self.low) if self.is_fixed else ".4g"
        of = f" of {self.measure or self.unit}" if self.measure or self.unit else ""
        if math.isinf(self.value):
            return f"{self.name}{of}: most replicas have no value"
        value = f"{self.value:{sign}z{form}}{unit}"
        if self.is_fixed and math.isinf(self.low) and math.isinf(self.high):
            return f"{self.name}{of} {value}, too few runs for an interval"
        kind = "interval" if self.is_fixed else "confidence sequence"
        return f"{self.name}{of} {value} [{self.low:z{form}}, {self.high:z{form}}], {self.level:.1%} {kind}"

    def to_json(self) -> dict[str, Any]:
        """The fields by name; a number that is not finite is None, and empty words are left out."""
        numbers = {"value": _finite(self.value), "low": _finite(self.low), "high": _finite(self.high)}
        words = {"unit": self.unit, "measure": self.measure}
        return {"name": self.name, **numbers, "level": self.level} | {
            name: word for name, word in words.items() if word
        }


@dataclass(frozen=True)
class EvidenceValues:
    """The largest e-values so far for and against a claim; None where nothing is sampled.

    Args:
        support: for the claim, >= 0.
        refute: against it, >= 0.
    """

    support: float | None = None
    refute: float | None = None


@dataclass(frozen=True)
class ConditionCounts:
    """One condition over the replicas that a verdict rests on.

    Attributes:
        name: the condition's.
        replicas, reached, diverged: counts.
        median_steps_to_target: in updates, None where fewer than half of the replicas reached the target.
        has_target: whether the condition has a target.
        median_value: of recorded runs in a claim about their values, the median, in the measure's unit; else None.
    """

    name: str
    replicas: int
    reached: int
    diverged: int
    median_steps_to_target: float | None
    has_target: bool = True
    median_value: float | None = None


def _condition_to_json(counts: ConditionCounts) -> dict[str, Any]:
    """The fields of --claims-json that are about a condition."""
    content = asdict(counts)
    del content["has_target"]
    if counts.median_value is None:
        del content["median_value"]
    return content


@dataclass(frozen=True)
class SingleRunAgreement:
    """How often one run of each condition shows the claimed order, with a confidence sequence.

    Args:
        successes: replicas that show it.
        n: replicas in all.
        low, high: bounds of the share.
        level: coverage of the bounds.
        value: the observed share.
    """

    successes: int
    n: int
    low: float
    high: float
    level: float
    value: float


@dataclass(frozen=True)
class VerdictSummary:
    """What reports say of a verdict.

    Attributes:
        verdict: "supported", "refuted" or "inconclusive".
        reason: why, where the verdict alone does not say it; else "".
        effect: what the claim is about, after all `replicas`.
        budget: updates at most, None where nothing is trained.
        replicas: how many were looked at.
        decided_at: after how many of them the verdict fell, None where none has.
        replicas_to_go: how many more would probably settle an open claim, None where that is not known.
        evidence: e-values.
        conditions: counts, one entry a condition.
        single_run_agreement: of orderings; "story" in JSON.
        seconds: time it took, training included.
        effect_at_decision: the effect after `decided_at` replicas, biased towards the verdict; None where none has
            fallen.
        unpaired_effect: probability that a run of the first condition beats an independent run of the second; None
            where the claim is not about one pair.
        difference: what a claim about values is about, in the measure's own unit; None for other claims.
        sample: recorded runs in words, where a fixed number of them decided; else "".
        mean_difference: difference of mean updates used within the budget, second condition minus first; None where
            the claim is not about one pair.
    """

    verdict: VerdictName
    reason: str
    effect: Estimate
    budget: int | None
    replicas: int
    decided_at: int | None
    replicas_to_go: int | None = None
    evidence: EvidenceValues = EvidenceValues()
    conditions: tuple[ConditionCounts, ...] = ()
    single_run_agreement: SingleRunAgreement | None = None
    seconds: float = 0.0
    effect_at_decision: Estimate | None = None
    unpaired_effect: Estimate | None = None
    mean_difference: Estimate | None = None
    difference: Estimate | None = None
    sample: str = ""

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "VerdictSummary":
        """Make a summary from plain values; the inverse of dataclasses.asdict.

        Args:
            content: fields by name.

        Returns:
            the summary.
        """
        estimates = ("effect", "effect_at_decision", "unpaired_effect", "mean_difference", "difference")
        agreement = content["single_run_agreement"]
        return cls(
            **{
                **content,
                **{name: None if content[name] is None else Estimate(**content[name]) for name in estimates},
                "evidence": EvidenceValues(**content["evidence"]),
                "conditions": tuple(ConditionCounts(**condition) for condition in content["conditions"]),
                "single_run_agreement": None if agreement is None else SingleRunAgreement(**agreement),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """The verdict's own fields of --claims-json."""

        def to_json(estimate: Estimate | None) -> dict[str, Any] | None:
            return None if estimate is None else estimate.to_json()

        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "effect": self.effect.to_json(),
            "budget": self.budget,
            "replicas": self.replicas,
            "decided_at": self.decided_at,
            "replicas_to_go": self.replicas_to_go,
            "evidence": asdict(self.evidence),
            "conditions": [_condition_to_json(condition) for condition in self.conditions],
            "story": None if self.single_run_agreement is None else asdict(self.single_run_agreement),
            "sample": self.sample,
            "seconds": self.seconds,
            "effect_at_decision": to_json(self.effect_at_decision),
            "unpaired_effect": to_json(self.unpaired_effect),
            "mean_difference": to_json(self.mean_difference),
            "difference": to_json(self.difference),
        }
