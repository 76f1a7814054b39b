"""What every hypothesis is: conditions, what each replica shows about them, and what that is evidence of."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Real
from types import FunctionType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossact.checks import shortened
from lossact.claims.verdict_summary import Estimate
from lossact.conditions import BaseCondition, FunctionCondition, RecordedRuns
from lossact.errors import ClaimError
from lossact.experiment import Experiment
from lossact.stats import (
    ClaimEvidence,
    Comparison,
    Decider,
    Decision,
    Margins,
    MeanDecider,
    PairwiseEvidence,
    compare_steps,
)
from lossact.storage import NOT_COUNTED, Trials

AnyDecider = Decider | MeanDecider


IN_A_LOOP = ". A lambda made in a loop sees the loop's last value: make each in a function, or bind it: lambda s=s: s"


class Hypothesis(ABC):
    """Something a claim may return.

    Attributes:
        effect_name: what the reported value is.
        effect_unit: of that value, "" for a probability.
        is_ordering: whether a single run of each condition can show the claimed order.
        is_pair: whether it compares the first of its two conditions with the second by their updates to the target.
        needs_target: whether it is about updates to a target, which all of its conditions must have.
    """

    effect_name: str = "win probability"
    effect_unit: str = ""
    is_ordering: bool = False
    is_pair: bool = False
    needs_target: bool = False

    @property
    @abstractmethod
    def conditions(self) -> tuple[BaseCondition, ...]:
        """The conditions it is about, each once."""

    @abstractmethod
    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        """Return what the replicas show.

        Args:
            trials: of each condition, over one common range of replicas.

        Returns:
            comparisons, each with outcomes (replicas,).
        """

    def observe(self, experiment: Experiment, trials: Sequence[Trials], replicas: int) -> list[Comparison]:
        """Return what the first replicas show.

        Args:
            experiment: where numbers that are no trials can be kept.
            trials: of each condition, `replicas` of them.
            replicas: how many are looked at, >= 1.

        Returns:
            comparisons, each with outcomes (replicas,).

        Raises:
            ClaimError: it is about updates to a target, and training did not count them.
        """
        if self.needs_target:
            _check_counted(self.conditions, trials)
        return self.comparisons(trials)

    def check(self) -> None:
        """Try what can be tried before anything is trained.

        Raises:
            ClaimError: it would fail after training.
        """
        if self.needs_target:
            check_targets(self.conditions)

    def margins(self, delta: float) -> Margins:
        """Return what the effect is held against.

        Args:
            delta: the smallest margin over 1/2 that matters, in (0, 1/2).

        Returns:
            what supports and what refutes the claim.
        """
        return Margins.of_wins(delta)

    def evidence(self, comparisons: Sequence[Comparison], delta: float) -> ClaimEvidence:
        """Return what the comparisons' counts are evidence of.

        Args:
            comparisons: of all conditions.
            delta: the smallest margin that matters, in (0, 1/2).

        Returns:
            evidence for and against the claim.
        """
        return PairwiseEvidence(self.margins(delta))

    def decider(self, comparisons: Sequence[Comparison], delta: float, *, alpha: float, limit: int) -> AnyDecider:
        """Return what decides the claim, look by look.

        Args:
            comparisons: of all conditions, at the first look.
            delta: the smallest margin that matters, in (0, 1/2).
            alpha: error probability of either side, in (0, 1/2).
            limit: replicas to look at, at most.

        Returns:
            a decider without any replica yet.
        """
        return Decider(self.evidence(comparisons, delta), alpha=alpha, limit=limit)

    def thresholds(self, delta: float) -> tuple[float, ...]:
        """Return the values that the interval is held against.

        Args:
            delta: the smallest margin that matters, in (0, 1/2).

        Returns:
            values, ascending; none where they differ by comparison.
        """
        margins = self.margins(delta)
        return (margins.support, margins.refute)

    def estimate(self, trials: Sequence[Trials], alpha: float) -> Estimate | None:
        """Return the difference, or the median, that a claim about values is about.

        Args:
            trials: of each condition, over the replicas that were looked at.
            alpha: error probability of a side.

        Returns:
            the estimate, in the measure's unit; None for other claims.
        """
        return None

    def warnings(self, decision: Decision, trials: Sequence[Trials]) -> list[str]:
        """Return what a reader should know before quoting the verdict.

        Args:
            decision: about these trials.
            trials: of each condition, in the order of the conditions.

        Returns:
            sentences, a warning each.
        """
        return []

    @property
    def budget(self) -> int | None:
        """The updates that every condition may use, None where nothing is trained."""
        return self.conditions[0].budget if self.conditions else None


def compare_pair(
    conditions: Sequence[BaseCondition], trials: Sequence[Trials], i: int, j: int, *, ratio: float = 1.0
) -> Comparison:
    """Return what the replicas show about condition i before condition j.

    Args:
        conditions: of the claim.
        trials: of each condition, in the same order.
        i: the condition that is claimed to be sooner.
        j: the other one.
        ratio: i has to need at most 1 / ratio of the updates of j; > 0.

    Returns:
        their names, and an Outcome for each replica.
    """
    a, b = trials[i], trials[j]
    outcomes = compare_steps(a.steps, a.reached, b.steps, b.reached, budget=a.budget, ratio=ratio)
    return Comparison(f"{conditions[i]} before {conditions[j]}", outcomes)


def check_hypothesis(value: object) -> None:
    """Raise ClaimError where a user's value is no hypothesis.

    Args:
        value: what a user gave.

    Raises:
        ClaimError: it is something else.
    """
    if isinstance(value, Hypothesis):
        return
    if isinstance(value, BaseCondition):
        raise ClaimError(f"{value} is a condition, not a hypothesis; compare two, as in faster(a, than=b)")
    if isinstance(value, FunctionType):
        raise ClaimError(f"{value.__name__} is a function, not a hypothesis; give what it returns: {value.__name__}()")
    if isinstance(value, (list, tuple)):
        raise ClaimError(f"a {type(value).__name__} is not a hypothesis; claim each by itself, or all_of(*hypotheses)")
    if isinstance(getattr(value, "hypothesis", None), Hypothesis):
        raise ClaimError("what evaluate returned is a verdict, not a hypothesis; leave evaluate out")
    raise ClaimError(f"{shortened(value)} is not a hypothesis; make one with lossact.faster, say")


def check_conditions(conditions: Sequence[BaseCondition]) -> None:
    """Raise ClaimError where one is no condition.

    Args:
        conditions: what a user gave.

    Raises:
        ClaimError: one of them is something else.
    """
    for condition in conditions:
        if isinstance(condition, BaseCondition):
            continue
        way_out = "make one with lossact.Condition(...)"
        if isinstance(condition, FunctionType):
            way_out = f"give what it returns: {condition.__name__}(...)"
        elif isinstance(condition, (list, tuple)):
            way_out = "give the conditions one by one, without a list"
        elif isinstance(condition, (str, Real)):
            way_out += "; a measure's name stands before the condition, and numbers after it"
        raise ClaimError(f"{shortened(condition)} is not a condition; {way_out}")


def check_targets(conditions: Sequence[BaseCondition]) -> None:
    """Raise ClaimError where one has no target that it could reach.

    Args:
        conditions: of the claim.

    Raises:
        ClaimError: one of them has measures alone.
    """
    for condition in conditions:
        if not isinstance(condition, (FunctionCondition, RecordedRuns)) and not condition.has_target:
            raise ClaimError(
                f"{condition} has no target to reach; give it target=, or claim something about its measures, as "
                "lossact.higher does"
            )


def _check_counted(conditions: Sequence[BaseCondition], trials: Sequence[Trials]) -> None:
    for condition, outcomes in zip(conditions, trials, strict=True):
        if not outcomes.are_counted:
            some = " in some replicas" if (outcomes.steps != NOT_COUNTED).any() else ""
            raise ClaimError(
                f"{condition} has no target to reach: the dict that train returned holds no 'steps'{some}; return "
                "them, None where the target was not met, or claim something about its measures, as lossact.higher does"
            )


def check_sequence(of: Sequence[BaseCondition]) -> None:
    """Raise ClaimError where a single condition was given instead of a sequence.

    Args:
        of: what a user gave as conditions.

    Raises:
        ClaimError: it is one condition.
    """
    if isinstance(of, BaseCondition):
        raise ClaimError(f"of={of} must be a sequence of conditions; try of=[{of}]")


def other_conditions(condition: BaseCondition, of: Sequence[BaseCondition]) -> tuple[BaseCondition, ...]:
    """Return the conditions that one is compared with, itself left out.

    Args:
        condition: the one that is compared.
        of: all conditions; whether it is among them makes no difference.

    Returns:
        those of `of` that differ from it, in their order.

    Raises:
        ClaimError: `of` is one condition, not a sequence of them.
    """
    check_sequence(of)
    return tuple(other for other in of if other != condition)


def as_numbers(returned: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return what a user's function returned as an array of numbers.

    Args:
        returned: numbers, an array or a tensor of any shape.
        name: what errors call it.

    Returns:
        float64 of the same shape; NaN where a masked array is masked.

    Raises:
        ClaimError: it is something else.
    """
    if hasattr(returned, "detach"):
        returned = returned.detach().cpu().double()
    numbers = np.asarray(returned)
    if numbers.dtype.kind not in "biuf":
        raise ClaimError(f"{name} is {returned!r}; return numbers, NaN where there is none")
    numbers = numbers.astype(np.float64)
    if isinstance(returned, np.ma.MaskedArray):
        numbers[np.ma.getmaskarray(returned)] = np.nan
    return numbers


def check_comparable(conditions: Sequence[BaseCondition], *, at_least: int = 2) -> None:
    """Raise ClaimError unless there are enough of them, all different, of one budget where they are trained.

    Args:
        conditions: of the claim.
        at_least: how many it needs.

    Raises:
        ClaimError: there are too few, two are equal or share a name, or their budgets differ.
    """
    check_conditions(conditions)
    names = ", ".join(map(str, conditions))
    if len(conditions) < at_least:
        number = "two; add one to compare with" if at_least == 2 else "one; name what the claim is about"
        raise ClaimError(f"conditions ({names}) must be at least {number}")
    if len(set(conditions)) < len(conditions):
        first = next(each for k, each in enumerate(conditions) if each in conditions[:k])
        alike = " and ".join(str(each) for each in conditions if each == first)
        raise ClaimError(
            f"conditions ({names}) must differ, but two are equal in all that is trained: {alike}; change a setting of "
            f"one{IN_A_LOOP if '<lambda>' in first.json else ', or give a function of other code another version='}"
        )
    if len({condition.name for condition in conditions}) < len(set(conditions)):
        kind = type(conditions[0]).__name__
        raise ClaimError(f"conditions ({names}) must have different names; give each one, as {kind}(name=...)")
    budgets = sorted({condition.budget for condition in conditions if not isinstance(condition, RecordedRuns)})
    if len(budgets) > 1:
        raise ClaimError(f"budgets {budgets} of ({names}) must be equal; give every condition the same one")
