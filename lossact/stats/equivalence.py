"""Whether two conditions are as good as each other: a win probability within 1/2 - delta … 1/2 + delta."""

import math
from collections.abc import Sequence

import numpy as np

from lossact.checks import check_number
from lossact.stats.betting import Counts, Floats, LowerBound, log_evidence
from lossact.stats.claim_evidence import Bounds, ClaimEvidence, Effect, Totals, observed_win_probability
from lossact.stats.margins import BUDGET_TOO_SHORT
from lossact.stats.outcomes import refutation_counts, support_counts


class EquivalenceEvidence(ClaimEvidence):
    """Two one-sided tests of one comparison.

    SUPPORTED when E(w, t, l; 1/2 - delta) and E(l, t, w; 1/2 - delta) have both reached 1/alpha (intersection-union,
    alpha a side). REFUTED when the win probability is shown to lie outside 1/2 - delta … 1/2 + delta, either side at
    alpha / 2: E(w, t, l; 1/2 + delta) or E(l, t, w; 1/2 + delta) reaches 2/alpha.

    Args:
        delta: the smallest margin that matters, in (0, 1/2).
    """

    censoring_reason = BUDGET_TOO_SHORT

    def __init__(self, delta: float) -> None:
        check_number("delta", delta, above=0, below=0.5, hint=0.1)
        self.margin = self.delta = delta

    def support_parts(self, totals: Sequence[Totals]) -> Floats:
        return self._both(support_counts(totals[0]), refutation_counts(totals[0]).mirrored(), 0.5 - self.delta)

    def refute_parts(self, totals: Sequence[Totals]) -> Floats:
        return self._both(support_counts(totals[0]), refutation_counts(totals[0]).mirrored(), 0.5 + self.delta)

    def combine_refutation(self, parts: Floats) -> Floats:
        return _either(parts)

    def unsupportable(self, totals: Sequence[Totals]) -> Floats:
        return _either(self._both(support_counts(totals[0]).mirrored(), refutation_counts(totals[0]), 0.5 + self.delta))

    def unrefutable_parts(self, totals: Sequence[Totals]) -> Floats:
        return self._both(support_counts(totals[0]).mirrored(), refutation_counts(totals[0]), 0.5 - self.delta)

    def _both(self, first: Counts, second: Counts, mean: float) -> Floats:
        return np.stack([log_evidence(counts, mean) for counts in (first, second)])

    def bounds(self, alpha: float) -> "EquivalenceBounds":
        return EquivalenceBounds(self.delta, alpha)

    def level(self, alpha: float) -> float:
        return 1 - 2 * alpha

    def support_reason(self, effect: Effect) -> str:
        return "different, by less than delta" if effect.low > 0.5 or effect.high < 0.5 else ""

    def refutation_reason(self, effect: Effect, broken: Sequence[str]) -> str:
        return f"{'sooner' if effect.low > 0.5 else 'later'} by more than delta"


class EquivalenceBounds(Bounds):
    """Both bounds of one comparison; an open claim's interval touches the zone that it is held against.

    Args:
        delta: the smallest margin that matters, in (0, 1/2).
        alpha: error probability of each bound, in (0, 1/2).
    """

    def __init__(self, delta: float, alpha: float) -> None:
        self._delta = delta
        self._low, self._high = LowerBound(alpha), LowerBound(alpha)

    def update(self, totals: Sequence[Totals]) -> None:
        self._low.update([support_counts(totals[0])])
        self._high.update([refutation_counts(totals[0]).mirrored()])

    def effect(self, latest: Sequence[Floats], verdict: str) -> Effect:
        low, high = self._low.value, 1 - self._high.value
        if verdict == "inconclusive":  # outside at alpha, not yet at the alpha / 2 that refutes
            low, high = min(low, 0.5 + self._delta), max(high, 0.5 - self._delta)
        return Effect(observed_win_probability(latest[0]), low, high, 0)


def _either(parts: Floats) -> Floats:
    """Evidence of one of two sides, each of which has half of the error probability: it bounds their average."""
    larger: Floats = parts.max(axis=0) - math.log(2)
    return larger
