"""What evaluate answers."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.claims.hypotheses import Hypothesis
from lossact.experiment import Condition, Trials
from lossact.stats import Decision, Proportion, proportion

LARGEST_LOG = 700.0  # e^709 is the last double


@dataclass(frozen=True)
class ConditionSummary:
    """One condition over the replicas a verdict rests on.

    Attributes:
        name: the condition's.
        replicas, reached, diverged: counts.
        median_steps_to_target: updates; None where fewer than half reached the target.
        mean_restricted_steps: mean of min(T, budget), in updates.
    """

    name: str
    replicas: int
    reached: int
    diverged: int
    median_steps_to_target: float | None
    mean_restricted_steps: float

    @classmethod
    def of(cls, condition: Condition, trials: Trials) -> "ConditionSummary":
        return cls(
            name=condition.name,
            replicas=len(trials),
            reached=int(trials.reached.sum()),
            diverged=int(trials.diverged.sum()),
            median_steps_to_target=trials.median_steps,
            mean_restricted_steps=float(trials.restricted_steps.mean()),
        )


@dataclass(frozen=True)
class Verdict:
    """SUPPORTED, REFUTED or INCONCLUSIVE, with an effect size and an interval.

    Attributes:
        hypothesis: what was claimed.
        decision: the verdict and its evidence.
        conditions: each condition over the replicas looked at.
        story: how often one replica of each would have told the claimed order; orderings only.
        warnings: what a reader should know before quoting the verdict.
        seconds: time it took, training included.
    """

    hypothesis: Hypothesis
    decision: Decision
    conditions: tuple[ConditionSummary, ...]
    story: Proportion | None
    warnings: tuple[str, ...]
    seconds: float

    @classmethod
    def of(
        cls, hypothesis: Hypothesis, decision: Decision, trials: Sequence[Trials], *, delta: float, seconds: float
    ) -> "Verdict":
        """Sum up the trials of the replicas that were looked at."""
        summaries = tuple(map(ConditionSummary.of, hypothesis.conditions, trials))
        alpha = (1 - decision.level) / 2
        return cls(
            hypothesis=hypothesis,
            decision=decision,
            conditions=summaries,
            story=_story(trials, alpha=alpha, delta=delta) if hypothesis.tells_order else None,
            warnings=tuple(_warnings(decision, summaries)) if hypothesis.tells_sooner else (),
            seconds=seconds,
        )

    @property
    def name(self) -> str:
        """ "supported", "refuted" or "inconclusive"."""
        return self.decision.verdict

    def to_json(self) -> dict[str, Any]:
        """The fields of --claims-json that are the verdict's own, ready for JSON."""
        d = self.decision
        return {
            "verdict": d.verdict,
            "reason": d.reason,
            "effect": {
                "name": self.hypothesis.effect_name,
                "value": d.value,
                "low": d.low,
                "high": d.high,
                "level": d.level,
            },
            "budget": self.hypothesis.budget,
            "replicas": d.replicas,
            "decided_at": d.decided_at,
            "evidence": {
                "support": math.exp(min(d.log_support, LARGEST_LOG)),
                "refute": math.exp(min(d.log_refute, LARGEST_LOG)),
            },
            "conditions": [
                {
                    "name": c.name,
                    "replicas": c.replicas,
                    "reached": c.reached,
                    "diverged": c.diverged,
                    "median_steps_to_target": c.median_steps_to_target,
                }
                for c in self.conditions
            ],
            "story": None if self.story is None else asdict(self.story) | {"value": self.story.value},
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        d = self.decision
        reason = f" ({d.reason})" if d.reason else ""
        return (
            f"{d.verdict.upper()}{reason}: {self.hypothesis!r}\n"
            f"{self.hypothesis.effect_name} {d.value:.3f}, {d.level:.1%} confidence sequence "
            f"[{d.low:.3f}, {d.high:.3f}], within {self.hypothesis.budget} updates, {d.replicas} replicas"
            + (f", decided at replica {d.decided_at}" if d.decided_at else "")
        )


def _story(trials: Sequence[Trials], *, alpha: float, delta: float) -> Proportion:
    """Told by a replica where all reached the target, each strictly before the next."""
    steps = np.stack([one.steps for one in trials])
    arrived = np.stack([one.reached for one in trials])
    told: NDArray[np.bool_] = np.all(arrived, axis=0) & np.all(np.diff(steps, axis=0) > 0, axis=0)
    return proportion(told, alpha=alpha, delta=delta)


def _warnings(decision: Decision, summaries: Sequence[ConditionSummary]) -> list[str]:
    saved = summaries[1].mean_restricted_steps - summaries[0].mean_restricted_steps
    if (decision.value - 0.5) * saved >= 0:
        return []
    first, second = (summary.name for summary in summaries)
    return [
        f"win probability {decision.value:.3f} and restricted means point opposite ways: "
        f"{first} uses {abs(saved):.1f} updates {'less' if saved > 0 else 'more'} than {second} on average; "
        "the curves cross"
    ]
