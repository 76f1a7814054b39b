"""Whether a median lies within a margin of 0, by the signs of what lies on either side of the margin."""

import math
from collections.abc import Sequence

import numpy as np

from lossact.stats.betting import Floats, log_evidence
from lossact.stats.claim_evidence import Effect, PairwiseEvidence, Totals
from lossact.stats.outcomes import refutation_counts


class MedianWithinEvidence(PairwiseEvidence):
    """Of two comparisons: "the number is at least -w" and "the number is at most w", equality included in both.

    SUPPORTED when both are shown to hold in more than half of the replicas, each at alpha: the median's confidence
    sequence lies within [-w, w]. REFUTED when either is shown to hold in less than half, at alpha / 2: the sequence at
    alpha / 2 a side lies outside.
    """

    def refute_parts(self, totals: Sequence[Totals]) -> Floats:
        counts = [refutation_counts(total).mirrored() for total in totals]
        return np.stack([log_evidence(each, 0.5, self.margins.bets) for each in counts])

    def combine_refutation(self, parts: Floats) -> Floats:
        highest: Floats = parts.max(axis=0) - math.log(2)
        return highest

    def refutation_reason(self, effect: Effect, broken: Sequence[str]) -> str:
        return self.margins.refutation_labels[0]
