"""Steps to a target from recorded curves, each run censored at its own end."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from lossact.stats.outcomes import Outcome


@dataclass(frozen=True, eq=False)
class RecordedSteps:
    """Steps to a target of the runs of one condition.

    Attributes:
        steps: (runs,) int64, the first recorded step that meets the target; without meaning where not reached.
        reached: (runs,) bool.
        ends: (runs,) int64, the last recorded step.
    """

    steps: NDArray[np.int64]
    reached: NDArray[np.bool_]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.steps)


def compare_recorded_steps(
    first: RecordedSteps, second: RecordedSteps, *, ratio: float = 1.0, paired: bool = False
) -> NDArray[np.int8]:
    """Compare ratio * T_A with T_B, where an unreached T is known to lie beyond its run's own end.

    Args:
        first, second: the steps of A and of B; equally many where paired.
        ratio: > 0, taken as the simplest fraction within 1e-12.
        paired: compare run by run instead of every run of A with every run of B.

    Returns:
        (n1, n2) Outcome values, (n,) where paired. A pair is UNDETERMINED where an end hides the order, CENSORED
        where neither reached it and both ended at one step, with ratio 1.
    """
    exact = Fraction(ratio).limit_denominator(10**6)
    numerator, denominator = exact.numerator, exact.denominator
    steps_a, reached_a, ends_a = first.steps, first.reached, first.ends
    if not paired:
        steps_a, reached_a, ends_a = steps_a[:, None], reached_a[:, None], ends_a[:, None]
    steps_b, reached_b, ends_b = second.steps, second.reached, second.ends
    least_a = numerator * np.where(reached_a, steps_a, ends_a + 1)
    least_b = denominator * np.where(reached_b, steps_b, ends_b + 1)
    both = reached_a & reached_b
    win = reached_a & (least_a < least_b)
    loss = reached_b & (least_b < least_a)
    tie = both & (least_a == least_b)
    censored = ~reached_a & ~reached_b & (ends_a == ends_b) & (exact == 1)
    outcomes = np.full(win.shape, Outcome.UNDETERMINED, dtype=np.int8)
    for where, outcome in ((censored, Outcome.CENSORED), (tie, Outcome.TIE), (loss, Outcome.LOSS), (win, Outcome.WIN)):
        outcomes[where] = outcome
    return outcomes


def scores(
    first: RecordedSteps, second: RecordedSteps, *, ratio: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scores of both conditions, larger for sooner, in which A loses every pair that an end hides.

    Where all runs that did not reach the target ended at one step, and no run reached it later than that, they share
    the lowest score. Otherwise a run of A that did not reach it never does, and one of B reaches it right after its
    end.

    Args:
        first: condition A.
        second: condition B.
        ratio: by which factor A has to need fewer steps, > 0.

    Returns:
        (n1,) and (n2,) scores.
    """
    exact = Fraction(ratio).limit_denominator(10**6)
    ends = np.concatenate([first.ends[~first.reached], second.ends[~second.reached]])
    steps_a = (exact.numerator * first.steps).astype(np.float64)
    steps_b = (exact.denominator * second.steps).astype(np.float64)
    latest = ends.max(initial=0) + 1
    last_reached = max(first.steps[first.reached].max(initial=0), second.steps[second.reached].max(initial=0))
    one_end = exact == 1 and len(np.unique(ends)) <= 1 and (last_reached < latest or not len(ends))
    beyond_b = np.full(len(second), latest) if one_end else exact.denominator * (second.ends + 1)
    return (
        -np.where(first.reached, steps_a, latest if one_end else np.inf),
        -np.where(second.reached, steps_b, beyond_b),
    )
