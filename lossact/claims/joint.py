"""Several hypotheses as one claim."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

from lossact.checks import checked_call
from lossact.claims.hypotheses import Hypothesis, check_hypothesis
from lossact.claims.theorem import Theorem
from lossact.conditions import BaseCondition
from lossact.errors import ClaimError
from lossact.experiment import Experiment
from lossact.stats import ClaimEvidence, Comparison, Decision, JointEvidence
from lossact.storage import Trials


@dataclass(frozen=True, repr=False)
class AllOf(Hypothesis):
    """Every member holds.

    Args:
        members: two hypotheses or more, none of them a theorem.

    Raises:
        ClaimError: there are fewer, their budgets differ, or two conditions share a name.
    """

    members: tuple[Hypothesis, ...]

    effect_name = "effect of the member that holds least"

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise ClaimError(f"all_of({', '.join(map(repr, self.members))}) must have at least two hypotheses; add one")
        for member in self.members:
            check_hypothesis(member)
            if isinstance(member, Theorem):
                raise ClaimError(f"{member!r} is a theorem, which is not sampled; make it a claim of its own")
            if member.effect_unit:
                raise ClaimError(f"{member!r} is about a mean, which is decided by itself; make it a claim of its own")
        budgets = sorted({condition.budget for condition in self.conditions})
        if len(budgets) > 1:
            raise ClaimError(f"budgets {budgets} of all_of's conditions must be equal; give them all the same one")
        names = [condition.name for condition in self.conditions]
        if len(set(names)) < len(names):
            raise ClaimError(f"conditions ({', '.join(names)}) must have different names; give each one with name=")

    @cached_property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return tuple(dict.fromkeys(condition for member in self.members for condition in member.conditions))

    def trials_of(self, member: Hypothesis, trials: Sequence[Trials]) -> list[Trials]:
        """Return the trials of a member's conditions.

        Args:
            member: one of the members.
            trials: of each condition, in the order of the conditions.

        Returns:
            trials, in the order of the member's conditions.
        """
        by_condition = dict(zip(self.conditions, trials, strict=True))
        return [by_condition[condition] for condition in member.conditions]

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        return [
            replace(comparison, member=k)
            for k, member in enumerate(self.members)
            for comparison in member.comparisons(self.trials_of(member, trials))
        ]

    def observe(self, experiment: Experiment, trials: Sequence[Trials], replicas: int) -> list[Comparison]:
        return [
            replace(comparison, member=k)
            for k, member in enumerate(self.members)
            for comparison in member.observe(experiment, self.trials_of(member, trials), replicas)
        ]

    def check(self) -> None:
        for member in self.members:
            member.check()

    def evidence(self, comparisons: Sequence[Comparison], delta: float) -> ClaimEvidence:
        of = [comparison.member for comparison in comparisons]
        groups = [
            [comparison for comparison in comparisons if comparison.member == k] for k in range(len(self.members))
        ]
        members = [member.evidence(group, delta) for member, group in zip(self.members, groups, strict=True)]
        return JointEvidence(members, of)

    def thresholds(self, delta: float) -> tuple[float, ...]:
        distinct = {member.thresholds(delta) for member in self.members}
        return distinct.pop() if len(distinct) == 1 else ()

    def warnings(self, decision: Decision, trials: Sequence[Trials]) -> list[str]:
        return [
            f"the effect is that of {decision.weakest_comparison}; its interval is its own, not corrected for the "
            f"{len(self.members)} members"
        ]

    def __repr__(self) -> str:
        return "; and ".join(map(repr, self.members))


@checked_call
def all_of(*hypotheses: Hypothesis) -> AllOf:
    """Claim that every one of these hypotheses holds.

    SUPPORTED where each of them is at the claim's level (intersection-union, no correction), REFUTED where the average
    of the evidence against them reaches 1/alpha: at least one of them then fails.

    Args:
        hypotheses: at least two, about conditions of one budget; no theorem.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: they cannot be decided together.

    >>> from lossact import FunctionCondition, faster, reaches
    >>> def method(name):
    ...     return FunctionCondition(name=name, train=lambda seed, name: None, config={"name": name}, budget=100)
    >>> all_of(faster(method("a"), than=method("b")), reaches(method("a")))
    a reaches the target before b; and a reaches the target within 100 updates in more than 90% of runs
    """
    if len(hypotheses) == 1 and isinstance(hypotheses[0], (list, tuple)):
        raise ClaimError("all_of takes hypotheses one by one, not a list of them; write all_of(*hypotheses)")
    members = [each.members if isinstance(each, AllOf) else (each,) for each in hypotheses]
    return AllOf(tuple(chain.from_iterable(members)))
