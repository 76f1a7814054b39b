"""What became of one condition over the replicas that a verdict rests on."""

from dataclasses import dataclass, field

import numpy as np

from lossact.claims.verdict_summary import ConditionCounts
from lossact.conditions import BaseCondition, RecordedRuns
from lossact.storage import Trials


@dataclass(frozen=True)
class ConditionSummary:
    """One condition over the replicas a verdict rests on.

    Attributes:
        name: the condition's.
        replicas, reached, diverged: counts.
        median_steps_to_target: updates; None where fewer than half reached the target.
        mean_restricted_steps: mean of min(T, budget), in updates.
        trials: of these replicas.
        update_unit: what an update is, where it is not one optimizer step on one batch.
        has_target: whether the condition has a target.
        median_value: of recorded runs in a claim about their values, the median, in the measure's unit; else None.
    """

    name: str
    replicas: int
    reached: int
    diverged: int
    median_steps_to_target: float | None
    mean_restricted_steps: float
    trials: Trials = field(repr=False, compare=False)
    update_unit: str = field(default="", kw_only=True)
    has_target: bool = field(default=True, kw_only=True)
    median_value: float | None = field(default=None, kw_only=True)

    @classmethod
    def of(cls, condition: BaseCondition, trials: Trials) -> "ConditionSummary":
        values = list(trials.values.values()) if isinstance(condition, RecordedRuns) else []
        return cls(
            name=condition.name,
            replicas=len(trials),
            reached=int(trials.reached.sum()),
            diverged=int(trials.diverged.sum()),
            median_steps_to_target=trials.median_steps,
            mean_restricted_steps=float(trials.restricted_steps.mean()),
            trials=trials,
            update_unit=condition.update_unit,
            has_target=not values and (condition.has_target or bool(trials.reached.any())),
            median_value=float(np.median(values[0])) if values else None,
        )

    @property
    def counts(self) -> ConditionCounts:
        """What reports say of it."""
        return ConditionCounts(
            self.name,
            self.replicas,
            self.reached,
            self.diverged,
            self.median_steps_to_target,
            self.has_target,
            self.median_value,
        )
