"""Steps to a target where runs were recorded at different steps, against every step that was possible."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from lossact.stats.margins import Margins
from lossact.stats.outcomes import Outcome
from lossact.stats.recorded import (
    RecordedSteps,
    StepSamples,
    compare_pairs,
    compare_recorded_steps,
    decide_unpaired,
    on_one_grid,
    scores,
)

Grid = Sequence[int]
LARGE = 10**16  # times 60, it still fits into 64 bits


def recorded(times: Sequence[int], grids: Sequence[Grid]) -> RecordedSteps:
    """What is known of runs that met their target at `times`, each recorded at the steps of its grid."""
    steps, before, reached = [], [], []
    for time, grid in zip(times, grids, strict=True):
        after = [step for step in grid if step >= time]
        reached.append(bool(after))
        steps.append(after[0] if after else 0)
        before.append(max((step for step in grid if step < time), default=-1))
    return RecordedSteps(
        np.array(steps),
        np.array(reached),
        np.array([grid[-1] for grid in grids]),
        np.array(before),
        [np.array(grid) for grid in grids],
    )


def interval(runs: RecordedSteps, k: int) -> tuple[int, int]:
    """The first and the last step at which a run may have met its target; one that did not, 1000 at the latest."""
    if not runs.reached[k]:
        return int(runs.ends[k]) + 1, 1000
    return int(runs.before[k]) + 1, int(runs.steps[k])


def expected_outcome(a: tuple[int, int], b: tuple[int, int], ratio: Fraction) -> Outcome:
    """By trying every possible pair of times; equal intervals are a tie."""
    if a == b:
        return Outcome.TIE
    times = [(ratio * x, y) for x in range(a[0], a[1] + 1) for y in range(b[0], b[1] + 1)]
    if all(x < y for x, y in times):
        return Outcome.WIN
    return Outcome.LOSS if all(x > y for x, y in times) else Outcome.UNDETERMINED


def some_runs(rng: np.random.Generator, n: int) -> RecordedSteps:
    grids = [sorted(rng.choice(60, size=rng.integers(3, 12), replace=False).tolist()) for _ in range(n)]
    return recorded(rng.integers(0, 60, n).tolist(), grids)


@pytest.mark.parametrize("ratio", [1, 2])
def test_a_pair_is_decided_where_every_possible_time_decides_it(ratio: int) -> None:
    rng = np.random.default_rng(ratio)
    first, second = some_runs(rng, 25), some_runs(rng, 25)
    outcomes = compare_recorded_steps(first, second, ratio=ratio)
    seen = set()
    for i, j in np.ndindex(outcomes.shape):
        a, b = interval(first, i), interval(second, j)
        both = first.reached[i] and second.reached[j]
        if not both and (a == b or first.reached[i] != second.reached[j]):
            continue  # the ends of runs, which other tests are about
        if ratio != 1 and both and a[1] - a[0] == b[1] - b[0]:
            continue  # of one length: as on one grid
        expected = expected_outcome(a, b, Fraction(ratio)) if both else Outcome.UNDETERMINED
        assert outcomes[i, j] == expected, (a, b)
        seen.add(expected)
    assert seen >= {Outcome.WIN, Outcome.LOSS, Outcome.UNDETERMINED}
    paired = compare_recorded_steps(first, second, ratio=ratio, paired=True)
    np.testing.assert_array_equal(paired, np.diagonal(outcomes))


@pytest.mark.parametrize("ratio", [0.5, 1, 2])
def test_on_one_grid_the_recorded_steps_are_compared(ratio: float) -> None:
    """Also where the grid is uneven, and runs end at steps of their own."""
    rng = np.random.default_rng(3)
    grid = [0, 1, 2, 4, 8, 16, 24, 32, 64, 128]
    times = rng.integers(0, 129, (2, 12))
    until_met = [[[*(s for s in grid if s < t), min(s for s in grid if s >= t)] for t in each] for each in times]
    first, second = (recorded(each.tolist(), grids) for each, grids in zip(times, until_met, strict=True))
    assert on_one_grid(first, second)
    expected = np.sign(second.steps[None, :] - ratio * first.steps[:, None]) + 1
    np.testing.assert_array_equal(compare_recorded_steps(first, second, ratio=ratio), expected)
    for ours, theirs in zip(scores(first, second), (first, second), strict=True):
        np.testing.assert_array_equal(ours, -theirs.steps)


@pytest.mark.parametrize("ratio", [1, 1.2, 1.234567, 3.14159265, 1e19, 1e-9])
def test_the_unit_of_steps_decides_nothing(ratio: float) -> None:
    """Compare steps of billions of billions, as of floating-point operations, with small ones."""
    rng = np.random.default_rng(5)
    first, second = some_runs(rng, 12), some_runs(rng, 12)
    large_first, large_second = (
        replace(
            runs, steps=runs.steps * LARGE, ends=(runs.ends + 1) * LARGE - 1,
            before=(runs.before + 1) * LARGE - 1, grids=[grid * LARGE for grid in runs.grids],
        )
        for runs in (first, second)
    )  # fmt: skip
    small = compare_recorded_steps(first, second, ratio=ratio)
    np.testing.assert_array_equal(compare_recorded_steps(large_first, large_second, ratio=ratio), small)
    assert len(set(small.flat)) > 1
    for ours, theirs in zip(
        scores(large_first, large_second, ratio=ratio), scores(first, second, ratio=ratio), strict=True
    ):
        np.testing.assert_array_equal(np.argsort(ours, kind="stable"), np.argsort(theirs, kind="stable"))


def test_scores_win_no_pair_that_is_not_won() -> None:
    rng = np.random.default_rng(4)
    first, second = some_runs(rng, 30), some_runs(rng, 30)
    outcomes = compare_recorded_steps(first, second)
    a, b = scores(first, second)
    won = a[:, None] > b[None, :]
    assert (outcomes == Outcome.UNDETERMINED).any()
    np.testing.assert_array_equal(won, outcomes == Outcome.WIN)
    tied = (a[:, None] == b[None, :]) & first.reached[:, None] & second.reached
    assert (outcomes[tied] == Outcome.TIE).all()


def supported(times: NDArray[np.int64], spacings: tuple[int, int]) -> bool:
    grids = [range(0, 1001, spacing) for spacing in spacings]
    first, second = (recorded(each.tolist(), [grid] * len(each)) for each, grid in zip(times, grids, strict=True))
    outcomes = compare_recorded_steps(first, second)
    decision = decide_unpaired(outcomes, *scores(first, second), alpha=0.025, margins=Margins.of_wins(0.1))
    return decision.verdict == "supported"


def test_a_coarse_log_makes_no_condition_slower() -> None:
    """Both conditions have the same times; only the log of the second is coarse."""
    rng = np.random.default_rng(5)
    for times in rng.integers(400, 601, (40, 1, 10)):
        assert not supported(np.repeat(times, 2, axis=0), (10, 100))
    apart = np.array([rng.integers(100, 201, 10), rng.integers(400, 601, 10)])
    assert supported(apart, (10, 100))
    assert supported(apart, (100, 10))


@pytest.mark.parametrize("paired", [False, True])
def test_an_advantage_between_records_holds_every_possible_one(paired: bool) -> None:
    rng = np.random.default_rng(6)
    times = np.array([rng.integers(400, 601, 10), rng.integers(450, 651, 10)])
    grids = [range(0, 1001, 10), range(0, 1001, 125)]
    steps = [recorded(each.tolist(), [grid] * 10) for each, grid in zip(times, grids, strict=True)]
    shift = StepSamples(["a", "b"], paired, steps).advantage(0, 1, alpha=0.025)
    exact = [recorded(each.tolist(), [range(1001)] * 10) for each in times]
    known = StepSamples(["a", "b"], paired, exact).advantage(0, 1, alpha=0.025)
    assert shift is not None
    assert known is not None
    assert shift.low <= known.low <= known.high <= shift.high
    assert shift.low <= shift.value <= shift.high


def test_an_advantage_has_the_sign_of_the_probability() -> None:
    rng = np.random.default_rng(7)
    grids = [range(0, 1001, 10), range(0, 1001, 100)]
    for times in rng.integers(400, 601, (50, 2, 10)):
        steps = [recorded(each.tolist(), [grid] * 10) for each, grid in zip(times, grids, strict=True)]
        (result,) = compare_pairs(StepSamples(["a", "b"], False, steps), [(0, 1)], alpha=0.025)
        assert result.advantage is not None
        assert result.advantage.value >= 0
        assert result.advantage.low <= result.advantage.value <= result.advantage.high
