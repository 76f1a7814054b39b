"""What evaluate answers."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.claims.hypotheses import Hypothesis
from lossact.claims.notebook import verdict_html
from lossact.claims.summary import ConditionSummary
from lossact.claims.theorem import Theorem
from lossact.claims.verdict_summary import Estimate, EvidenceValues, SingleRunAgreement, VerdictSummary
from lossact.stats import Decision, Proportion, proportion
from lossact.storage import Trials

LARGEST_LOG = 700.0  # e^709 is the last double


@dataclass(frozen=True)
class Verdict:
    """SUPPORTED, REFUTED or INCONCLUSIVE, with an effect size and an interval.

    Attributes:
        hypothesis: what was claimed.
        decision: the verdict and its evidence.
        conditions: each condition over the replicas looked at.
        story: how often one replica of each would have told the claimed order; orderings only.
        warnings: what a reader should know before quoting the verdict.
        thresholds: what the interval is looked at against.
        seconds: time it took, training included.
    """

    hypothesis: Hypothesis
    decision: Decision
    conditions: tuple[ConditionSummary, ...]
    single_run_agreement: Proportion | None
    warnings: tuple[str, ...]
    thresholds: tuple[float, ...]
    seconds: float

    @classmethod
    def of(
        cls, hypothesis: Hypothesis, decision: Decision, trials: Sequence[Trials], *, delta: float, seconds: float
    ) -> "Verdict":
        """Sum up the trials of the replicas that were looked at."""
        summaries = tuple(map(ConditionSummary.of, hypothesis.conditions, trials))
        return cls(
            hypothesis=hypothesis,
            decision=decision,
            conditions=summaries,
            single_run_agreement=_single_run_agreement(trials, alpha=decision.alpha, delta=delta)
            if hypothesis.is_ordering and not decision.sample
            else None,
            warnings=(
                *_of_the_zone(decision),
                *([] if decision.sample else hypothesis.warnings(decision, trials)),
            ),
            thresholds=hypothesis.thresholds(delta),
            seconds=seconds,
        )

    @property
    def name(self) -> str:
        """ "supported", "refuted" or "inconclusive"."""
        return self.decision.verdict

    def to_json(self) -> dict[str, Any]:
        """The fields of --claims-json that are the verdict's own, ready for JSON."""
        return self.summary().to_json()

    def summary(self) -> VerdictSummary:
        """The verdict as plain values, for reports."""
        d, agreement = self.decision, self.single_run_agreement
        return VerdictSummary(
            verdict=d.verdict,
            reason=d.reason,
            effect=Estimate(self.hypothesis.effect_name, d.value, d.low, d.high, d.level),
            budget=self.hypothesis.budget,
            replicas=d.replicas,
            decided_at=d.decided_at,
            replicas_to_go=d.replicas_to_go,
            evidence=EvidenceValues(self._e_value(d.log_support), self._e_value(d.log_refute)),
            sample=d.sample,
            conditions=tuple(condition.counts for condition in self.conditions),
            single_run_agreement=None
            if agreement is None
            else SingleRunAgreement(**asdict(agreement), value=agreement.value),
            seconds=self.seconds,
        )

    def _e_value(self, logarithm: float) -> float | None:
        return None if self.is_exact or self.decision.sample else math.exp(min(logarithm, LARGEST_LOG))

    @property
    def is_exact(self) -> bool:
        """Whether a theorem was checked, and nothing sampled."""
        return isinstance(self.hypothesis, Theorem)

    def _repr_html_(self) -> str:
        return verdict_html(self.name, str(self), self.warnings, self.conditions, budget=self.hypothesis.budget)

    def __str__(self) -> str:
        d = self.decision
        reason = f" ({d.reason})" if d.reason else ""
        if self.is_exact:
            return f"{d.verdict.upper()}{reason}: {self.hypothesis!r}\nlargest deviation {d.value:.3g}"
        if d.sample:
            return (
                f"{d.verdict.upper()}{reason}: {self.hypothesis!r}\n"
                f"{self.hypothesis.effect_name} {d.value:.3f}, {d.level:.1%} interval [{d.low:.3f}, {d.high:.3f}], "
                f"{d.sample}"
            )
        within = f"within {self.hypothesis.budget} updates, " if self.hypothesis.budget else ""
        return (
            f"{d.verdict.upper()}{reason}: {self.hypothesis!r}\n"
            f"{self.hypothesis.effect_name} {d.value:.3f}, {d.level:.1%} confidence sequence "
            f"[{d.low:.3f}, {d.high:.3f}], {within}{d.replicas} replicas"
            + (f", decided at replica {d.decided_at}" if d.decided_at else "")
        )


def _of_the_zone(decision: Decision) -> list[str]:
    if decision.indifference_zone is None or decision.verdict == "inconclusive":
        return []
    low, high = decision.indifference_zone
    return [
        f"{decision.value:.3f} lies in the zone of indifference, {low:g} to {high:g}: either verdict may come there"
    ]


def _single_run_agreement(trials: Sequence[Trials], *, alpha: float, delta: float) -> Proportion:
    """Told by a replica where all reached the target, each strictly before the next."""
    steps = np.stack([one.steps for one in trials])
    arrived = np.stack([one.reached for one in trials])
    told: NDArray[np.bool_] = np.all(arrived, axis=0) & np.all(np.diff(steps, axis=0) > 0, axis=0)
    return proportion(told, alpha=alpha, delta=delta)
