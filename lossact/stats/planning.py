"""How many replicas, or how many more, would probably settle a claim."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lossact.stats.claim_evidence import ClaimEvidence

DOUBLINGS, STEPS_A_DOUBLING = 6, 16

Totals = NDArray[np.int64]
Crossing = Callable[[Sequence[NDArray[np.float64]]], NDArray[np.bool_]]


def replicas_to_go(totals: Sequence[Totals], crosses: Crossing) -> int | None:
    """Return the replicas beyond those seen until a verdict, if outcomes go on in the shares seen so far.

    A plan, not evidence. It follows the expected path, and chance crosses a boundary sooner: most claims need fewer.

    Args:
        totals: (5,) counts of each comparison's outcomes so far.
        crosses: whether any verdict falls, at every moment of (5, moments) totals of each comparison.

    Returns:
        the number rounded up to two figures, None where 64 times as many would probably not settle it.
    """
    seen = int(totals[0].sum())
    moments = later_moments(seen)
    going_on = [np.outer(total / seen, moments) for total in totals]
    crossed = crosses(going_on)
    if not crossed.any():
        return None
    return round_up(int(moments[crossed.argmax()]) - seen)


def later_moments(seen: int) -> NDArray[np.float64]:
    """Return numbers of replicas beyond those seen, up to 64 times as many, 16 in each doubling.

    Args:
        seen: replicas so far, >= 1.

    Returns:
        whole numbers, increasing.
    """
    return np.unique(np.ceil(seen * 2 ** (np.arange(1, DOUBLINGS * STEPS_A_DOUBLING + 1) / STEPS_A_DOUBLING)))


def planned_moments(limit: int) -> NDArray[np.float64]:
    """Return numbers of replicas from 1 to a limit, at least 32 in each doubling where there are so many.

    Args:
        limit: replicas at most, >= 1.

    Returns:
        whole numbers, increasing.
    """
    return np.unique(np.geomspace(1, limit, 1 + 32 * math.ceil(math.log2(limit) + 1)).round())


def round_up(number: int) -> int:
    """Return a positive number rounded up to two figures.

    Args:
        number: > 0.

    Returns:
        the rounded number.

    >>> round_up(1234)
    1300
    """
    unit: int = 10 ** max(0, len(str(number)) - 2)
    return -(-number // unit) * unit


def replicas_at(evidence: ClaimEvidence, share: float, *, comparisons: int, alpha: float, limit: int) -> int | None:
    """Return about how many replicas a verdict takes where this share of them are wins, and the others losses.

    A plan, not evidence, along the expected path; see `replicas_to_go`.

    Args:
        evidence: what the counts are evidence of.
        share: of wins in every comparison, in [0, 1].
        comparisons: how many there are.
        alpha: error probability of a side.
        limit: replicas at most.

    Returns:
        the number, None where the limit comes first.
    """
    moments = planned_moments(limit)
    totals = [np.outer([1 - share, 0, share, 0, 0], moments)] * comparisons
    support = np.maximum.accumulate(evidence.support_parts(totals), axis=1).min(axis=0)
    refute = evidence.combine_refutation(evidence.refute_parts(totals))
    crossed = np.maximum(support, refute) >= -math.log(alpha)
    return int(moments[crossed.argmax()]) if crossed.any() else None
