"""What can be claimed of conditions. Each hypothesis is a small frozen value that reads as a sentence."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossact.checks import check_number
from lossact.conditions import BaseCondition
from lossact.errors import ClaimError
from lossact.experiment import Experiment
from lossact.stats import (
    Comparison,
    Decision,
    Margins,
    Outcome,
    censored_as_open,
    compare_steps,
    decide,
    decide_equivalence,
)
from lossact.storage import Trials


class Hypothesis(ABC):
    """Something a claim may return: conditions, and what each replica says about them.

    Attributes:
        effect_name: what the reported value is.
        tells_order: whether a single replica of each condition can tell the whole story.
    """

    effect_name: str = "win probability"
    is_ordering: bool = False

    @property
    @abstractmethod
    def conditions(self) -> tuple[BaseCondition, ...]:
        """The conditions it is about, each once."""

    @abstractmethod
    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        """What the replicas say, given each condition's trials over one common range of indices."""

    def observe(self, experiment: Experiment, trials: Sequence[Trials], replicas: int) -> list[Comparison]:
        """What the first `replicas` say, given each condition's trials of them."""
        return self.comparisons(trials)

    def margins(self, delta: float) -> Margins:
        """What the effect is held against, given the smallest margin over 1/2 that matters."""
        return Margins.of_wins(delta)

    def thresholds(self, delta: float) -> tuple[float, ...]:
        """The values that its interval is looked at against, ascending; it is open between the first and the last."""
        margins = self.margins(delta)
        return (margins.support, margins.refute)

    def decide(self, comparisons: Sequence[Comparison], *, alpha: float, delta: float, limit: int) -> Decision:
        """The verdict on what the replicas say."""
        return decide(comparisons, alpha=alpha, margins=self.margins(delta), limit=limit)

    def warnings(self, decision: Decision, trials: Sequence[Trials]) -> list[str]:
        """What a reader should know before quoting the verdict."""
        return []

    @property
    def budget(self) -> int | None:
        """The updates that every condition may use, None where nothing is trained."""
        return self.conditions[0].budget if self.conditions else None


@dataclass(frozen=True)
class Faster(Hypothesis):
    """`condition` reaches the target before `than`, or in at most 1/`ratio` of its updates."""

    condition: BaseCondition
    than: BaseCondition
    ratio: float = 1.0

    def __post_init__(self) -> None:
        check_number("ratio", self.ratio, above=0, hint=2)
        check_comparable(self.conditions)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition, self.than)

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        return [_pair(self.conditions, trials, 0, 1, self.ratio)]

    def warnings(self, decision: Decision, trials: Sequence[Trials]) -> list[str]:
        first, second = (one.restricted_steps.mean() for one in trials)
        saved = second - first
        if self.ratio != 1 or (decision.value - 0.5) * saved >= 0:
            return []
        return [
            f"win probability {decision.value:.3f} and restricted means point opposite ways: "
            f"{self.condition} uses {abs(saved):.1f} updates {'less' if saved > 0 else 'more'} than {self.than} on "
            f"average within {self.budget}; the curves cross"
        ]

    def __repr__(self) -> str:
        if self.ratio == 1:
            return f"{self.condition} reaches the target before {self.than}"
        return f"{self.condition} reaches the target in at most 1/{self.ratio:g} of the updates of {self.than}"


@dataclass(frozen=True, repr=False)
class NotWorse(Hypothesis):
    """`condition` reaches the target no later than `than`, but for a margin that does not matter."""

    condition: BaseCondition
    than: BaseCondition

    def __post_init__(self) -> None:
        check_comparable(self.conditions)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition, self.than)

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        pair = _pair(self.conditions, trials, 0, 1)
        return [Comparison(pair.name, censored_as_open(pair.outcomes))]

    def margins(self, delta: float) -> Margins:
        return Margins.of_no_loss(delta)

    def __repr__(self) -> str:
        return f"{self.condition} reaches the target no later than {self.than}"


@dataclass(frozen=True, repr=False)
class Equivalent(Hypothesis):
    """`condition` and `other` reach the target equally soon, but for a margin that does not matter."""

    condition: BaseCondition
    other: BaseCondition

    def __post_init__(self) -> None:
        check_comparable(self.conditions)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition, self.other)

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        pair = _pair(self.conditions, trials, 0, 1)
        return [Comparison(pair.name, censored_as_open(pair.outcomes))]

    def thresholds(self, delta: float) -> tuple[float, ...]:
        return (0.5 - delta, 0.5, 0.5 + delta)

    def decide(self, comparisons: Sequence[Comparison], *, alpha: float, delta: float, limit: int) -> Decision:
        return decide_equivalence(comparisons[0], alpha=alpha, delta=delta, limit=limit)

    def __repr__(self) -> str:
        return f"{self.condition} and {self.other} reach the target equally soon"


@dataclass(frozen=True)
class Ordering(Hypothesis):
    """The conditions reach the target in the order given, every one before all that follow."""

    order: tuple[BaseCondition, ...]

    effect_name = "smallest pairwise win probability"
    is_ordering = True

    def __post_init__(self) -> None:
        check_comparable(self.order)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return self.order

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        n = len(self.order)
        return [_pair(self.order, trials, i, j) for i in range(n) for j in range(i + 1, n)]

    def __repr__(self) -> str:
        return " < ".join(map(str, self.order))


@dataclass(frozen=True)
class AgainstOthers(Hypothesis):
    """`condition` against each of `others`."""

    condition: BaseCondition
    others: tuple[BaseCondition, ...]

    effect_name = "smallest pairwise win probability"

    def __post_init__(self) -> None:
        check_comparable(self.conditions)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition, *self.others)


@dataclass(frozen=True, repr=False)
class Fastest(AgainstOthers):
    """`condition` reaches the target before each of `others`."""

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        return [_pair(self.conditions, trials, 0, j) for j in range(1, len(trials))]

    def __repr__(self) -> str:
        return f"{self.condition} is the fastest of {', '.join(map(str, self.conditions))}"


@dataclass(frozen=True, repr=False)
class Slowest(AgainstOthers):
    """Each of `others` reaches the target before `condition`."""

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        return [_pair(self.conditions, trials, j, 0) for j in range(1, len(trials))]

    def __repr__(self) -> str:
        return f"{self.condition} is the slowest of {', '.join(map(str, self.conditions))}"


@dataclass(frozen=True)
class Reaches(Hypothesis):
    """`condition` reaches the target within its budget with a probability above `low`."""

    condition: BaseCondition
    low: float
    high: float

    effect_name = "probability"

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
        return Margins(
            self.low, self.high, delta, 0.99, refutation_labels=(f"below {self.low:g}", f"below {self.high:g}")
        )

    def __repr__(self) -> str:
        return f"{self.condition} reaches the target within {self.budget} updates in more than {self.low:.0%} of runs"


def faster(condition: BaseCondition, *, than: BaseCondition, ratio: float = 1.0) -> Faster:
    """`condition` reaches the target before `than`; with a ratio, in at most 1/ratio of its updates.

    Args:
        condition, than: two different conditions with one budget.
        ratio: > 0.

    Raises:
        ClaimError: the conditions cannot be compared.
        InputError: the ratio is not a number > 0.
    """
    return Faster(condition, than, ratio)


def not_worse(condition: BaseCondition, *, than: BaseCondition) -> NotWorse:
    """`condition` reaches the target no later than `than`: its win probability is above 1/2 - delta.

    SUPPORTED where that is shown, REFUTED where it is shown to be below 1/2. Where neither arrived a replica counts
    against both verdicts.

    Raises:
        ClaimError: the conditions cannot be compared.
    """
    return NotWorse(condition, than)


def equivalent(condition: BaseCondition, other: BaseCondition) -> Equivalent:
    """Both reach the target equally soon: the win probability lies within 1/2 - delta … 1/2 + delta.

    SUPPORTED where that is shown, REFUTED where the probability is shown not to be 1/2. Where neither arrived a replica
    counts against both verdicts.

    Raises:
        ClaimError: the conditions cannot be compared.
    """
    return Equivalent(condition, other)


def ordering(*conditions: BaseCondition) -> Ordering:
    """The conditions reach the target in this order. Every pair counts, for winning is not transitive.

    Raises:
        ClaimError: fewer than two conditions, one twice, or different budgets.
    """
    return Ordering(conditions)


def fastest(condition: BaseCondition, *, of: Sequence[BaseCondition]) -> Fastest:
    """`condition` reaches the target before every other condition in `of` (which may hold it too)."""
    return Fastest(condition, _others(condition, of))


def slowest(condition: BaseCondition, *, of: Sequence[BaseCondition]) -> Slowest:
    """Every other condition in `of` (which may hold it too) reaches the target before `condition`."""
    return Slowest(condition, _others(condition, of))


def reaches(condition: BaseCondition, *, low: float = 0.90, high: float = 0.95) -> Reaches:
    """`condition` reaches the target within its budget, with a probability above `low`.

    SUPPORTED where the probability is shown to be above `low`, REFUTED where it is shown to be below `high`; between
    the two either verdict may come.

    Raises:
        ClaimError: `condition` is none.
        InputError: 0 < low < high < 1 does not hold.
    """
    return Reaches(condition, low, high)


def _others(condition: BaseCondition, of: Sequence[BaseCondition]) -> tuple[BaseCondition, ...]:
    check_sequence(of)
    return tuple(other for other in of if other != condition)


def check_conditions(conditions: Sequence[BaseCondition]) -> None:
    """Raise ClaimError where one is no condition."""
    for condition in conditions:
        if not isinstance(condition, BaseCondition):
            raise ClaimError(f"{condition!r} is not a condition; make one with lossact.Condition(...)")


def check_sequence(of: Sequence[BaseCondition]) -> None:
    """Raise ClaimError where one condition stands for a sequence of them."""
    if isinstance(of, BaseCondition):
        raise ClaimError(f"of={of} must be a sequence of conditions; try of=[{of}]")


def as_numbers(found: ArrayLike, name: str) -> NDArray[np.float64]:
    """What a user's function returned, as an array of numbers of any shape.

    Raises:
        ClaimError: it is something else.
    """
    if hasattr(found, "detach"):
        found = found.detach().cpu().double()
    numbers = np.asarray(found)
    if numbers.dtype.kind not in "biuf":
        raise ClaimError(f"{name} is {found!r}; return numbers, NaN where there is none")
    return numbers.astype(np.float64)


def check_comparable(conditions: Sequence[BaseCondition], *, at_least: int = 2) -> None:
    """Raise ClaimError unless there are enough of them, all different, of one budget."""
    check_conditions(conditions)
    names = ", ".join(map(str, conditions))
    if len(conditions) < at_least:
        number = "two; add one to compare with" if at_least == 2 else "one; name what the claim is about"
        raise ClaimError(f"conditions ({names}) must be at least {number}")
    if len(set(conditions)) < len(conditions):
        raise ClaimError(f"conditions ({names}) must differ, but two are equal in all that is trained")
    if len({condition.name for condition in conditions}) < len(set(conditions)):
        raise ClaimError(f"conditions ({names}) must have different names; give each one with Condition(name=...)")
    budgets = sorted({condition.budget for condition in conditions})
    if len(budgets) > 1:
        raise ClaimError(f"budgets {budgets} of ({names}) must be equal; give every condition the same one")


def _pair(
    conditions: Sequence[BaseCondition], trials: Sequence[Trials], i: int, j: int, ratio: float = 1.0
) -> Comparison:
    a, b = trials[i], trials[j]
    outcomes = compare_steps(a.steps, a.reached, b.steps, b.reached, budget=a.budget, ratio=ratio)
    return Comparison(f"{conditions[i]} before {conditions[j]}", outcomes)
