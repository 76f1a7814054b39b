import itertools

import numpy as np
import pytest

from lossact.errors import InputError
from lossact.stats import Outcome, compare_steps

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
        (found,) = compare_steps(
            np.array([a % NEVER]), np.array([a != NEVER]), np.array([b % NEVER]), np.array([b != NEVER]),
            budget=BUDGET, ratio=ratio,
        )  # fmt: skip
        said = word_by_every_completion(a, b, ratio)
        if a == b == NEVER and ratio == 1:
            assert found == Outcome.CENSORED
        elif len(said) == 1:
            assert Outcome(found).name.lower() == said.pop(), (a, b)
        else:
            assert found == Outcome.OPEN, (a, b, said)


@pytest.mark.parametrize("ratio", [0, -1, float("nan"), float("inf"), "2"])
def test_bad_ratios_are_named(ratio: object) -> None:
    one = np.ones(1, dtype=int), np.ones(1, dtype=bool)
    with pytest.raises(InputError, match=r"ratio=.* must be > 0; try 2"):
        compare_steps(*one, *one, budget=3, ratio=ratio)  # type: ignore[arg-type]


def test_unequal_lengths_are_named() -> None:
    one, two = (np.ones(n, dtype=int) for n in (1, 2))
    with pytest.raises(InputError, match=r"lengths \[1, 2\]"):
        compare_steps(one, one > 0, two, two > 0, budget=3)
