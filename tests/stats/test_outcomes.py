import itertools
from fractions import Fraction

import numpy as np
import pytest

from lossact.errors import InputError
from lossact.stats import Outcome, compare_gaps, compare_steps

BUDGET = 3
NEVER = BUDGET + 1


def word_by_every_completion(a: int, b: int, ratio: float) -> set[str]:
    """What the comparison could say if training went on: a censored T may be anything beyond the budget."""
    beyond = [*range(BUDGET + 1, 60), 10**9]
    said = set()
    for t_a, t_b in itertools.product(beyond if a == NEVER else [a], beyond if b == NEVER else [b]):
        said.add("win" if ratio * t_a < t_b else "loss" if ratio * t_a > t_b else "tie")
    return said


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.5, 2.0, 3.0])
def test_an_outcome_is_said_only_where_every_completion_agrees(ratio: float) -> None:
    for a, b in itertools.product(range(NEVER + 1), repeat=2):
        (outcome,) = compare_steps(
            np.array([a % NEVER]), np.array([a != NEVER]), np.array([b % NEVER]), np.array([b != NEVER]),
            budget=BUDGET, ratio=ratio,
        )  # fmt: skip
        said = word_by_every_completion(a, b, ratio)
        if a == b == NEVER and ratio == 1:
            assert outcome == Outcome.CENSORED
        elif len(said) == 1:
            assert Outcome(outcome).name.lower() == said.pop(), (a, b)
        else:
            assert outcome == Outcome.UNDETERMINED, (a, b, said)


@pytest.mark.parametrize("ratio", [0, -1, float("nan"), float("inf"), "2"])
def test_bad_ratios_are_named(ratio: object) -> None:
    replica = np.ones(1, dtype=int), np.ones(1, dtype=bool)
    with pytest.raises(InputError, match=r"ratio=.* must be > 0; try 2"):
        compare_steps(*replica, *replica, budget=3, ratio=ratio)  # type: ignore[arg-type]


def test_unequal_lengths_are_named() -> None:
    single, pair = (np.ones(n, dtype=int) for n in (1, 2))
    with pytest.raises(InputError, match=r"lengths \[1, 2\]"):
        compare_steps(single, single > 0, pair, pair > 0, budget=3)


@pytest.mark.parametrize("ratio", [1.1, 1.2, 0.7, 2.5])
def test_ratios_are_the_decimals_that_are_written(ratio: float) -> None:
    """Every exact tie is one, against rational arithmetic; floats make losses of almost half of them at 1.1."""
    steps = np.arange(1, 400)
    pairs = [(a, b) for a in steps for b in [Fraction(str(ratio)) * int(a)] if b.denominator == 1]
    a, b = (np.array([int(pair[k]) for pair in pairs]) for k in (0, 1))
    every = np.ones(len(a), bool)
    outcomes = compare_steps(a, every, b, every, budget=1000, ratio=ratio)
    assert (outcomes == Outcome.TIE).all()
    assert len(a) > 30


def test_a_ratio_of_many_digits_is_exact_beyond_64_bits() -> None:
    a, b = np.array([10**6, 10**6]), np.array([1047128, 1047129])
    every = np.ones(2, bool)
    outcomes = compare_steps(a, every, b, every, budget=2 * 10**6, ratio=1.0471285480508996)
    assert outcomes.tolist() == [Outcome.LOSS, Outcome.WIN]


def growth_by_every_completion(times: tuple[int, ...]) -> set[str]:
    """What D could be if training went on: a censored T may be anything beyond the budget."""
    beyond = [*range(BUDGET + 1, 30), 10**9]
    said = set()
    for s1, l1, s2, l2 in itertools.product(*([*beyond[:3], 10**9] if t == NEVER else [t] for t in times)):
        growth = (l2 - s2) - (l1 - s1)
        said.add("win" if growth > 0 else "loss" if growth < 0 else "tie")
    return said


def test_a_gap_is_said_to_grow_only_where_every_completion_agrees() -> None:
    for times in itertools.product(range(NEVER + 1), repeat=4):
        steps = np.array([[t % NEVER] for t in times])
        (outcome,) = compare_gaps(steps, np.array([[t != NEVER] for t in times]), budget=BUDGET)
        said = growth_by_every_completion(times)
        if len(said) == 1:
            assert Outcome(outcome).name.lower() == said.pop(), times
        else:
            assert outcome == Outcome.UNDETERMINED, (times, said)
