"""What evaluate returns."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.claims.hypotheses import Hypothesis
from lossact.claims.notebook import verdict_html
from lossact.claims.recorded_evidence import RecordedEvidence
from lossact.claims.summary import ConditionSummary
from lossact.claims.theorem import Theorem
from lossact.claims.value_samples import ValueSamples, value_samples
from lossact.claims.verdict_summary import Estimate, EvidenceValues, SingleRunAgreement, VerdictSummary
from lossact.stats import Decision, Effect, Proportion, compare_steps, proportion
from lossact.stats.margins import BUDGET_TOO_SHORT
from lossact.stats.means import mean_difference, unpaired_improvement
from lossact.stats.outcomes import Outcomes
from lossact.storage import Trials

LARGEST_LOG = 700.0  # e^709 is the last double


@dataclass(frozen=True)
class Verdict:
    """SUPPORTED, REFUTED or INCONCLUSIVE, with an effect size and an interval.

    Attributes:
        hypothesis: what was claimed.
        decision: the verdict and its evidence.
        conditions: each condition over the replicas looked at.
        single_run_agreement: how often one run of each condition shows the claimed order; orderings only.
        warnings: what a reader should know before quoting the verdict.
        thresholds: what the interval is held against.
        seconds: time it took, training included.
        recorded_difference: of a claim about recorded values, what it is about in the measure's own unit; else None.
    """

    hypothesis: Hypothesis
    decision: Decision
    conditions: tuple[ConditionSummary, ...]
    single_run_agreement: Proportion | None
    warnings: tuple[str, ...]
    thresholds: tuple[float, ...]
    seconds: float
    recorded_difference: Estimate | None = None

    @classmethod
    def of(
        cls,
        hypothesis: Hypothesis,
        decision: Decision,
        trials: Sequence[Trials],
        *,
        delta: float,
        seconds: float,
        notes: Sequence[str] = (),
    ) -> "Verdict":
        """Sum up the trials of the replicas that were looked at.

        Args:
            hypothesis: the claim.
            decision: about it.
            trials: of each condition, in the order of the conditions.
            delta: the smallest margin that matters.
            seconds: how long it took.
            notes: further warnings.

        Returns:
            the verdict.
        """
        summaries = tuple(map(ConditionSummary.of, hypothesis.conditions, trials))
        decision = _with_diverged(_with_unreached(decision, summaries), summaries)
        return cls(
            hypothesis=hypothesis,
            decision=decision,
            conditions=summaries,
            single_run_agreement=_single_run_agreement(trials, alpha=decision.alpha)
            if hypothesis.is_ordering and not decision.sample
            else None,
            warnings=(
                *_zone_warning(decision),
                *_drift_warning(decision),
                *_divergence_warning(summaries),
                *(_unreached(summaries) if decision.verdict == "refuted" else []),
                *(_how_many_reached(summaries) if decision.reason == BUDGET_TOO_SHORT else []),
                *([] if decision.sample else hypothesis.warnings(decision, trials)),
                *notes,
            ),
            thresholds=hypothesis.thresholds(delta),
            seconds=seconds,
        )

    @classmethod
    def of_recorded(
        cls, hypothesis: Hypothesis, evidence: RecordedEvidence, *, delta: float, seconds: float
    ) -> "Verdict":
        """Sum up recorded runs.

        Args:
            hypothesis: the claim.
            evidence: about it.
            delta: the smallest margin that matters.
            seconds: how long it took.

        Returns:
            the verdict.
        """
        verdict = cls.of(
            hypothesis, evidence.decision, evidence.trials, delta=delta, seconds=seconds, notes=evidence.notes
        )
        return replace(verdict, recorded_difference=evidence.difference)

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
            effect=self.effect,
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
            effect_at_decision=self.effect_at_decision,
            unpaired_effect=self.unpaired_effect,
            mean_difference=self.mean_difference,
            difference=self.difference,
        )

    @property
    def effect(self) -> Estimate:
        """The effect over all replicas that were looked at."""
        return self._estimate(self.decision)

    @property
    def effect_at_decision(self) -> Estimate | None:
        """The effect when the verdict fell, None where none has fallen."""
        return None if self.decision.at_decision is None else self._estimate(self.decision.at_decision)

    def _estimate(self, of: Decision | Effect) -> Estimate:
        hypothesis = self.hypothesis
        return Estimate(
            hypothesis.effect_name, of.value, of.low, of.high, self.decision.level, unit=hypothesis.effect_unit
        )

    @property
    def unpaired_effect(self) -> Estimate | None:
        """Probability that a run of the first condition beats an independent run of the second, for pairs."""
        if not self.hypothesis.is_pair or self.decision.replicas < 2 or self.decision.sample:
            return None
        a, b = (condition.trials for condition in self.conditions)
        last = len(a) - len(a) % 2
        even, odd = slice(0, last, 2), slice(1, last, 2)
        ratio = getattr(self.hypothesis, "ratio", 1.0)

        def compare(of_a: slice, of_b: slice) -> Outcomes:
            return compare_steps(
                a.steps[of_a], a.reached[of_a], b.steps[of_b], b.reached[of_b], budget=a.budget, ratio=ratio
            )

        estimate = unpaired_improvement((compare(even, odd), compare(odd, even)), self.decision.alpha)
        return Estimate("unpaired win probability", **asdict(estimate))

    @property
    def mean_difference(self) -> Estimate | None:
        """Difference of mean updates used within the budget, second condition minus first, for pairs."""
        if not self.hypothesis.is_pair or self.decision.sample:
            return None
        first, second = (condition.trials for condition in self.conditions)
        estimate = mean_difference(second.restricted_steps - first.restricted_steps, first.budget, self.decision.alpha)
        return Estimate("difference of restricted means", **asdict(estimate), unit="updates")

    @property
    def difference(self) -> Estimate | None:
        """What a claim about values is about in the measure's own unit, for these claims."""
        if self.is_exact or self.decision.sample:
            return self.recorded_difference
        trials = [condition.trials for condition in self.conditions]
        return self.hypothesis.estimate(trials, self.decision.alpha)

    @property
    def value_samples(self) -> tuple[ValueSamples, ...]:
        """The numbers that a claim about values rests on, one entry a measure; none for other claims.

        lossact.report.value_figures draws them.
        """
        estimate = self.difference or (self.effect if self.effect.unit else None)
        trials = [condition.trials for condition in self.conditions]
        return value_samples(self.hypothesis, trials, self.decision.alpha, estimate=estimate)

    def _e_value(self, logarithm: float) -> float | None:
        return None if self.is_exact or self.decision.sample else math.exp(min(logarithm, LARGEST_LOG))

    @property
    def is_exact(self) -> bool:
        """Whether a theorem was checked, and nothing sampled."""
        return isinstance(self.hypothesis, Theorem)

    def _repr_html_(self) -> str:
        medians: dict[str, dict[str, float]] = {}
        for samples in self.value_samples:
            medians.setdefault(samples.label, {}).update({row.name: row.median for row in samples.by_condition})
        return verdict_html(
            self.name,
            str(self),
            self.warnings,
            self.conditions,
            budget=self.hypothesis.budget,
            medians={measure: rows for measure, rows in medians.items() if rows},
        )

    def __str__(self) -> str:
        return "\n".join([self._sentence(), *(f"note: {warning}" for warning in self.warnings)])

    def _sentence(self) -> str:
        d = self.decision
        reason = f" ({d.reason})" if d.reason else ""
        if self.is_exact:
            return f"{d.verdict.upper()}{reason}: {self.hypothesis!r}\nlargest deviation {d.value:.3g}"
        effect, then, difference = self.effect, self.effect_at_decision, self.difference
        if d.sample:
            return (
                f"{d.verdict.upper()}{reason}: {self.hypothesis!r}\n"
                f"{effect.name} {effect.number}, {d.level:.1%} interval {effect.bounds}, {d.sample}"
                + ("" if difference is None or difference.unit == effect.unit else f"\n{difference}")
            )
        within = f"within {self.hypothesis.budget} updates, " if self.hypothesis.budget else ""
        return (
            f"{d.verdict.upper()}{reason}: {self.hypothesis!r}\n"
            f"{effect.name} {effect.number}, {d.level:.1%} confidence sequence "
            f"{effect.bounds}, {within}{d.replicas} replicas"
            + (f", decided at replica {d.decided_at}" if d.decided_at else "")
            + (f" ({then.number} there)" if then else "")
            + ("" if difference is None or difference.unit == effect.unit else f"\n{difference}")
        )


def _with_unreached(decision: Decision, conditions: Sequence[ConditionSummary]) -> Decision:
    """Name the conditions whose target nobody reached in the reason for SUPPORTED, before anything else."""
    never = _unreached(conditions)
    if decision.verdict != "supported" or not never:
        return decision
    return replace(decision, reason="; ".join(filter(None, [*never, decision.reason])))


def _unreached(conditions: Sequence[ConditionSummary]) -> list[str]:
    return [
        f"{condition.name} reached the target in none of {condition.replicas} replicas"
        for condition in conditions
        if condition.has_target and not condition.reached
    ]


def _how_many_reached(conditions: Sequence[ConditionSummary]) -> list[str]:
    """Say of each condition how many replicas reached its target, where too few did for a verdict."""
    return [
        f"{condition.name} reached the target in {condition.reached} of {condition.replicas} replicas"
        for condition in dict.fromkeys(conditions)
        if condition.has_target
    ]


def _with_diverged(decision: Decision, conditions: Sequence[ConditionSummary]) -> Decision:
    """Say that all replicas of a condition diverged where a larger budget is said to help."""
    lost = [condition for condition in conditions if condition.replicas and condition.diverged == condition.replicas]
    if decision.reason != BUDGET_TOO_SHORT or not lost:
        return decision
    names = " and ".join(dict.fromkeys(condition.name for condition in lost))
    return replace(decision, reason=f"all {lost[0].replicas} replicas of {names} diverged")


def _divergence_warning(conditions: Sequence[ConditionSummary]) -> list[str]:
    """Name the conditions of which half of the replicas diverged, or more."""
    return [
        f"{condition.name}: {condition.diverged} of {condition.replicas} replicas diverged"
        for condition in dict.fromkeys(conditions)
        if condition.diverged and 2 * condition.diverged >= condition.replicas
    ]


def _zone_warning(decision: Decision) -> list[str]:
    if decision.indifference_zone is None or decision.verdict == "inconclusive":
        return []
    low, high = decision.indifference_zone
    return [
        f"{decision.value:.3f} lies in the zone of indifference, {low:g} to {high:g}: either verdict may come there"
    ]


def _drift_warning(decision: Decision) -> list[str]:
    """A confidence sequence that excludes what was observed shows that the replicas are not alike."""
    if decision.level == 1 or decision.low <= decision.value <= decision.high:
        return []
    return [
        f"the effect {decision.value:.3f} lies outside [{decision.low:.3f}, {decision.high:.3f}]: early and late "
        "replicas differ, so they are not drawn alike; nothing a replica does may depend on how far its index is"
    ]


def _single_run_agreement(trials: Sequence[Trials], *, alpha: float) -> Proportion:
    """A replica shows the order where all conditions reached the target, each strictly before the next."""
    steps = np.stack([outcomes.steps for outcomes in trials])
    reached = np.stack([outcomes.reached for outcomes in trials])
    shows: NDArray[np.bool_] = np.all(reached, axis=0) & np.all(np.diff(steps, axis=0) > 0, axis=0)
    return proportion(shows, alpha=alpha)
