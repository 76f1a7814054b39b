"""How often families of ten conditions end in a false verdict, by the comparisons and the evidence that decide them."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from lossact.against import Settings
from lossact.against.deciding import MeasureDecider
from lossact.stats.replay import Replay
from lossact.storage import Trials
from tests.against.sides import ACCURACY, pair, trials

CONDITIONS, ALPHA, LIMIT, SPREAD = 10, 0.025, 256, 0.05
OF = pair(values={"accuracy": ACCURACY})
FAMILIES = pytest.mark.parametrize("families", [40, pytest.param(1000, marks=pytest.mark.slow)])


def sides(random: np.random.Generator, shift: float) -> tuple[Trials, Trials]:
    """Two sides that are independent; `shift` is added to the accuracy of the later one."""
    noise, steps = random.normal(0, SPREAD, (2, LIMIT)), random.integers(10, 50, (2, LIMIT))
    return trials(steps[0], accuracy=0.7 + noise[0]), trials(steps[1], accuracy=0.7 + noise[1] + shift)


def decider(measure: str, settings: Settings) -> MeasureDecider:
    return MeasureDecider(OF, measure, settings, alpha=ALPHA / CONDITIONS, limit=LIMIT)


def verdict(measure: str, before: Trials, after: Trials, settings: Settings) -> str:
    """The first crossing alone, which needs no bounds."""
    of = decider(measure, settings)
    replay = Replay(of.evidence, alpha=ALPHA / CONDITIONS, with_bounds=False)
    replay.extend([comparison.outcomes for comparison in of.comparisons(before, after)])
    return {"supported": "equivalent", "refuted": "different", "inconclusive": "not yet"}[replay.verdict]


def families_with(families: int, measure: str, shift: float, settings: Settings) -> dict[str, int]:
    """In how many families each verdict stands at least once."""
    random = np.random.default_rng(20)
    verdicts_by_family = [
        {verdict(measure, *sides(random, shift), settings) for _ in range(CONDITIONS)} for _ in range(families)
    ]  # fmt: skip
    return {each: sum(each in verdicts for verdicts in verdicts_by_family) for each in ("equivalent", "different")}


def most_by_chance(families: int) -> float:
    return float(binom.ppf(0.999, families, ALPHA))


@FAMILIES
def test_nothing_changed_and_nothing_is_shown_worse_or_better(families: int) -> None:
    found = families_with(families, "steps", 0.0, Settings())
    assert found["different"] <= most_by_chance(families)


@FAMILIES
def test_at_the_margin_neither_verdict_is_shown_more_often_than_alpha(families: int) -> None:
    found = families_with(families, "accuracy", 0.01, Settings(within={"accuracy": 0.01}))
    assert found["equivalent"] <= most_by_chance(families)
    assert found["different"] <= most_by_chance(families)


@FAMILIES
def test_at_delta_neither_verdict_is_shown_more_often_than_alpha(families: int) -> None:
    shift = float(SPREAD * np.sqrt(2) * norm.ppf(0.6))  # P(after > before) = 0.6
    found = families_with(families, "accuracy", shift, Settings())
    assert found["equivalent"] <= most_by_chance(families)
    assert found["different"] <= most_by_chance(families)


@pytest.mark.parametrize(("shift", "expected"), [(0.0, "not yet"), (0.06, "better"), (-0.06, "worse")])
def test_the_first_crossing_alone_is_what_decide_says(shift: float, expected: str) -> None:
    before, after = sides(np.random.default_rng(1), shift)
    result, _ = decider("accuracy", Settings()).decide(before, after)
    assert result.verdict == expected
    assert verdict("accuracy", before, after, Settings()) in {expected, "different"}
