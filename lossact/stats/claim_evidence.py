"""What a claim's counts are evidence of: support, refutation, and that neither can come."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lossact.stats.betting import Floats, LowerBound, log_average, log_evidence
from lossact.stats.margins import Margins
from lossact.stats.outcomes import OBSERVED_VALUES, Outcome, refutation_counts, support_counts

Totals = NDArray[np.int64] | Floats  # (5, moments) how often each Outcome had occurred


@dataclass(frozen=True)
class Effect:
    """What is shown of a claim beside its verdict.

    Attributes:
        value, low, high: observed mean of W and the bounds of its confidence sequence.
        weakest: index of the comparison they are about.
        zone: the zone of indifference where the value lies in it, else None.
    """

    value: float
    low: float
    high: float
    weakest: int
    zone: tuple[float, float] | None = None


class Bounds(ABC):
    """Confidence bounds that are carried from look to look."""

    @abstractmethod
    def update(self, totals: Sequence[Totals]) -> None:
        """Take further moments of every comparison into account.

        Args:
            totals: of every comparison, (5, moments) counts by Outcome.
        """

    @abstractmethod
    def effect(self, latest: Sequence[Floats], verdict: str) -> Effect:
        """Return the effect after all moments seen.

        Args:
            latest: each comparison's latest totals, (5,).
            verdict: "supported", "refuted" or "inconclusive".

        Returns:
            the effect with its bounds.
        """


class ClaimEvidence(ABC):
    """Logarithms of e-values at given moments of a claim's comparisons.

    Support needs every part to have reached 1/alpha at some time. Refutation needs the combined parts to reach it at
    one moment. Each method takes the running totals (5, moments) of every comparison.

    Attributes:
        margin: between the nulls of support and refutation; sets how many replicas that are all censored end a claim.
        censoring_reason: what INCONCLUSIVE is called where neither verdict can come.
    """

    margin: float
    censoring_reason: str

    @abstractmethod
    def support_parts(self, totals: Sequence[Totals]) -> Floats:
        """Return the evidence for the claim.

        Args:
            totals: of every comparison, (5, moments) counts by Outcome.

        Returns:
            (parts, moments) natural logarithms of e-values.
        """

    @abstractmethod
    def refute_parts(self, totals: Sequence[Totals]) -> Floats:
        """Return the evidence against the claim.

        Args:
            totals: of every comparison, (5, moments) counts by Outcome.

        Returns:
            (parts, moments) natural logarithms of e-values.
        """

    @abstractmethod
    def combine_refutation(self, parts: Floats) -> Floats:
        """Return the evidence against the claim as a whole.

        Args:
            parts: (parts, moments) natural logarithms of e-values.

        Returns:
            (moments,) natural logarithms of e-values.
        """

    @abstractmethod
    def unsupportable(self, totals: Sequence[Totals]) -> Floats:
        """Return evidence that SUPPORTED cannot come, because censoring hides what it would need.

        Args:
            totals: of every comparison, (5, moments) counts by Outcome.

        Returns:
            (moments,) natural logarithms of e-values.
        """

    @abstractmethod
    def unrefutable_parts(self, totals: Sequence[Totals]) -> Floats:
        """Return evidence that REFUTED cannot come.

        Args:
            totals: of every comparison, (5, moments) counts by Outcome.

        Returns:
            (parts, moments) natural logarithms of e-values; all parts must reach 1/alpha at some time.
        """

    @abstractmethod
    def bounds(self, alpha: float) -> Bounds:
        """Return bounds without any moment yet.

        Args:
            alpha: error probability of each bound, in (0, 1/2).

        Returns:
            bounds to update.
        """

    @abstractmethod
    def level(self, alpha: float) -> float:
        """Return the joint coverage of the bounds.

        Args:
            alpha: error probability of each bound, in (0, 1/2).

        Returns:
            a probability.
        """

    @abstractmethod
    def refutation_reason(self, effect: Effect, broken: Sequence[str]) -> str:
        """Return why the claim is refuted.

        Args:
            effect: at the verdict.
            broken: names of the comparisons that are shown to fail.

        Returns:
            the reason in words.
        """

    def highest_by_comparison(self, highest: Floats, n: int) -> Floats:
        """Return the largest evidence against each comparison.

        Args:
            highest: (parts,) the largest evidence against each part.
            n: number of comparisons.

        Returns:
            (comparisons,) natural logarithms of e-values.
        """
        return highest

    def support_reason(self, effect: Effect) -> str:
        """Return what SUPPORTED alone does not say.

        Args:
            effect: at the verdict.

        Returns:
            words, "" for nothing.
        """
        return ""


class PairwiseEvidence(ClaimEvidence):
    """Of one comparison, or of several that must all hold.

    SUPPORTED when every comparison's E(w, t, l; support) has reached 1/alpha (intersection-union, no correction).
    REFUTED when the average over comparisons of E(l, t, w; 1 - refute) reaches 1/alpha.

    Args:
        margins: what every mean is held against.
    """

    def __init__(self, margins: Margins) -> None:
        self.margins = margins
        self.margin = margins.refute - margins.support
        self.censoring_reason = margins.censoring_reason

    def support_parts(self, totals: Sequence[Totals]) -> Floats:
        m = self.margins
        return np.stack([log_evidence(support_counts(total), m.support, m.bets) for total in totals])

    def refute_parts(self, totals: Sequence[Totals]) -> Floats:
        m = self.margins
        counts = [refutation_counts(total).mirrored() for total in totals]
        return np.stack([log_evidence(mirrored, 1 - m.refute, m.bets) for mirrored in counts])

    def combine_refutation(self, parts: Floats) -> Floats:
        return log_average(parts)

    def unsupportable(self, totals: Sequence[Totals]) -> Floats:
        m = self.margins
        counts = [support_counts(total).mirrored() for total in totals]
        return log_average(np.stack([log_evidence(mirrored, 1 - m.support, m.bets) for mirrored in counts]))

    def unrefutable_parts(self, totals: Sequence[Totals]) -> Floats:
        m = self.margins
        return np.stack([log_evidence(refutation_counts(total), m.refute, m.bets) for total in totals])

    def bounds(self, alpha: float) -> "PairwiseBounds":
        return PairwiseBounds(self.margins, alpha)

    def level(self, alpha: float) -> float:
        return 1 - 2 * alpha

    def refutation_reason(self, effect: Effect, broken: Sequence[str]) -> str:
        reversed_, negligible = self.margins.refutation_labels
        label = reversed_ if effect.high < self.margins.support else negligible
        return f"{label}; broken: {', '.join(broken)}" if broken else label


class PairwiseBounds(Bounds):
    """A lower bound for each comparison, and an upper bound for the smallest of their means.

    Args:
        margins: what the means are held against.
        alpha: error probability of each bound, in (0, 1/2).
    """

    def __init__(self, margins: Margins, alpha: float) -> None:
        self._margins, self._alpha = margins, alpha
        self._low: list[LowerBound] = []
        self._high = LowerBound(alpha, margins.bets)

    def update(self, totals: Sequence[Totals]) -> None:
        self._low = self._low or [LowerBound(self._alpha, self._margins.bets) for _ in totals]
        for low, total in zip(self._low, totals, strict=True):
            low.update([support_counts(total)])
        self._high.update([refutation_counts(total).mirrored() for total in totals])

    def effect(self, latest: Sequence[Floats], verdict: str) -> Effect:
        m = self._margins
        values = [observed_win_probability(total, m.without_undetermined) for total in latest]
        weakest = int(np.argmin(values))
        zone = (m.support, m.refute) if m.support < values[weakest] < m.refute else None
        return Effect(values[weakest], min(low.value for low in self._low), 1 - self._high.value, weakest, zone)


def observed_win_probability(totals: NDArray[np.int64] | Floats, without_undetermined: bool = False) -> float:
    """Return the observed mean of W.

    Args:
        totals: (5,) counts by Outcome, at least one replica.
        without_undetermined: whether to leave undetermined and censored outcomes out; else each counts one half.

    Returns:
        the mean, in [0, 1].
    """
    determined = totals[: Outcome.UNDETERMINED]
    if without_undetermined and determined.any():
        return float(OBSERVED_VALUES[: Outcome.UNDETERMINED] @ determined / determined.sum())
    return float(OBSERVED_VALUES @ totals / totals.sum())
