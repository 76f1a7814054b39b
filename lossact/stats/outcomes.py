"""What one replica says in a comparison of two conditions."""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from lossact.checks import check_number
from lossact.errors import InputError
from lossact.stats.betting import Counts


class Outcome(IntEnum):
    """One replica's word.

    WIN, TIE and LOSS count W = 1, 1/2 and 0 for everything. CENSORED (neither arrived) counts 1/2 for support and 1
    for refutation, so that "nobody arrived" refutes nothing. OPEN (censoring hides who won) counts 0 for
    support and 1 for refutation, the least favourable for either.
    """

    LOSS = 0
    TIE = 1
    WIN = 2
    CENSORED = 3
    OPEN = 4


Outcomes = NDArray[np.int8]


def compare_steps(
    steps_a: NDArray[np.int64],
    reached_a: NDArray[np.bool_],
    steps_b: NDArray[np.int64],
    reached_b: NDArray[np.bool_],
    *,
    budget: int,
    ratio: float = 1.0,
) -> Outcomes:
    """Whether A reached the target in at most 1/ratio of B's updates, replica by replica.

    Compares ratio T_A with T_B. A censored T is known to be at least budget + 1; where that leaves the comparison
    open it is OPEN, with ratio 1 and both censored it is CENSORED.

    Args:
        steps_a, steps_b: (replicas,) updates in 0 … budget where reached, ignored elsewhere.
        reached_a, reached_b: (replicas,).
        budget: updates at most, common to both.
        ratio: > 0.

    Returns:
        (replicas,) Outcome values.
    """
    check_number("ratio", ratio, above=0, hint=2)
    lengths = {len(steps_a), len(reached_a), len(steps_b), len(reached_b)}
    if len(lengths) > 1:
        raise InputError(f"lengths {sorted(lengths)} of the two conditions' replicas differ; pair them by index first")
    beyond = budget + 1
    scaled_a = ratio * np.where(reached_a, steps_a, beyond)
    known_b = np.where(reached_b, steps_b, beyond)
    both, a_only, b_only = reached_a & reached_b, reached_a & ~reached_b, ~reached_a & reached_b
    win = (both & (scaled_a < known_b)) | (a_only & (scaled_a < beyond))
    loss = (both | b_only) & (scaled_a > known_b)
    tie = both & (scaled_a == known_b)
    undecided = Outcome.CENSORED if ratio == 1 else Outcome.OPEN
    return np.select([win, tie, loss], [Outcome.WIN, Outcome.TIE, Outcome.LOSS], undecided).astype(np.int8)


def compare_numbers(numbers: NDArray[np.float64], margin: float) -> Outcomes:
    """Whether each replica's number exceeds the margin; NaN is OPEN, the replica cannot tell.

    Args:
        numbers: (replicas,).
        margin: what they are held against.

    Returns:
        (replicas,) Outcome values.
    """
    cases = [numbers > margin, numbers == margin, numbers < margin]
    return np.select(cases, [Outcome.WIN, Outcome.TIE, Outcome.LOSS], Outcome.OPEN).astype(np.int8)


def censored_as_open(outcomes: Outcomes) -> Outcomes:
    """For claims that nobody is later: where neither arrived, nothing shows it."""
    return np.where(outcomes == Outcome.CENSORED, Outcome.OPEN, outcomes).astype(np.int8)


def running_totals(outcomes: Outcomes) -> NDArray[np.int64]:
    """(5, replicas) how often each Outcome occurred in the first 1, 2, … replicas."""
    return np.cumsum(outcomes == np.arange(5)[:, None], axis=1)


def support_counts(totals: NDArray[np.int64] | NDArray[np.float64]) -> Counts:
    """Counts as support sees them."""
    loss, tie, win, censored, undecided = totals
    return Counts.of(win, tie + censored, loss + undecided)


def refutation_counts(totals: NDArray[np.int64] | NDArray[np.float64]) -> Counts:
    """Counts as refutation sees them."""
    loss, tie, win, censored, undecided = totals
    return Counts.of(win + censored + undecided, tie, loss)
