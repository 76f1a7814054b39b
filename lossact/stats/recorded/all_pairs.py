"""All pairs of conditions, decided together with Holm's correction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lossact.stats.recorded.fixed import FixedDecision
from lossact.stats.recorded.planning import runs_to_decide
from lossact.stats.recorded.samples import Samples
from lossact.stats.recorded.shift import Shift


@dataclass(frozen=True)
class PairResult:
    """Two conditions compared.

    Attributes:
        better, worse: names, by the estimate.
        is_decided: whether the better one is shown to be better, after Holm's correction.
        superiority: estimate and simultaneous interval of the probability that a run of `better` is better than one of
            `worse`; its own verdict is without Holm's steps.
        advantage: by how much, in the unit of the values, positive; None where ends of runs hide it.
        p_value: two-sided, uncorrected.
        p_needed: what Holm's step asks of it.
        smallest_p: the smallest two-sided p-value that so many runs with such ties can have.
        smallest_untied_p: the smallest one that so many runs without ties can have.
        runs_to_decide: about how many runs of each would decide it; None where decided, or beyond 1,000.
        warning: what to know before quoting it; "" for nothing.
    """

    better: str
    worse: str
    is_decided: bool
    superiority: FixedDecision
    advantage: Shift | None
    p_value: float
    p_needed: float
    smallest_p: float
    smallest_untied_p: float
    runs_to_decide: int | None
    warning: str

    @property
    def can_decide(self) -> bool:
        """Whether runs with so many ties could decide the pair at its level at all."""
        return self.smallest_p <= self.p_needed

    @property
    def has_too_many_ties(self) -> bool:
        """Whether as many runs without ties could decide the pair, and these cannot."""
        return not self.can_decide and self.smallest_untied_p <= self.p_needed


def compare_pairs(
    samples: Samples, pairs: Sequence[tuple[int, int]], *, alpha: float, delta: float = 0.1
) -> list[PairResult]:
    """Compare pairs of conditions, two-sided, with Holm's correction for their number.

    Two-sided p-values are ordered; the k-th smallest is compared with 2 alpha / (pairs - k + 1) until one fails. The
    intervals hold for all pairs at once: each has alpha / pairs a side. They begin at 1/2, and at an advantage of 0, or
    above where and only where the pair is decided.

    Args:
        samples: the runs.
        pairs: indices of conditions.
        alpha: error probability a side, for all pairs together, in (0, 1/2).
        delta: the smallest margin over 1/2 that matters.

    Returns:
        a result a pair, in the order of `pairs`.

    Reference: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 1979.
    """
    level = alpha / len(pairs)
    oriented = []
    for first, second in pairs:
        decision = samples.decide(first, second, alpha=level, delta=delta)
        mirrored = samples.decide(second, first, alpha=level, delta=delta)
        ahead = (decision.value, -decision.p_support) >= (mirrored.value, -mirrored.p_support)
        smallest = 2 * min(decision.smallest_p, mirrored.smallest_p)
        oriented.append((first, second, decision, smallest) if ahead else (second, first, mirrored, smallest))
    p_values = [min(1.0, 2 * decision.p_support) for _, _, decision, _ in oriented]
    needed = holm_levels(p_values, alpha=2 * alpha)
    return [
        _result(samples, first, second, decision, p, p_needed, min(1.0, smallest), level)
        for (first, second, decision, smallest), p, p_needed in zip(oriented, p_values, needed, strict=True)
    ]


def holm_levels(p_values: Sequence[float], *, alpha: float) -> list[float]:
    """Return the level that Holm's procedure holds each p-value against; after the first failure it stays.

    Args:
        p_values: one a hypothesis, at least one.
        alpha: family-wise error probability.

    Returns:
        levels, in the order of the p-values.

    >>> [round(level, 4) for level in holm_levels([0.5, 0.001, 0.4], alpha=0.05)]
    [0.025, 0.0167, 0.025]
    """
    n = len(p_values)
    levels = [alpha / n] * n
    rejected = 0
    failed = False
    for index in sorted(range(n), key=p_values.__getitem__):
        levels[index] = alpha / (n - rejected)
        failed = failed or p_values[index] > levels[index]
        rejected += not failed
    return levels


def _result(
    samples: Samples,
    first: int,
    second: int,
    decision: FixedDecision,
    p_value: float,
    p_needed: float,
    smallest: float,
    level: float,
) -> PairResult:
    decided = p_value <= p_needed
    low = max(decision.low, 0.5) if decided else min(decision.low, 0.5)
    advantage = samples.advantage(first, second, alpha=level)
    if advantage is not None:
        bound = max(advantage.low, 0.0) if decided else min(advantage.low, 0.0)
        advantage = Shift(advantage.value, bound, max(bound, advantage.high))
    plan = None if decided else runs_to_decide(decision, alpha=p_needed / 2, paired=samples.paired)
    return PairResult(
        better=samples.names[first],
        worse=samples.names[second],
        is_decided=decided,
        superiority=replace(decision, low=low, high=max(low, decision.high)),
        advantage=advantage,
        p_value=p_value,
        p_needed=p_needed,
        smallest_p=smallest,
        smallest_untied_p=min(1.0, 2 * samples.smallest_untied_p(first, second)),
        runs_to_decide=plan,
        warning=samples.warning(first, second) if low <= 0.5 else "",  # above it Hoeffding's bound, too, shows it
    )
