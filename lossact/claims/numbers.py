"""Claims about one number a replica: an effect of any kind, of trials or of a user's own making."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lossact.checks import check_number, check_signature, checked_call
from lossact.claims.hypotheses import Hypothesis, as_numbers, check_comparable, check_sequence
from lossact.claims.recorded_measures import check_trained
from lossact.conditions import BaseCondition
from lossact.errors import ClaimError, InputError
from lossact.experiment import Experiment
from lossact.replicas.random_streams import SAMPLE, isolate_rng, rng_state, sample_for_replica
from lossact.stats import Comparison, Decision, Margins, compare_numbers
from lossact.storage import Trials

TRIED = 16  # replicas of made-up trials on which a measure is tried
AT_ONCE = 16  # samples drawn before they are stored


@dataclass(frozen=True, repr=False)
class NumberClaim(Hypothesis):
    """One number of each replica, called `name`, exceeds `margin`.

    Args:
        measure: returns one number a replica.
        margin: finite, in the unit of the numbers.
        name: of the number.

    Raises:
        ClaimError: the measure is no function.
        InputError: the margin is no finite number.
    """

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
            refutation_labels=("mostly below the margin", "at most negligibly more often above the margin"),
            censoring_reason="too many replicas have no number",
            without_undetermined=True,
        )

    def warnings(self, decision: Decision, trials: Sequence[Trials]) -> list[str]:
        if not decision.undecided:
            return []
        return [
            f"{decision.undecided} of {decision.replicas} replicas have no number (NaN): they count against either "
            "verdict, and not in the effect"
        ]

    def __repr__(self) -> str:
        return f"{self.name} exceeds {self.margin:g}"

    def _numbers(self, returned: ArrayLike, replicas: int) -> NDArray[np.float64]:
        numbers = as_numbers(returned, self.name)
        if numbers.shape != (replicas,):
            raise ClaimError(
                f"{self.name} returned shape {numbers.shape} for {replicas} replicas; return one number for each, "
                f"({replicas},), each from a run of its own and none repeated"
            )
        return numbers

    def _compare(self, returned: ArrayLike, replicas: int) -> list[Comparison]:
        numbers = self._numbers(returned, replicas)
        return [Comparison(f"{self.name} > {self.margin:g}", compare_numbers(numbers, self.margin))]


@dataclass(frozen=True, repr=False)
class Exceeds(NumberClaim):
    """The number is what `measure` makes of a replica's trials, one of each condition.

    Args:
        measure: called with the trials of each condition, returns (replicas,) numbers.
        margin: finite, in the unit of the numbers.
        name: of the number.
        of: the conditions, at least one.

    Raises:
        ClaimError: the measure is no function, or the conditions cannot be compared.
        InputError: the margin is no finite number.
    """

    of: tuple[BaseCondition, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_comparable(self.of, at_least=1)
        check_trained("exceeds", self.of)

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return self.of

    def numbers(self, trials: Sequence[Trials]) -> NDArray[np.float64]:
        """Return each replica's number.

        Args:
            trials: of each condition, in the order of the conditions.

        Returns:
            (replicas,), NaN where a replica has none.

        Raises:
            ClaimError: the measure returned something else.
        """
        return self._numbers(self._measured(trials), len(trials[0]))

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        return self._compare(self._measured(trials), len(trials[0]))

    def _measured(self, trials: Sequence[Trials]) -> ArrayLike:
        return self.measure(*(each.read_only() for each in trials))

    def check(self) -> None:
        made_up = [_made_up_trials(condition, k) for k, condition in enumerate(self.of)]
        try:
            returned = self._measured(made_up)
            of_few = self._measured([each.first(TRIED // 2) for each in made_up])
        except Exception as error:
            raise ClaimError(
                f"{self.name} failed on made-up trials, before anything was trained: {type(error).__name__}: {error}"
            ) from error
        first_of_all = self._numbers(returned, TRIED)[: TRIED // 2]
        if not np.allclose(first_of_all, self._numbers(of_few, TRIED // 2), rtol=1e-6, atol=0, equal_nan=True):
            raise ClaimError(
                f"{self.name} gives replicas other numbers when there are more of them, so that one replica's says "
                "something about another; compute each from that replica's trials alone"
            )

    def __repr__(self) -> str:
        return f"{super().__repr__()} ({', '.join(map(str, self.of))})"


def _made_up_trials(condition: BaseCondition, stream: int) -> Trials:
    """Trials of which three quarters reached the target, at any update, with values in [0, 1)."""
    rng = np.random.default_rng(stream)
    reached = np.arange(TRIED) % 4 != stream % 4
    steps = np.where(reached, rng.integers(0, condition.budget + 1, TRIED), 0)
    values = {name: rng.random(TRIED) for name in condition.value_names}
    return Trials(steps, reached, np.zeros(TRIED, bool), condition.budget, values=values)


@dataclass(frozen=True, repr=False)
class Measured(NumberClaim):
    """The number is what `measure` returns, given the experiment's seed and how many replicas are asked for."""

    @property
    def conditions(self) -> tuple[BaseCondition, ...]:
        return ()

    def comparisons(self, trials: Sequence[Trials]) -> list[Comparison]:
        raise ClaimError(f"{self.name} is not made of trials; evaluate the claim with lossact.evaluate")

    def observe(self, experiment: Experiment, trials: Sequence[Trials], replicas: int) -> list[Comparison]:
        def find(known: NDArray[np.float64], n: int) -> NDArray[np.float64]:
            return self._find(experiment.seed, known, n)

        return self._compare(experiment.numbers(self.measure, find, replicas), replicas)

    def _find(self, seed: int, known: NDArray[np.float64], replicas: int) -> NDArray[np.float64]:
        """Return the numbers of the first `replicas`, or of fewer but more than are known."""
        return self._numbers(self.measure(seed, replicas), replicas)


@dataclass(frozen=True, repr=False)
class Sampled(Measured):
    """The number is what `measure` returns, given the replica's own generator."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_signature("draw", self.measure, like="draw(generator)", values=1)

    def _find(self, seed: int, known: NDArray[np.float64], replicas: int) -> NDArray[np.float64]:
        last = min(replicas, len(known) + max(AT_ONCE, len(known) // 8))
        measure = self.measure if len(known) else _Watched(self.measure)
        with isolate_rng():
            drawn: Any = [sample_for_replica(measure, seed, r, SAMPLE) for r in range(len(known), last)]
        numbers = self._numbers(drawn, last - len(known))
        if isinstance(measure, _Watched) and not measure.drew and len(set(numbers.tolist())) == 1:
            raise InputError(
                f"{self.name}: draw takes nothing from the generator that it gets and returns {numbers[0]:g} for every "
                "replica, which is one number; draw from it, as in lambda generator: generator.normal()"
            )
        return np.concatenate([known, numbers])


class _Watched:
    """A user's draw, and whether it drew from its generator or from the process's."""

    def __init__(self, draw: Callable[[np.random.Generator], Any]) -> None:
        self.draw, self.drew = draw, False

    def __call__(self, generator: np.random.Generator) -> Any:
        before, of_process = str(generator.bit_generator.state), rng_state()
        number = self.draw(generator)
        spawned = getattr(generator.bit_generator.seed_seq, "n_children_spawned", 0)
        self.drew |= bool(spawned) or str(generator.bit_generator.state) != before or not of_process.equals(rng_state())
        return number


@checked_call
def exceeds(
    measure: Callable[..., ArrayLike], margin: float, *, of: Sequence[BaseCondition], name: str = ""
) -> Exceeds:
    """Claim that a number of each replica exceeds a margin in more than half of the replicas.

    Args:
        measure: takes the Trials of each condition, with their `steps` and `values["accuracy"]`, and returns
            (replicas,) numbers; NaN where a replica has none, which counts against both verdicts. What varies within a
            replica is summed up within it, never pooled.
        margin: what the numbers are held against.
        of: the conditions, in the order in which `measure` takes them.
        name: of the number, for tables; by default the function's.

    Returns:
        the hypothesis. Its measure is tried on made-up trials before anything is trained.

    Raises:
        ClaimError: the conditions cannot be compared, or `measure` is no function.
        InputError: the margin is not a number.

    >>> from lossact import FunctionCondition
    >>> a = FunctionCondition(name="a", train=lambda seed: None, budget=100)
    >>> exceeds(lambda a: a.steps, 50, of=[a], name="updates")
    updates exceeds 50 (a)
    """
    check_sequence(of)
    return Exceeds(measure, margin, name or getattr(measure, "__name__", "effect"), tuple(of))


@checked_call
def measured(measure: Callable[[int, int], ArrayLike], margin: float, *, name: str = "") -> Measured:
    """Claim that a statistic exceeds a margin in more than half of the replicas, computed for many replicas at once.

    Args:
        measure: takes the experiment's seed and a number of replicas, returns (replicas,) numbers. A replica's number
            must depend on seed and index alone, not on how many are asked for; NaN where it has none. Numbers are
            stored, and computed anew where its code or anything it holds has changed.
        margin: what the numbers are held against.
        name: of the number, for tables; by default the function's.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: `measure` is no function.
        InputError: the margin is not a number.

    >>> measured(lambda seed, replicas: np.ones(replicas), 0.5, name="a constant")
    a constant exceeds 0.5
    """
    return Measured(measure, margin, name or getattr(measure, "__name__", "number"))


@checked_call
def sampled(draw: Callable[[np.random.Generator], float], margin: float, *, name: str = "") -> Sampled:
    """Claim that a statistic exceeds a margin in more than half of the replicas, drawn replica by replica.

    Args:
        draw: takes the replica's own generator, returns a number; NaN where it has none. Numbers are stored as they
            are drawn. `evaluate` raises where it draws nothing and returns the same each time.
        margin: what the numbers are held against.
        name: of the number, for tables; by default the function's.

    Returns:
        the hypothesis.

    Raises:
        ClaimError: `draw` is no function.
        InputError: the margin is not a number.

    >>> sampled(lambda generator: generator.normal(), -0.5, name="a normal number")
    a normal number exceeds -0.5
    """
    if not callable(draw):
        raise ClaimError(f"draw={draw!r} must be a function of a numpy Generator")
    return Sampled(draw, margin, name or getattr(draw, "__name__", "number"))
