"""Claims about two conditions: faster, not worse, equivalent."""

from collections.abc import Sequence
from dataclasses import dataclass

from lossact.checks import check_number, checked_call
from lossact.claims.hypotheses import Hypothesis, check_comparable, compare_pair
from lossact.conditions import BaseCondition
from lossact.stats import (
    ClaimEvidence,
    Comparison,
    Decision,
    EquivalenceEvidence,
    Margins,
    censored_as_undetermined,
)
from lossact.stats.means import mean_difference
from lossact.storage import Trials


@dataclass(frozen=True)
class Faster(Hypothesis):
    """`condition` reaches the target before `than`, or in at most 1/`ratio` of its updates.

    Args:
        condition: claimed to be sooner.
        than: what it is compared with.
        ratio: by which factor fewer updates, > 0.

    Raises:
        ClaimError: the conditions cannot be compared.
        InputError: the ratio is out of range.
    """

    condition: BaseCondition
    than: BaseCondition
    ratio: float = 1.0

    is_pair = True
    needs_target = True

    def __post_init__(self) -> None:
        check_number("ratio", self.ratio, above=0, hint=2)
        if not isinstance(self.ratio, int):  # a Fraction, say
            object.__setattr__(self, "ratio", float(self.ratio))
        check_comparable(self.conditions)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition, self.than)

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        return [compare_pair(self.conditions, trials, 0, 1, ratio=self.ratio)]

    def warnings(self, decision: Decision, trials: Sequence[Trials]) -> list[str]:
        return _crossing_curves(self, decision, trials) if self.ratio == 1 else []

    def __repr__(self) -> str:
        if self.ratio == 1:
            return f"{self.condition} reaches the target before {self.than}"
        return f"{self.condition} reaches the target in at most 1/{self.ratio:g} of the updates of {self.than}"


@dataclass(frozen=True, repr=False)
class NotWorse(Hypothesis):
    """`condition` reaches the target no later than `than`, but for a margin that does not matter.

    Args:
        condition: claimed to be no later.
        than: what it is compared with.

    Raises:
        ClaimError: the conditions cannot be compared.
    """

    condition: BaseCondition
    than: BaseCondition

    is_pair = True
    needs_target = True

    def __post_init__(self) -> None:
        check_comparable(self.conditions)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition, self.than)

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        return [_compare_leaving_censored_open(self.conditions, trials)]

    def margins(self, delta: float) -> Margins:
        return Margins.of_no_loss(delta)

    def __repr__(self) -> str:
        return f"{self.condition} reaches the target no later than {self.than}"


@dataclass(frozen=True, repr=False)
class Equivalent(Hypothesis):
    """`condition` and `other` reach the target equally soon, but for a margin that does not matter.

    Args:
        condition, other: what is compared.

    Raises:
        ClaimError: the conditions cannot be compared.
    """

    condition: BaseCondition
    other: BaseCondition

    is_pair = True
    needs_target = True

    def __post_init__(self) -> None:
        check_comparable(self.conditions)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.condition, self.other)

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        return [_compare_leaving_censored_open(self.conditions, trials)]

    def evidence(self, comparisons: Sequence[Comparison], delta: float) -> ClaimEvidence:
        return EquivalenceEvidence(delta)

    def thresholds(self, delta: float) -> tuple[float, ...]:
        return (0.5 - delta, 0.5, 0.5 + delta)

    def __repr__(self) -> str:
        return f"{self.condition} and {self.other} reach the target equally soon"


def _crossing_curves(hypothesis: Hypothesis, decision: Decision, trials: Sequence[Trials]) -> list[str]:
    """Warn where mean updates are shown to point the other way than the win probability does."""
    first, second = trials
    saved = second.restricted_steps - first.restricted_steps
    if (decision.value - 0.5) * saved.mean() >= 0:
        return []
    difference = mean_difference(saved, first.budget, decision.alpha)
    if difference.low <= 0 <= difference.high:
        return []
    more = difference.value < 0
    low, high = sorted((abs(difference.low), abs(difference.high)))
    a, b = hypothesis.conditions
    return [
        f"win probability {decision.value:.3f} and mean updates point opposite ways: {a} uses "
        f"{abs(difference.value):.1f} [{low:.1f}, {high:.1f}] updates {'more' if more else 'less'} than {b} on average "
        f"within {first.budget}; the curves cross"
    ]


def _compare_leaving_censored_open(conditions: Sequence[BaseCondition], trials: Sequence[Trials]) -> Comparison:
    """Return who is first, where a replica in which neither reaches the target counts against both verdicts."""
    pair = compare_pair(conditions, trials, 0, 1)
    return Comparison(pair.name, censored_as_undetermined(pair.outcomes))


@checked_call
def faster(condition: BaseCondition, *, than: BaseCondition, ratio: float = 1.0) -> Faster:
    """Claim that `condition` reaches the target before `than`; with a ratio, in at most 1/ratio of its updates.

    SUPPORTED where its win probability is shown to be above 1/2, REFUTED where it is shown to be below 1/2 + delta;
    between the two either verdict may come.

    Args:
        condition, than: two different conditions with one budget.
        ratio: > 0, taken as the decimal fraction that is written: 1.1 is 11/10.

    Returns:
        the hypothesis, for a claim to return or for `lossact.evaluate`.

    Raises:
        ClaimError: the conditions cannot be compared.
        InputError: the ratio is not a number > 0.

    >>> from lossact import SGD, Condition, MLPConfig, RandomImages
    >>> def mlp(loss):
    ...     return Condition(name=loss, network=MLPConfig(activation="sigmoid"), loss=loss,
    ...                      optimizer=SGD(learning_rate=0.1), data=RandomImages(), budget=1000)
    >>> faster(mlp("cross_entropy"), than=mlp("l2"))
    cross_entropy reaches the target before l2
    """
    return Faster(condition, than, ratio)


@checked_call
def not_worse(condition: BaseCondition, *, than: BaseCondition) -> NotWorse:
    """Claim that `condition` reaches the target no later than `than`: its win probability is above 1/2 - delta.

    SUPPORTED where that is shown, REFUTED where it is shown to be below 1/2. A replica in which neither reaches the
    target counts against both verdicts.

    Args:
        condition, than: two different conditions with one budget.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the conditions cannot be compared.

    >>> from lossact import FunctionCondition
    >>> def method(name):
    ...     return FunctionCondition(name=name, train=lambda seed, name: None, config={"name": name}, budget=100)
    >>> not_worse(method("new"), than=method("old"))
    new reaches the target no later than old
    """
    return NotWorse(condition, than)


@checked_call
def equivalent(condition: BaseCondition, other: BaseCondition) -> Equivalent:
    """Claim that both reach the target equally soon: the win probability lies within 1/2 - delta … 1/2 + delta.

    SUPPORTED where it is shown to lie within, REFUTED where it is shown to lie outside. A replica in which neither
    reaches the target counts against both verdicts.

    Args:
        condition, other: two different conditions with one budget.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: the conditions cannot be compared.

    >>> from lossact import FunctionCondition
    >>> def method(name):
    ...     return FunctionCondition(name=name, train=lambda seed, name: None, config={"name": name}, budget=100)
    >>> equivalent(method("a"), method("b"))
    a and b reach the target equally soon
    """
    return Equivalent(condition, other)
