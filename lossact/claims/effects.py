"""Claims about one number a replica: an effect of any kind, or how a gap changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossact.checks import check_number
from lossact.claims.hypotheses import Hypothesis, as_numbers, check_comparable, check_sequence
from lossact.conditions import BaseCondition
from lossact.errors import ClaimError
from lossact.experiment import Experiment
from lossact.replicas.random_streams import SAMPLE, isolate_rng, sample_for_replica
from lossact.stats import Comparison, Decision, Margins, Outcome, compare_numbers
from lossact.storage import Trials


@dataclass(frozen=True, repr=False)
class NumberClaim(Hypothesis):
    """One number of each replica, called `name`, exceeds `margin`."""

    measure: Callable[..., ArrayLike]
    margin: float
    name: str

    effect_name = "probability of exceeding the margin"

    def __post_init__(self) -> None:
        if not callable(self.measure):
            raise ClaimError(f"measure={self.measure!r} must be a function that returns one number a replica")
        check_number("margin", self.margin, hint=0)

    def margins(self, delta: float) -> Margins:
        return replace(
            Margins.of_wins(delta),
            refutation_labels=("mostly below the margin", "negligible"),
            censoring_reason="too many replicas cannot tell",
        )

    def __repr__(self) -> str:
        return f"{self.name} exceeds {self.margin:g}"

    def _numbers(self, found: ArrayLike, replicas: int) -> NDArray[np.float64]:
        numbers = as_numbers(found, self.name)
        if numbers.shape != (replicas,):
            raise ClaimError(
                f"{self.name} has shape {numbers.shape} for {replicas} replicas; "
                "return one number for each, (replicas,)"
            )
        return numbers

    def _compare(self, found: ArrayLike, replicas: int) -> list[Comparison]:
        numbers = self._numbers(found, replicas)
        return [Comparison(f"{self.name} > {self.margin:g}", compare_numbers(numbers, self.margin))]


@dataclass(frozen=True, repr=False)
class Exceeds(NumberClaim):
    """The number is what `measure` makes of a replica's trials, one of each condition."""

    of: tuple[BaseCondition, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_comparable(self.of, at_least=1)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return self.of

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        return self._compare(self.measure(*trials), len(trials[0]))

    def __repr__(self) -> str:
        return f"{super().__repr__()} ({', '.join(map(str, self.of))})"


@dataclass(frozen=True, repr=False)
class Measured(NumberClaim):
    """The number is what `measure` finds, given the experiment's seed and how many are asked for."""

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return ()

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        raise ClaimError(f"{self.name} is not made of trials; evaluate the claim with lossact.evaluate")

    def observe(self, experiment: Experiment, trials: Sequence[Trials], replicas: int) -> list[Comparison]:
        def find(n: int) -> NDArray[np.float64]:
            return self._numbers(self.measure(experiment.seed, n), n)

        return self._compare(experiment.numbers(self.measure, find, replicas), replicas)


@dataclass(frozen=True, repr=False)
class Interaction(Hypothesis):
    """The updates by which `sooner` beats `later` are fewer in the first pair than in the second."""

    sooner: BaseCondition
    later: BaseCondition
    then_sooner: BaseCondition
    then_later: BaseCondition

    effect_name = "probability of a larger gap"

    def __post_init__(self) -> None:
        check_comparable(self.conditions)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return (self.sooner, self.later, self.then_sooner, self.then_later)

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        outcomes = compare_numbers(gap_growth(trials), 0)
        reached = np.any([one.reached for one in trials], axis=0)
        return [Comparison("the gap grows", np.where(reached, outcomes, Outcome.CENSORED).astype(np.int8))]

    def warnings(self, decision: Decision, trials: Sequence[Trials]) -> list[str]:
        censored = 1 - float(np.mean([one.reached for one in trials]))
        if censored == 0:
            return []
        return [f"{censored:.0%} of the runs are cut off at {self.budget} updates, which makes gaps look smaller"]

    def __repr__(self) -> str:
        return (
            f"{self.sooner} is ahead of {self.later} by fewer updates than {self.then_sooner} is of {self.then_later}"
        )


def gap_growth(trials: Sequence[Trials]) -> NDArray[np.float64]:
    """(later - sooner) of the second pair minus that of the first in min(T, budget) updates, (replicas,).

    Args:
        trials: sooner, later, then_sooner, then_later.
    """
    sooner, later, then_sooner, then_later = (one.restricted_steps.astype(np.float64) for one in trials)
    growth: NDArray[np.float64] = (then_later - then_sooner) - (later - sooner)
    return growth


def exceeds(
    measure: Callable[..., ArrayLike], margin: float, *, of: Sequence[BaseCondition], name: str = ""
) -> Exceeds:
    """A number of each replica exceeds a margin in more than half of the replicas.

    Args:
        measure: takes the Trials of each condition, returns (replicas,) numbers; NaN where a replica cannot tell, which
            counts against both verdicts. What varies within a replica is summed up within it, never pooled.
        margin: what the numbers are held against.
        of: the conditions, in the order in which `measure` takes them.
        name: of the number, for tables; by default the function's.

    Raises:
        ClaimError: the conditions cannot be compared, or `measure` is no function.
        InputError: the margin is not a number.
    """
    check_sequence(of)
    return Exceeds(measure, margin, name or getattr(measure, "__name__", "effect"), tuple(of))


def measured(measure: Callable[[int, int], ArrayLike], margin: float, *, name: str = "") -> Measured:
    """A number found for each replica, by any means, exceeds a margin in more than half of the replicas.

    Args:
        measure: takes the experiment's seed and how many replicas are asked for, returns (replicas,) numbers. A
            replica's number must depend on seed and index alone, not on how many are asked for; NaN where it cannot
            tell. What it finds is stored, and found anew where its code or anything it holds has changed.
        margin: what the numbers are held against.
        name: of the number, for tables; by default the function's.

    Raises:
        ClaimError: `measure` is no function, or does not return one number a replica.
        InputError: the margin is not a number.
    """
    return Measured(measure, margin, name or getattr(measure, "__name__", "number"))


def sampled(draw: Callable[[np.random.Generator], float], margin: float, *, name: str = "") -> Measured:
    """A number drawn for each replica exceeds a margin in more than half of the replicas.

    Args:
        draw: takes the replica's own generator, returns a number; NaN where it cannot tell.
        margin: what the numbers are held against.
        name: of the number, for tables; by default the function's.

    Raises:
        ClaimError: `draw` is no function.
        InputError: the margin is not a number.
    """
    if not callable(draw):
        raise ClaimError(f"draw={draw!r} must be a function of a numpy Generator")

    def draws(seed: int, replicas: int) -> list[float]:
        with isolate_rng():
            return [sample_for_replica(draw, seed, replica, SAMPLE) for replica in range(replicas)]

    return measured(draws, margin, name=name or getattr(draw, "__name__", "number"))


def gap_grows(pair: tuple[BaseCondition, BaseCondition], *, to: tuple[BaseCondition, BaseCondition]) -> Interaction:
    """The gap in updates between two conditions is larger for the second pair: an interaction.

    Each replica gives one number, the difference of the two gaps in min(T, budget).

    Args:
        pair: (sooner, later).
        to: the same two at another setting, (sooner, later).

    Raises:
        ClaimError: the four conditions cannot be compared.
    """
    for name, two in (("pair", pair), ("to", to)):
        if not isinstance(two, tuple) or len(two) != 2:
            raise ClaimError(f"{name}={two!r} must be two conditions, (sooner, later)")
    return Interaction(*pair, *to)
