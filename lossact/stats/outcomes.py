"""What one replica shows in a comparison."""

from enum import IntEnum
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossact.checks import check_number
from lossact.errors import InputError
from lossact.stats.betting import Counts

LARGEST_EXACT = 2**62  # products below it fit int64; larger ones are Python integers


class Outcome(IntEnum):
    """What one replica shows.

    WIN, TIE and LOSS count W = 1, 1/2 and 0 for support and for refutation. CENSORED (neither condition reached the
    target) counts 1/2 for support and 1 for refutation, so that replicas in which nobody arrives refute nothing.
    UNDETERMINED (censoring hides which came first) counts 0 for support and 1 for refutation, the least favourable
    for either.
    """

    LOSS = 0
    TIE = 1
    WIN = 2
    CENSORED = 3
    UNDETERMINED = 4


Outcomes = NDArray[np.int8]

# W by Outcome: as observed, with what censoring hides counted one half; as support and as refutation count it.
OBSERVED_VALUES = np.array([0.0, 0.5, 1.0, 0.5, 0.5])
SUPPORT_VALUES = np.array([0.0, 0.5, 1.0, 0.5, 0.0])
REFUTE_VALUES = np.array([0.0, 0.5, 1.0, 1.0, 1.0])


def compare_steps(
    steps_a: NDArray[np.int64],
    reached_a: NDArray[np.bool_],
    steps_b: NDArray[np.int64],
    reached_b: NDArray[np.bool_],
    *,
    budget: int,
    ratio: float = 1.0,
) -> Outcomes:
    """Return whether A reached the target in at most 1/ratio of B's updates, replica by replica.

    Compares ratio T_A with T_B in integers: a ratio of 1.1 is 11/10, so that 1.1 x 10 ties with 11. A censored T is
    known to be at least budget + 1; where that leaves the comparison open it is UNDETERMINED, with ratio 1 and both
    censored it is CENSORED.

    Args:
        steps_a, steps_b: (replicas,) updates in 0 … budget where reached, ignored elsewhere.
        reached_a, reached_b: (replicas,).
        budget: updates at most, common to both.
        ratio: > 0, taken as the decimal fraction that is written.

    Returns:
        (replicas,) Outcome values.

    Raises:
        InputError: the ratio is not a number > 0, or the lengths differ.

    >>> every = np.array([True, True, True])
    >>> compare_steps(np.array([10, 10, 10]), every, np.array([12, 11, 10]), every, budget=20, ratio=1.1)
    array([2, 1, 0], dtype=int8)
    """
    check_number("ratio", ratio, above=0, hint=2)
    lengths = {len(steps_a), len(reached_a), len(steps_b), len(reached_b)}
    if len(lengths) > 1:
        raise InputError(f"lengths {sorted(lengths)} of the two conditions' replicas differ; pair them by index first")
    exact_ratio = Fraction(str(ratio))
    beyond = budget + 1
    scaled_a = exact_product(exact_ratio.numerator, np.where(reached_a, steps_a, beyond))
    known_b = exact_product(exact_ratio.denominator, np.where(reached_b, steps_b, beyond))
    both, a_only, b_only = reached_a & reached_b, reached_a & ~reached_b, ~reached_a & reached_b
    win = (both | a_only) & (scaled_a < known_b)
    loss = (both | b_only) & (scaled_a > known_b)
    tie = both & (scaled_a == known_b)
    undecided = Outcome.CENSORED if ratio == 1 else Outcome.UNDETERMINED
    return np.select(
        [win.astype(bool), tie.astype(bool), loss.astype(bool)], [Outcome.WIN, Outcome.TIE, Outcome.LOSS], undecided
    ).astype(np.int8)


def exact_product(factor: int, steps: NDArray[np.int64], more: ArrayLike = 0) -> NDArray[Any]:
    """Return factor * (steps + more), exactly.

    Args:
        factor: > 0.
        steps: any shape.
        more: 0 or 1 each, of the same shape or for all.

    Returns:
        integers, of int64 or, where that is too small, of Python.
    """
    largest = max(int(steps.max(initial=0)), -int(steps.min(initial=0))) + 1
    exact = steps.astype(np.int64 if factor * largest < LARGEST_EXACT else object)
    product: NDArray[Any] = (exact + np.asarray(more, dtype=np.int64)) * factor
    return product


def compare_numbers(numbers: NDArray[np.float64], margin: float) -> Outcomes:
    """Return whether each replica's number exceeds the margin; NaN is UNDETERMINED.

    Args:
        numbers: (replicas,).
        margin: what they are held against.

    Returns:
        (replicas,) Outcome values.

    >>> compare_numbers(np.array([0.2, 0.1, 0.0, np.nan]), 0.1)
    array([2, 1, 0, 4], dtype=int8)
    """
    cases = [numbers > margin, numbers == margin, numbers < margin]
    return np.select(cases, [Outcome.WIN, Outcome.TIE, Outcome.LOSS], Outcome.UNDETERMINED).astype(np.int8)


def compare_gaps(steps: NDArray[np.int64], reached: NDArray[np.bool_], *, budget: int) -> Outcomes:
    """Return whether the gap T_later - T_sooner is larger in the second pair than in the first, replica by replica.

    Censoring bounds D = (L2 - S2) - (L1 - S1) from both sides, for a censored T lies between budget + 1 and infinity:
    WIN where D is known to be positive, LOSS where it is known to be negative, TIE where it is known to be 0, else
    UNDETERMINED.

    Args:
        steps: (4, replicas) updates of S1, L1, S2, L2 where reached, ignored elsewhere.
        reached: (4, replicas).
        budget: updates at most, common to all.

    Returns:
        (replicas,) Outcome values.

    >>> steps = np.array([[100, 100], [500, 500], [100, 100], [0, 450]])
    >>> compare_gaps(steps, np.array([[True] * 2, [True] * 2, [True] * 2, [False, True]]), budget=1000)
    array([2, 0], dtype=int8)
    """
    least = np.where(reached, steps, budget + 1).astype(np.float64)
    most = np.where(reached, steps, np.inf)
    (s1, l1, s2, l2), (most_s1, most_l1, most_s2, most_l2) = least, most
    lowest = l2 - most_s2 - most_l1 + s1
    highest = most_l2 - s2 - l1 + most_s1
    cases = [lowest > 0, (lowest == 0) & (highest == 0), highest < 0]
    return np.select(cases, [Outcome.WIN, Outcome.TIE, Outcome.LOSS], Outcome.UNDETERMINED).astype(np.int8)


def censored_as_undetermined(outcomes: Outcomes) -> Outcomes:
    """Return outcomes for claims that nobody is later: where neither arrived, nothing shows it.

    Args:
        outcomes: any shape.

    Returns:
        the same shape, UNDETERMINED in place of CENSORED.
    """
    return np.where(outcomes == Outcome.CENSORED, Outcome.UNDETERMINED, outcomes).astype(np.int8)


def running_totals(outcomes: Outcomes) -> NDArray[np.int64]:
    """Return how often each Outcome occurred so far.

    Args:
        outcomes: (replicas,).

    Returns:
        (5, replicas) counts in the first 1, 2, … replicas.
    """
    return np.cumsum(outcomes == np.arange(5)[:, None], axis=1)


def support_counts(totals: NDArray[np.int64] | NDArray[np.float64]) -> Counts:
    """Return the counts that support rests on: censored as ties, undetermined as losses.

    Args:
        totals: (5, moments) counts by Outcome.

    Returns:
        counts of W, (moments,) each.
    """
    loss, tie, win, censored, undetermined = totals
    return Counts.of(win, tie + censored, loss + undetermined)


def refutation_counts(totals: NDArray[np.int64] | NDArray[np.float64]) -> Counts:
    """Return the counts that refutation rests on: censored and undetermined as wins.

    Args:
        totals: (5, moments) counts by Outcome.

    Returns:
        counts of W, (moments,) each.
    """
    loss, tie, win, censored, undetermined = totals
    return Counts.of(win + censored + undetermined, tie, loss)
