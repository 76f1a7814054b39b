"""Steps to a target from recorded curves, each run censored at its own end.

A run met its target after step p, the last recorded one at which it did not, and at the latest at the recorded step s:
T lies in (p, s]. On one grid of steps two such intervals are equal, which is a tie, or apart. On different grids they
may overlap, and then the order is not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from lossact.stats.outcomes import Outcome, exact_product

LARGEST_FLOAT = 2**53  # smaller integers are exact in double precision


@dataclass(frozen=True, eq=False)
class RecordedSteps:
    """Steps to a target of the runs of one condition.

    Attributes:
        steps: (runs,) int64, the first recorded step that meets the target; without meaning where not reached.
        reached: (runs,) bool.
        ends: (runs,) int64, the last recorded step.
        before: (runs,) int64, the step that was recorded before `steps`, -1 for none; without meaning where not
            reached.
        grids: all recorded steps of each run, ascending.
    """

    steps: NDArray[np.int64]
    reached: NDArray[np.bool_]
    ends: NDArray[np.int64]
    before: NDArray[np.int64]
    grids: Sequence[NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.steps)

    def in_order(self, order: NDArray[np.intp]) -> "RecordedSteps":
        """Return the runs in another order.

        Args:
            order: (runs,) indices.
        """
        return RecordedSteps(
            self.steps[order],
            self.reached[order],
            self.ends[order],
            self.before[order],
            [self.grids[k] for k in order],
        )


def on_one_grid(first: RecordedSteps, second: RecordedSteps) -> bool:
    """Return whether all runs were recorded at the same steps, each up to its end.

    Args:
        first, second: the steps of two conditions.
    """
    grids = [*first.grids, *second.grids]
    longest = max(grids, key=len)
    return all(np.array_equal(each, longest[: len(each)]) for each in grids)


def hidden_by_spacing(
    first: RecordedSteps, second: RecordedSteps, *, ratio: float = 1.0, paired: bool = False
) -> NDArray[np.bool_]:
    """Return which pairs of runs met the target between recorded steps that do not tell which was first.

    With ratio 1 these are pairs whose intervals overlap without being equal. With another ratio r the intervals are
    those of r T_A and T_B, and hide nothing where T_A's and T_B's have one length, or all runs one grid of steps.

    Args:
        first, second: the steps of A and of B; equally many where paired.
        ratio: > 0, what T_A is multiplied by.
        paired: compare run by run instead of every run of A with every run of B.

    Returns:
        (n1, n2), or (n,) where paired.
    """
    exact = _as_fraction(ratio)
    steps_a, before_a, reached_a = first.steps, first.before, first.reached
    if not paired:
        steps_a, before_a, reached_a = steps_a[:, None], before_a[:, None], reached_a[:, None]
    steps_b, before_b = second.steps, second.before
    overlap = (exact_product(exact.numerator, steps_a) >= exact_product(exact.denominator, before_b, 1)) & (
        exact_product(exact.denominator, steps_b) >= exact_product(exact.numerator, before_a, 1)
    )
    overlap &= reached_a & second.reached
    if exact == 1:
        return np.asarray(overlap & ((steps_a != steps_b) | (before_a != before_b)))
    if not overlap.any() or on_one_grid(first, second):
        return np.zeros_like(overlap)
    return np.asarray(overlap & (steps_a - before_a != steps_b - before_b))


def compare_recorded_steps(
    first: RecordedSteps, second: RecordedSteps, *, ratio: float = 1.0, paired: bool = False
) -> NDArray[np.int8]:
    """Compare ratio * T_A with T_B, where an unreached T is known to lie beyond its run's own end.

    A reached T is the recorded step, unless the two runs were recorded at different steps that hide the order.

    Args:
        first, second: the steps of A and of B; equally many where paired.
        ratio: > 0, taken as a fraction of small numbers where one is within 1e-12 of it.
        paired: compare run by run instead of every run of A with every run of B.

    Returns:
        (n1, n2) Outcome values, (n,) where paired. A pair is UNDETERMINED where an end, or the steps
        between records, hide the order; CENSORED where neither reached it and both ended at one step, with ratio 1.
    """
    exact = _as_fraction(ratio)
    steps_a, reached_a, ends_a = first.steps, first.reached, first.ends
    if not paired:
        steps_a, reached_a, ends_a = steps_a[:, None], reached_a[:, None], ends_a[:, None]
    steps_b, reached_b, ends_b = second.steps, second.reached, second.ends
    least_a = exact_product(exact.numerator, np.where(reached_a, steps_a, ends_a), ~reached_a)
    least_b = exact_product(exact.denominator, np.where(reached_b, steps_b, ends_b), ~reached_b)
    both = reached_a & reached_b
    win = reached_a & (least_a < least_b)
    loss = reached_b & (least_b < least_a)
    tie = both & (least_a == least_b)
    censored = ~reached_a & ~reached_b & (ends_a == ends_b) & (exact == 1)
    outcomes = np.full(win.shape, Outcome.UNDETERMINED, dtype=np.int8)
    for where, outcome in ((censored, Outcome.CENSORED), (tie, Outcome.TIE), (loss, Outcome.LOSS), (win, Outcome.WIN)):
        outcomes[where] = outcome
    outcomes[hidden_by_spacing(first, second, ratio=ratio, paired=paired)] = Outcome.UNDETERMINED
    return outcomes


def scores(
    first: RecordedSteps, second: RecordedSteps, *, ratio: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scores of both conditions, larger for sooner, in which A loses every pair whose order is hidden.

    Where all runs that did not reach the target ended at one step, and no run reached it later than that, they share
    the lowest score. Otherwise a run of A that did not reach it never does, and one of B reaches it right after its
    end. A run of B whose order to a run of A the spacing hides met the target as early as it may have.

    Args:
        first: condition A.
        second: condition B.
        ratio: by which factor A has to need fewer steps, > 0.

    Returns:
        (n1,) and (n2,) scores.
    """
    exact = _as_fraction(ratio)
    ends = np.concatenate([first.ends[~first.reached], second.ends[~second.reached]])
    last_end = ends.max(initial=0)
    last_reached = max(first.steps[first.reached].max(initial=0), second.steps[second.reached].max(initial=0))
    one_end = exact == 1 and len(np.unique(ends)) <= 1 and (last_reached <= last_end or not len(ends))
    # Steps are doubled, so that halves of them are exact.
    numerator, denominator = 2 * exact.numerator, 2 * exact.denominator
    ends_a, ends_b = (np.full_like(each.ends, last_end) if one_end else each.ends for each in (first, second))
    of_a = exact_product(numerator, np.where(first.reached, first.steps, ends_a), ~first.reached)
    of_b = exact_product(denominator, np.where(second.reached, second.steps, ends_b), ~second.reached)
    hidden = second.reached & hidden_by_spacing(first, second, ratio=ratio).any(axis=0)
    earliest_b = exact_product(denominator, second.before, 1) - 1  # a tie is a loss for A
    of_b = np.where(hidden, earliest_b, of_b)
    both = np.concatenate([of_a, of_b])
    if both.max(initial=0) < LARGEST_FLOAT:
        times = both.astype(np.float64) / 2
    else:  # only their order counts
        times = np.unique(both, return_inverse=True)[1].astype(np.float64)
    return -np.where(first.reached | one_end, times[: len(first)], np.inf), -times[len(first) :]


def _as_fraction(ratio: float) -> Fraction:
    """Return the fraction that a ratio stands for: 1.1 is 11/10, and 0.3333333333333333 a third."""
    written = Fraction(str(ratio))
    simple = written.limit_denominator(10**6)
    return simple if abs(simple - written) <= written / 10**12 else written
