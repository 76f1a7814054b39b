"""The evidence replica by replica, and its first crossing."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lossact.stats.betting import MOMENTS_AT_ONCE, Floats
from lossact.stats.claim_evidence import ClaimEvidence, Effect
from lossact.stats.outcomes import Outcome, Outcomes, running_totals

VerdictName = Literal["supported", "refuted", "inconclusive"]
EVERY_MOMENT = 4096


def is_kept(moments: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether bounds are tightened after this many replicas, and evidence is read once a verdict has fallen.

    After each up to 4,096, then after every 2nd up to 8,192, every 4th up to 16,384, and so on: a confidence sequence
    holds at any fixed choice of moments. Verdicts are read after every replica.

    Args:
        moments: numbers of replicas, >= 1, any shape.

    Returns:
        the same shape.
    """
    strides = 2 ** np.maximum(0, np.ceil(np.log2(moments / EVERY_MOMENT))).astype(np.int64)
    kept: NDArray[np.bool_] = moments % strides == 0
    return kept


class Replay:
    """Follow a claim's evidence from replica 0 and let the first crossing stand.

    SUPPORTED when each part of support has reached 1/alpha at some time. REFUTED when the evidence of refutation
    reaches 1/alpha. INCONCLUSIVE early, "hopeless", when censoring is shown to hide what either would need: evidence
    that SUPPORTED cannot come and evidence that REFUTED cannot come have both reached 1/alpha; or when the first
    ceil(ln(1/alpha) / -ln(1 - margin)) replicas of every comparison are all censored. At one replica a verdict goes
    first. Replicas beyond the crossing sharpen the bounds and change no verdict.

    Everything is carried from look to look: new replicas cost the same however many came before.

    Args:
        evidence: what the counts are evidence of.
        alpha: error probability of either side.
        with_bounds: whether to follow the bounds too.

    Attributes:
        replicas: how many were seen.
        verdict: of the first crossing; "inconclusive" where nothing crossed, or where neither verdict can come.
        decided_at: after how many replicas, None where nothing crossed.
        effect_at_decision: the effect after them, None where nothing crossed.
        totals: (5,) counts of each comparison after all replicas.
        highest_refute_parts: (parts,) logarithm of the largest evidence against so far, part by part.
    """

    def __init__(self, evidence: ClaimEvidence, *, alpha: float, with_bounds: bool = True) -> None:
        self.evidence, self.alpha = evidence, alpha
        self.replicas = 0
        self.verdict: VerdictName = "inconclusive"
        self.decided_at: int | None = None
        self.effect_at_decision: Effect | None = None
        self.totals: list[NDArray[np.int64]] = []
        self.highest_refute_parts: Floats = np.zeros(0)
        self._bounds = evidence.bounds(alpha) if with_bounds else None
        self._threshold = -math.log(alpha)
        self._all_censored = math.ceil(self._threshold / -math.log1p(-evidence.margin))
        self._support: Floats | None = None  # (parts, 1) running maxima
        self._unsupportable = np.float64(-np.inf)
        self._unrefutable_parts: Floats | None = None
        self._moments: list[NDArray[np.int64]] = []
        self._log_support: list[Floats] = []
        self._log_refute: list[Floats] = []

    @property
    def moments(self) -> NDArray[np.int64]:
        """(moments,) after how many replicas the evidence was read."""
        return np.concatenate(self._moments)

    @property
    def log_support(self) -> Floats:
        """(moments,) logarithm of the least part's largest evidence so far."""
        return np.concatenate(self._log_support)

    @property
    def log_refute(self) -> Floats:
        """(moments,) logarithm of the evidence of refutation."""
        return np.concatenate(self._log_refute)

    @property
    def effect(self) -> Effect:
        """The effect after all replicas."""
        assert self._bounds is not None
        return self._bounds.effect([total.astype(np.float64) for total in self.totals], self.verdict)

    def extend(self, outcomes: Sequence[Outcomes]) -> None:
        """Take the next replicas into account.

        Args:
            outcomes: (new replicas,) Outcome values of each comparison, all of one length.
        """
        self.totals = self.totals or [np.zeros(5, np.int64) for _ in outcomes]
        for start in range(0, len(outcomes[0]), MOMENTS_AT_ONCE):
            self._extend([part[start : start + MOMENTS_AT_ONCE] for part in outcomes])

    def _extend(self, outcomes: Sequence[Outcomes]) -> None:
        totals = [running_totals(part) + before[:, None] for part, before in zip(outcomes, self.totals, strict=True)]
        self.totals = [total[:, -1].copy() for total in totals]
        moments = np.arange(self.replicas + 1, self.replicas + totals[0].shape[1] + 1)
        if self.decided_at is None:
            self._read(totals, moments)
            self._follow_bounds(totals, moments, before=self.replicas)
        else:
            kept = is_kept(moments)
            totals = [total[:, kept] for total in totals]
            if kept.any():
                self._read(totals, moments[kept])
                if self._bounds is not None:
                    self._bounds.update(totals)
        self.replicas = int(moments[-1])

    def _read(self, totals: Sequence[NDArray[np.int64]], moments: NDArray[np.int64]) -> None:
        """Take the evidence at these moments into account."""
        support = self.evidence.support_parts(totals)
        if self._support is not None:
            support[:, 0] = np.maximum(support[:, 0], self._support)
        support = np.maximum.accumulate(support, axis=1)
        self._support = support[:, -1]
        log_support = support.min(axis=0)
        refute_parts = self.evidence.refute_parts(totals)
        log_refute = self.evidence.combine_refutation(refute_parts)
        highest = refute_parts.max(axis=1)
        self.highest_refute_parts = (
            np.maximum(self.highest_refute_parts, highest) if len(self.highest_refute_parts) else highest
        )
        self._moments.append(moments)
        self._log_support.append(log_support)
        self._log_refute.append(log_refute)
        if self.decided_at is None:
            self._decide(totals, log_support, log_refute)

    def _follow_bounds(self, totals: Sequence[NDArray[np.int64]], moments: NDArray[np.int64], *, before: int) -> None:
        """Tighten the bounds, and note the effect at a verdict among these moments."""
        if self._bounds is None:
            return
        kept = is_kept(moments)
        if self.decided_at is not None:
            at = self.decided_at - before - 1
            first = kept & (moments < self.decided_at)
            first[at] = True
            self._bounds.update([total[:, first] for total in totals])
            latest = [total[:, at].astype(np.float64) for total in totals]
            self.effect_at_decision = self._bounds.effect(latest, self.verdict)
            kept &= moments > self.decided_at
        if kept.any():
            self._bounds.update([total[:, kept] for total in totals])

    def _decide(self, totals: Sequence[NDArray[np.int64]], log_support: Floats, log_refute: Floats) -> None:
        at, verdict = first_crossing(
            (log_support >= self._threshold, "supported"),
            (log_refute >= self._threshold, "refuted"),
            (self._is_hopeless(totals), "inconclusive"),
        )
        if at is not None:
            self.decided_at, self.verdict = self.replicas + at, verdict

    def _is_hopeless(self, totals: Sequence[NDArray[np.int64]]) -> NDArray[np.bool_]:
        """(moments,) whether neither verdict can come; without censoring a verdict always falls before."""
        hidden = [total[Outcome.CENSORED, -1] + total[Outcome.UNDETERMINED, -1] for total in totals]
        if not any(hidden):
            return np.zeros(totals[0].shape[1], dtype=np.bool_)
        unsupportable = np.maximum.accumulate(np.maximum(self.evidence.unsupportable(totals), self._unsupportable))
        parts = np.maximum.accumulate(self.evidence.unrefutable_parts(totals), axis=1)
        if self._unrefutable_parts is not None:
            parts = np.maximum(parts, self._unrefutable_parts[:, None])
        self._unsupportable, self._unrefutable_parts = unsupportable[-1], parts[:, -1]
        neither = (unsupportable >= self._threshold) & (parts.min(axis=0) >= self._threshold)
        seen = totals[0].sum(axis=0)
        all_censored = np.all([total[Outcome.CENSORED] == seen for total in totals], axis=0)
        hopeless: NDArray[np.bool_] = neither | (all_censored & (seen == self._all_censored))
        return hopeless


def first_crossing(*crossings: tuple[NDArray[np.bool_], VerdictName]) -> tuple[int | None, VerdictName]:
    """Return after how many replicas the first verdict falls, and which.

    Args:
        crossings: for each verdict, (replicas,) whether its evidence has reached the level, and its name.

    Returns:
        both; None and "inconclusive" where none falls.
    """
    times = [int(crossed.argmax()) if crossed.any() else len(crossed) for crossed, _ in crossings]
    first = int(np.argmin(times))
    crossed, verdict = crossings[first]
    return (times[first] + 1, verdict) if crossed.any() else (None, "inconclusive")
