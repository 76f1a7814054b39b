"""What a comparison of two states of the code found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lossact.claims.verdict_summary import Estimate
from lossact.storage import Curves, Trials

Verdict = Literal["identical", "equivalent", "worse", "better", "different", "not yet"]
ORDER: tuple[Verdict, ...] = ("worse", "different", "not yet", "better", "equivalent", "identical")


@dataclass(frozen=True)
class MeasureResult:
    """One measure of one condition, before and after.

    Attributes:
        measure: its name; "steps" for the updates to the target.
        verdict: of the first crossing.
        reason: why, where the verdict alone does not say it; else "".
        replicas: of each side that were looked at.
        decided_at: after how many of them the verdict fell, None where none has.
        replicas_to_go: how many more would probably settle it, None where that is not known.
        before, after: medians; None where fewer than half of the replicas have a value.
        difference: median of after minus before, replica by replica, with its confidence sequence.
        win_probability: that the working tree is better, ties counted half; for a measure whose direction is unknown,
            that it is higher. None where nothing had to be tested, or where a margin in the measure's unit decides.
        within: that margin, None where delta decides.
        direction: which values are better, None where that is unknown.
    """

    measure: str
    verdict: Verdict
    reason: str
    replicas: int
    decided_at: int | None
    replicas_to_go: int | None
    before: float | None
    after: float | None
    difference: Estimate
    win_probability: Estimate | None
    within: float | None
    direction: str | None


@dataclass(frozen=True, eq=False)
class ConditionResult:
    """One condition under both states of the code.

    Attributes:
        name: the condition's.
        claims: ids of the claims that are about it.
        same_key: whether both sides have the same code and values, so that one training stands for both.
        is_identical: whether every bit of the first replicas is equal.
        changes: what differs in the condition, in words.
        measures: that both sides have.
        content: what the working tree's key digests.
        before, after: trials over the replicas that were looked at.
        curves: of the first replicas of each side, None where none are kept.
    """

    name: str
    claims: tuple[str, ...]
    same_key: bool
    is_identical: bool
    changes: tuple[str, ...]
    measures: tuple[MeasureResult, ...]
    content: Mapping[str, Any]
    before: Trials
    after: Trials
    curves: tuple[Curves | None, Curves | None] = (None, None)

    @property
    def verdict(self) -> Verdict:
        """The gravest verdict of its measures."""
        if not self.measures:
            return "identical" if self.is_identical else "not yet"
        return min((measure.verdict for measure in self.measures), key=ORDER.index)
