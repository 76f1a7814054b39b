"""Statements that are theorems: checked at many points in double precision, not sampled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossact.checks import check_number, checked_call
from lossact.claims.hypotheses import Hypothesis, as_numbers
from lossact.conditions import BaseCondition
from lossact.errors import ClaimError
from lossact.experiment import Experiment
from lossact.stats import Comparison, Decision
from lossact.storage import Trials


@dataclass(frozen=True, repr=False)
class Theorem(Hypothesis):
    """`statement` holds at every point that `deviations` looks at, to within `tolerance`.

    Args:
        statement: what holds, in words.
        deviations: () -> one deviation a point, of any shape.
        tolerance: the largest deviation allowed, > 0.

    Raises:
        ClaimError: the deviations are no function.
        InputError: the tolerance is out of range.
    """

    statement: str
    deviations: Callable[[], ArrayLike]
    tolerance: float

    effect_name = "largest deviation"

    def __post_init__(self) -> None:
        if not callable(self.deviations):
            raise ClaimError(f"deviations={self.deviations!r} must be a function that returns them")
        check_number("tolerance", self.tolerance, above=0, hint=1e-12)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return ()

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        raise ClaimError(f"{self.statement!r} is checked, not sampled; evaluate it with lossact.evaluate")

    def thresholds(self, delta: float) -> tuple[float, ...]:
        return ()

    def verify(self, experiment: Experiment) -> Decision:
        """Return SUPPORTED where no deviation is above the tolerance, else REFUTED; there is nothing in between.

        Args:
            experiment: whose store holds what was counted before, under a key of the function and the tolerance.
        """
        count = partial(count_deviations, self.deviations, self.tolerance, self.statement)
        n_points, beyond, largest = experiment.numbers(count, lambda known, replicas: count(), 3).tolist()
        n_points, beyond = int(n_points), int(beyond)
        return Decision(
            verdict="refuted" if beyond else "supported",
            reason=f"checked exactly at {n_points} points, "
            + (f"beyond {self.tolerance:g} at {beyond}" if beyond else f"none beyond {self.tolerance:g}"),
            replicas=n_points,
            decided_at=None,
            final=True,
            value=largest,
            low=largest,
            high=largest,
            alpha=1.0,
            level=1.0,
            log_support=0.0,
            log_refute=0.0,
            wins=n_points - beyond,
            ties=0,
            losses=beyond,
            undecided=0,
            weakest_comparison=self.statement,
        )

    def __repr__(self) -> str:
        return self.statement


def count_deviations(deviations: Callable[[], ArrayLike], tolerance: float, statement: str) -> NDArray[np.float64]:
    """Return the number of points, how many of them deviate by more than the tolerance, and the largest deviation.

    Args:
        deviations: () -> one deviation a point, of any shape.
        tolerance: the largest deviation allowed.
        statement: what holds, for errors.

    Returns:
        (3,) as listed above; NaN counts as infinite.

    Raises:
        ClaimError: the function returns no numbers, or none at all.
    """
    values = np.abs(as_numbers(deviations(), f"the deviation of {statement!r}")).ravel()
    if not values.size:
        raise ClaimError(f"{statement!r} was checked nowhere; return one deviation a point, at least one")
    return np.array([values.size, (~(values <= tolerance)).sum(), np.where(np.isnan(values), np.inf, values).max()])


@checked_call
def exact(statement: str, *, deviations: Callable[[], ArrayLike], tolerance: float) -> Theorem:
    """Claim a theorem, checked in float64; no part of a family, for it has no probability of error.

    Args:
        statement: in words or as a formula.
        deviations: () -> by how much it fails at each point, of any shape; NaN fails.
        tolerance: the largest deviation that rounding explains, > 0.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: `deviations` is no function, or returns nothing.
        InputError: the tolerance is not a number > 0.

    >>> x = np.linspace(0, 1, 5)
    >>> exact("(x + 1)^2 = x^2 + 2 x + 1", deviations=lambda: (x + 1) ** 2 - (x**2 + 2 * x + 1), tolerance=1e-12)
    (x + 1)^2 = x^2 + 2 x + 1
    """
    return Theorem(statement, deviations, tolerance)
