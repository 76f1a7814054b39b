"""One verdict on several comparisons that must all hold, such as an ordering."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lossact.stats.recorded.fixed import FixedDecision, verdict_of


@dataclass(frozen=True)
class SeveralDecisions:
    """A verdict with the comparisons behind it.

    Attributes:
        decision: the verdict; its value, counts and sample are those of the weakest comparison.
        weakest: index of the comparison with the smallest value.
        broken: indices of the comparisons that are refuted by themselves at alpha / comparisons.
    """

    decision: FixedDecision
    weakest: int
    broken: tuple[int, ...]


def decide_all(decide_at: Sequence[Callable[[float], FixedDecision]], *, alpha: float) -> SeveralDecisions:
    """Decide "all of these hold".

    SUPPORTED where each comparison is supported at alpha (intersection-union, no correction). REFUTED where one is
    refuted at alpha / comparisons (Bonferroni). The interval bounds the smallest probability.

    Args:
        decide_at: decides each comparison at the level that it is given; at least one.
        alpha: error probability a side, in (0, 1/2).

    Returns:
        the decision, with the comparison that holds least.
    """
    n = len(decide_at)
    at_alpha = [decide(alpha) for decide in decide_at]
    if n == 1:
        return SeveralDecisions(at_alpha[0], 0, ())
    corrected = [decide(alpha / n) for decide in decide_at]
    weakest = min(range(n), key=lambda k: at_alpha[k].value)
    p_support = max(each.p_support for each in at_alpha)
    p_refute = min(1.0, n * min(each.p_refute for each in at_alpha))
    low = min(each.low for each in at_alpha)
    decision = replace(
        at_alpha[weakest],
        verdict=verdict_of(p_support, p_refute, alpha=alpha),
        low=low,
        high=max(low, min(each.high for each in corrected)),
        p_support=p_support,
        p_refute=p_refute,
        smallest_p=max(each.smallest_p for each in at_alpha),
    )
    broken = tuple(k for k, each in enumerate(at_alpha) if each.p_refute <= alpha / n)
    return SeveralDecisions(decision, weakest, broken)
