"""The claim that a gap between two conditions grows from one setting to another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lossact.checks import checked_call
from lossact.claims.hypotheses import Hypothesis, check_comparable
from lossact.conditions import BaseCondition
from lossact.errors import ClaimError
from lossact.stats import Comparison, Decision, Margins, Outcome, compare_gaps
from lossact.storage import Trials


@dataclass(frozen=True, repr=False)
class Interaction(Hypothesis):
    """The updates by which `sooner` beats `later` are fewer in the first pair than in the second.

    Args:
        sooner, later: the first pair.
        then_sooner, then_later: the second pair.

    Raises:
        ClaimError: the conditions cannot be compared.
    """

    sooner: BaseCondition
    later: BaseCondition
    then_sooner: BaseCondition
    then_later: BaseCondition

    effect_name = "probability of a larger gap"
    needs_target = True

    def __post_init__(self) -> None:
        check_comparable(self.conditions)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.sooner, self.later, self.then_sooner, self.then_later)

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        steps = np.stack([condition.steps for condition in trials])
        reached = np.stack([condition.reached for condition in trials])
        return [Comparison("the gap grows", compare_gaps(steps, reached, budget=trials[0].budget))]

    def margins(self, delta: float) -> Margins:
        return replace(Margins.of_wins(delta), refutation_labels=("the gap shrinks", "at most negligibly more often"))

    def warnings(self, decision: Decision, trials: Sequence[Trials]) -> list[str]:
        undetermined = np.mean(self.comparisons(trials)[0].outcomes == Outcome.UNDETERMINED)
        if undetermined == 0:
            return []
        return [
            f"in {undetermined:.0%} of the replicas runs cut off at {self.budget} updates leave undetermined which gap "
            "is larger"
        ]

    def __repr__(self) -> str:
        return (
            f"{self.sooner} is ahead of {self.later} by fewer updates than {self.then_sooner} is of {self.then_later}"
        )


@checked_call
def gap_grows(pair: tuple[BaseCondition, BaseCondition], *, to: tuple[BaseCondition, BaseCondition]) -> Interaction:
    """Claim that the gap in updates between two conditions is larger for the second pair: an interaction.

    Each replica gives the sign of the difference of the two gaps. Censored runs bound it from both sides; where zero
    lies within the bounds the replica counts against both verdicts.

    Args:
        pair: (sooner, later).
        to: the same two at another setting, (sooner, later); all four of one budget.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the four conditions cannot be compared.

    >>> from lossact import FunctionCondition
    >>> def method(name):
    ...     return FunctionCondition(name=name, train=lambda seed, name: None, config={"name": name}, budget=100)
    >>> gap_grows((method("a"), method("b")), to=(method("a, hard"), method("b, hard")))
    a is ahead of b by fewer updates than a, hard is of b, hard
    """
    for name, two in (("pair", pair), ("to", to)):
        if not isinstance(two, tuple) or len(two) != 2:
            raise ClaimError(f"{name}={two!r} must be two conditions, (sooner, later)")
    return Interaction(*pair, *to)
