"""Conditions that lossact does not train by itself: anybody's LightningModule, anybody's function."""

from dataclasses import dataclass, field
from typing import Any

from lossact.checks import check_count
from lossact.conditions.base import BaseCondition
from lossact.conditions.measures import check_one_side, threshold_of

BUDGET_HINT = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class ExternalCondition(BaseCondition):
    """What is trained a replica at a time.

    Attributes:
        at_least, at_most: the threshold of the target's metric.
        budget: updates at most, >= 1.
        version: change it to have trials trained anew for a reason the store cannot see.
        name: what tables call it.
    """

    at_least: float | None = None
    at_most: float | None = None
    budget: int
    version: str = ""
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.at_least is not None or self.at_most is not None:
            check_one_side(self.at_least, self.at_most)
        check_count("budget", self.budget, hint=BUDGET_HINT)

    @property
    def block(self) -> int:
        """Replicas that are stored together."""
        return 2

    def content(self) -> dict[str, Any]:
        """Everything about the condition that can change an outcome, ready for JSON."""
        return {name: getattr(self, name) for name in ("at_least", "at_most", "budget", "version")}

    def met_by(self, value: float) -> bool:
        """Whether a value of the metric meets the target; NaN never does."""
        threshold = threshold_of(self.at_least, self.at_most)
        return value >= threshold if self.at_least is not None else value <= threshold
