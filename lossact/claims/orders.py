"""Claims about several conditions: an ordering, the fastest, the slowest."""

from collections.abc import Sequence
from dataclasses import dataclass

from lossact.checks import checked_call
from lossact.claims.hypotheses import Hypothesis, check_comparable, compare_pair, other_conditions
from lossact.conditions import BaseCondition
from lossact.stats import Comparison
from lossact.storage import Trials


@dataclass(frozen=True)
class Ordering(Hypothesis):
    """The conditions reach the target in the order given, every one before all that follow.

    Args:
        order: two conditions or more, the fastest first.

    Raises:
        ClaimError: the conditions cannot be compared.
    """

    order: tuple[BaseCondition, ...]

    effect_name = "smallest pairwise win probability"
    is_ordering = True
    needs_target = True

    def __post_init__(self) -> None:
        check_comparable(self.order)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return self.order

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        n = len(self.order)
        return [compare_pair(self.order, trials, i, j) for i in range(n) for j in range(i + 1, n)]

    def __repr__(self) -> str:
        return " < ".join(map(str, self.order))


@dataclass(frozen=True)
class AgainstOthers(Hypothesis):
    """`condition` against each of `others`.

    Args:
        condition: the one that is claimed to differ.
        others: one condition or more.

    Raises:
        ClaimError: the conditions cannot be compared.
    """

    condition: BaseCondition
    others: tuple[BaseCondition, ...]

    effect_name = "smallest pairwise win probability"
    needs_target = True

    def __post_init__(self) -> None:
        check_comparable(self.conditions)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition, *self.others)


@dataclass(frozen=True, repr=False)
class Fastest(AgainstOthers):
    """`condition` reaches the target before each of `others`."""

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        return [compare_pair(self.conditions, trials, 0, j) for j in range(1, len(trials))]

    def __repr__(self) -> str:
        return f"{self.condition} is the fastest of {', '.join(map(str, self.conditions))}"


@dataclass(frozen=True, repr=False)
class Slowest(AgainstOthers):
    """Each of `others` reaches the target before `condition`."""

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        return [compare_pair(self.conditions, trials, j, 0) for j in range(1, len(trials))]

    def __repr__(self) -> str:
        return f"{self.condition} is the slowest of {', '.join(map(str, self.conditions))}"


@checked_call
def ordering(*conditions: BaseCondition) -> Ordering:
    """Claim that the conditions reach the target in this order; every pair counts, for winning is not transitive.

    Args:
        conditions: at least two different ones with one budget, the first to arrive first.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: fewer than two conditions, one twice, or different budgets.

    >>> from lossact import FunctionCondition
    >>> def method(name):
    ...     return FunctionCondition(name=name, train=lambda seed, name: None, config={"name": name}, budget=100)
    >>> ordering(method("a"), method("b"), method("c"))
    a < b < c
    """
    return Ordering(conditions)


@checked_call
def fastest(condition: BaseCondition, *, of: Sequence[BaseCondition]) -> Fastest:
    """Claim that `condition` reaches the target before every other condition in `of`.

    Args:
        condition: the one that is claimed to be first.
        of: the conditions to compare with, `condition` itself among them or not.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the conditions cannot be compared.

    >>> from lossact import FunctionCondition
    >>> def method(name):
    ...     return FunctionCondition(name=name, train=lambda seed, name: None, config={"name": name}, budget=100)
    >>> fastest(method("a"), of=[method("a"), method("b"), method("c")])
    a is the fastest of a, b, c
    """
    return Fastest(condition, other_conditions(condition, of))


@checked_call
def slowest(condition: BaseCondition, *, of: Sequence[BaseCondition]) -> Slowest:
    """Claim that every other condition in `of` reaches the target before `condition`.

    Args:
        condition: the one that is claimed to be last.
        of: the conditions to compare with, `condition` itself among them or not.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the conditions cannot be compared.

    >>> from lossact import FunctionCondition
    >>> def method(name):
    ...     return FunctionCondition(name=name, train=lambda seed, name: None, config={"name": name}, budget=100)
    >>> slowest(method("a"), of=[method("b"), method("c")])
    a is the slowest of a, b, c
    """
    return Slowest(condition, other_conditions(condition, of))
