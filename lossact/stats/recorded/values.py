"""Recorded values of two conditions: which is above the other by more than a margin, and by how much."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossact.stats.betting import Bets
from lossact.stats.margins import Margins
from lossact.stats.recorded.extendable import BETS, decide_extendable
from lossact.stats.recorded.fixed import FixedDecision
from lossact.stats.recorded.one_sample import median_interval
from lossact.stats.recorded.outcome_counts import OutcomeCounts
from lossact.stats.recorded.paired import decide_paired
from lossact.stats.recorded.shift import Shift, shift_of_differences
from lossact.stats.recorded.unpaired import decide_unpaired, outcomes_of_values
from lossact.stats.values import is_single, median_sequence, rank_boundary
from lossact.stats.values.comparing import TIE_ULPS

Values = NDArray[np.float64]
SAME_BETS = (float(BETS[0]), float(BETS[-1]), len(BETS), 1.0)


def value_differences(first: Values, second: Values, margins: Sequence[float], *, paired: bool) -> Values:
    """Return first - second, where a difference that ties with a margin is that margin.

    A tie is |first - second - margin| <= 4 eps max(|first|, |second|, |margin|), with eps that of single precision
    where it holds both values exactly, and not just because they are integers; else that of double precision.

    Args:
        first, second: (n1,) and (n2,) finite values; equally many where paired.
        margins: what the differences are held against.
        paired: subtract run by run instead of every run of the second from every run of the first.

    Returns:
        (n1, n2) differences, (n,) where paired.
    """
    a, b = (first, second) if paired else (first[:, None], second[None, :])
    difference: Values = a - b
    for margin in margins:
        difference = np.where(np.abs(difference - margin) <= _tolerance(a, b, margin), margin, difference)
    return difference


def decide_value_pair(
    first: Values,
    second: Values,
    *,
    by: float,
    paired: bool,
    alpha: float,
    margins: Margins,
    extendable: bool = False,
) -> FixedDecision:
    """Decide "a value of the first condition is above one of the second by more than `by`".

    Pairs: the exact sign test on the differences. Unpaired runs: the exact permutation test on first - by against
    second. Runs to which more may be added: one e-process over blocks of a run of each.

    Args:
        first, second: (n1,) and (n2,) finite values; equally many where paired.
        by: the margin, in the unit of the values.
        paired: whether run k of the first belongs to run k of the second.
        alpha: error probability a side, in (0, 1/2).
        margins: (1/2, 1/2 + delta).
        extendable: whether more runs may follow.

    Returns:
        the decision, with the probability and its bounds.

    >>> accuracy = np.array([0.91, 0.92, 0.93, 0.94])
    >>> decide_value_pair(accuracy, accuracy - 0.1, by=0.05, paired=False, alpha=0.025,
    ...                   margins=Margins.of_wins(0.1)).verdict
    'supported'
    """
    outcomes = (np.sign(value_differences(first, second, [by], paired=paired) - by) + 1).astype(np.int8)
    if extendable:
        return decide_extendable(outcomes, alpha=alpha, margins=margins)
    if paired:
        return decide_paired(OutcomeCounts.of(outcomes), alpha=alpha, margins=margins)
    scores = tied_scores(first, second, by=by)
    return decide_unpaired(outcomes_of_values(*scores), *scores, alpha=alpha, margins=margins)


def tied_scores(first: Values, second: Values, *, by: float) -> tuple[Values, Values]:
    """Return first - by and second, where neighbours that tie are equal, as ranks need them.

    Args:
        first, second: (n1,) and (n2,) finite values.
        by: the margin.

    Returns:
        (n1,) and (n2,) scores.
    """
    pooled, values = np.concatenate([first - by, second]), np.concatenate([first, second])
    order = np.argsort(pooled, kind="stable")
    ascending, of = pooled[order], values[order]
    starts = np.append(True, np.diff(ascending) > _tolerance(of[1:], of[:-1], by))
    scores = np.empty_like(pooled)
    scores[order] = ascending[starts][np.cumsum(starts) - 1]
    return scores[: len(first)], scores[len(first) :]


def difference_interval(difference: Values, *, alpha: float, extendable: bool = False) -> Shift:
    """Return by how much the first condition is above the second.

    Args:
        difference: (n1, n2) of all pairs of runs, for the Hodges-Lehmann shift; (n,) of paired runs, for the median.
        alpha: error probability a side, in (0, 1/2).
        extendable: whether more runs may follow; then the median over runs in their order, with bounds that hold
            however often one looks.

    Returns:
        the difference with its interval, infinite where there are too few runs.
    """
    if extendable:
        return median_of_growing(np.diagonal(difference) if difference.ndim == 2 else difference, alpha=alpha)
    if difference.ndim == 2:
        return shift_of_differences(difference, alpha=alpha)
    return Shift(float(np.median(difference)), *median_interval(difference, alpha=alpha))


def median_of_growing(values: Values, *, alpha: float) -> Shift:
    """Return a median with a confidence sequence that agrees with `decide_extendable`, for it makes the same bets.

    Args:
        values: (n,) finite values in the order in which they came.
        alpha: error probability a side, in (0, 1/2).

    Returns:
        the median with its bounds, infinite where there are too few values.
    """
    boundary = rank_boundary(len(values), alpha=alpha, bets=Bets.log_uniform(SAME_BETS))
    sequence = median_sequence(values, boundary, alpha=alpha)
    return Shift(sequence.value, sequence.low, sequence.high)


def _tolerance(a: Values, b: Values, margin: float) -> Values:
    """The largest difference from a margin that rounding explains, for each pair of values."""
    both_whole = (a == np.floor(a)) & (b == np.floor(b))
    single = is_single(a) & is_single(b) & ~both_whole
    epsilon: Values = np.where(single, np.finfo(np.float32).eps, np.finfo(np.float64).eps)
    largest: Values = np.maximum(np.maximum(np.abs(a), np.abs(b)), abs(margin))
    return TIE_ULPS * epsilon * largest
