"""The claim that a condition reaches its target."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossact.checks import check_number, checked_call
from lossact.claims.hypotheses import Hypothesis, check_conditions
from lossact.conditions import BaseCondition
from lossact.stats import Comparison, Margins, Outcome
from lossact.storage import Trials


@dataclass(frozen=True)
class Reaches(Hypothesis):
    """`condition` reaches the target within its budget with a probability above `low`.

    Args:
        condition: what is trained.
        low: the claim is supported above this probability.
        high: the claim is refuted below this one; 0 < low < high < 1.

    Raises:
        ClaimError: it is no condition.
        InputError: a probability is out of range.
    """

    condition: BaseCondition
    low: float
    high: float

    effect_name = "probability"
    needs_target = True

    def __post_init__(self) -> None:
        check_conditions(self.conditions)
        check_number("low", self.low, above=0, below=1, hint=0.9)
        check_number("high", self.high, above=self.low, below=1, hint=(1 + self.low) / 2)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition,)

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        outcomes = np.where(trials[0].reached, Outcome.WIN, Outcome.LOSS).astype(np.int8)
        return [Comparison(f"{self.condition} reaches the target", outcomes)]

    def margins(self, delta: float) -> Margins:
        return Margins.of_probability(self.low, self.high)

    def __repr__(self) -> str:
        return f"{self.condition} reaches the target within {self.budget} updates in more than {self.low:.0%} of runs"


@checked_call
def reaches(condition: BaseCondition, *, low: float = 0.90, high: float = 0.95) -> Reaches:
    """Claim that `condition` reaches the target within its budget, with a probability above `low`.

    SUPPORTED where the probability is shown to be above `low`, REFUTED where it is shown to be below `high`; between
    the two either verdict may come.

    Args:
        condition: what is trained.
        low, high: 0 < low < high < 1.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: `condition` is not a condition.
        InputError: 0 < low < high < 1 does not hold.

    >>> from lossact import FunctionCondition
    >>> reaches(FunctionCondition(name="a", train=lambda seed: None, budget=100), low=0.8, high=0.9)
    a reaches the target within 100 updates in more than 80% of runs
    """
    return Reaches(condition, low, high)
