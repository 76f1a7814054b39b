"""Several hypotheses that must all hold."""

from collections.abc import Sequence

import numpy as np

from lossact.stats.betting import Floats, log_average
from lossact.stats.claim_evidence import Bounds, ClaimEvidence, Effect, Totals
from lossact.stats.margins import BUDGET_TOO_SHORT


class JointEvidence(ClaimEvidence):
    """SUPPORTED where each member is (no correction), REFUTED by the average of the members' evidence against them.

    Args:
        members: evidence of each hypothesis.
        of: which member each comparison belongs to, ascending.
    """

    censoring_reason = BUDGET_TOO_SHORT

    def __init__(self, members: Sequence[ClaimEvidence], of: Sequence[int]) -> None:
        self._members, self._of = tuple(members), tuple(of)
        self.margin = min(member.margin for member in members)

    def _grouped(self, totals: Sequence[Totals]) -> list[tuple[ClaimEvidence, list[Totals]]]:
        return [
            (member, [total for total, index in zip(totals, self._of, strict=True) if index == k])
            for k, member in enumerate(self._members)
        ]

    def support_parts(self, totals: Sequence[Totals]) -> Floats:
        return np.concatenate([member.support_parts(group) for member, group in self._grouped(totals)])

    def refute_parts(self, totals: Sequence[Totals]) -> Floats:
        return np.stack(
            [member.combine_refutation(member.refute_parts(group)) for member, group in self._grouped(totals)]
        )

    def combine_refutation(self, parts: Floats) -> Floats:
        return log_average(parts)

    def unsupportable(self, totals: Sequence[Totals]) -> Floats:
        return log_average(np.stack([member.unsupportable(group) for member, group in self._grouped(totals)]))

    def unrefutable_parts(self, totals: Sequence[Totals]) -> Floats:
        return np.concatenate([member.unrefutable_parts(group) for member, group in self._grouped(totals)])

    def highest_by_comparison(self, highest: Floats, n: int) -> Floats:
        return highest[list(self._of)]

    def bounds(self, alpha: float) -> "JointBounds":
        return JointBounds(self._members, self._of, alpha)

    def level(self, alpha: float) -> float:
        return 1 - 2 * alpha

    def refutation_reason(self, effect: Effect, broken: Sequence[str]) -> str:
        return f"broken: {', '.join(broken)}"


class JointBounds(Bounds):
    """Bounds of each member by itself. What is shown is the member that holds least: its interval is its own.

    Args:
        members: evidence of each member.
        of: for each comparison, the index of its member.
        alpha: error probability of each bound, in (0, 1/2).
    """

    def __init__(self, members: Sequence[ClaimEvidence], of: Sequence[int], alpha: float) -> None:
        self._of = of
        self._bounds = [member.bounds(alpha) for member in members]

    def _positions(self, member: int) -> list[int]:
        return [position for position, index in enumerate(self._of) if index == member]

    def update(self, totals: Sequence[Totals]) -> None:
        for k, bounds in enumerate(self._bounds):
            bounds.update([totals[position] for position in self._positions(k)])

    def effect(self, latest: Sequence[Floats], verdict: str) -> Effect:
        effects = [
            bounds.effect([latest[position] for position in self._positions(k)], verdict)
            for k, bounds in enumerate(self._bounds)
        ]
        bounds_of = [effect.high if verdict == "refuted" else effect.low for effect in effects]
        least = int(np.argmin(bounds_of))
        chosen = effects[least]
        return Effect(chosen.value, chosen.low, chosen.high, self._positions(least)[chosen.weakest], chosen.zone)
