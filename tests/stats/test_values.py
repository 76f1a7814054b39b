"""Evidence about values: against brute force, exact sums and scipy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossact.errors import InputError
from lossact.stats import Outcome
from lossact.stats.betting import Counts, log_evidence
from lossact.stats.values import (
    compare_trend,
    compare_values,
    differences,
    median_sequence,
    rank_boundary,
    trend_scores,
)

ALPHA = 0.025
NONE = np.zeros(4, dtype=bool)


def flags(*indices: int, n: int = 4) -> np.ndarray:
    marked = np.zeros(n, dtype=bool)
    marked[list(indices)] = True
    return marked


def test_the_boundary_is_the_smallest_count_with_enough_evidence() -> None:
    boundary = rank_boundary(60, alpha=ALPHA)
    for n in range(1, 61):
        enough = [w for w in range(n + 1) if log_evidence(Counts.of(w, 0, n - w), 0.5)[0] >= -math.log(ALPHA)]
        assert boundary[n - 1] == (enough[0] if enough else n + 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.floats(-5, 5), st.just(math.nan), st.just(math.inf)), min_size=1, max_size=60))
def test_median_bounds_equal_sorting_at_every_moment(numbers: list[float]) -> None:
    boundary = rank_boundary(60, alpha=ALPHA)
    sequence = median_sequence(numbers, boundary, alpha=ALPHA)
    low, high = -math.inf, math.inf
    for n in range(1, len(numbers) + 1):
        rank = boundary[n - 1]
        if rank <= n:
            down = sorted((-math.inf if math.isnan(x) else x for x in numbers[:n]), reverse=True)
            up = sorted(math.inf if math.isnan(x) else x for x in numbers[:n])
            low, high = max(low, down[rank - 1]), min(high, up[rank - 1])
        assert (sequence.lows[n - 1], sequence.highs[n - 1]) == (low, high)


def test_median_bounds_miss_no_more_often_than_promised() -> None:
    # By the sign test's own martingale: the lower bound exceeds the median exactly where the evidence on signs crosses.
    boundary = rank_boundary(300, alpha=ALPHA)
    generator = np.random.default_rng(3)
    for _ in range(50):
        numbers = generator.standard_t(2, 300)
        wins = np.cumsum(numbers > 0)
        moments = np.arange(1, 301)
        crossed = log_evidence(Counts.of(wins, 0 * wins, moments - wins), 0.5) >= -math.log(ALPHA)
        assert np.array_equal(
            median_sequence(numbers, boundary, alpha=ALPHA).lows > 0, np.logical_or.accumulate(crossed)
        )


@pytest.mark.parametrize(
    ("a", "b", "diverged_a", "diverged_b", "outcome"),
    [
        (0.92, 0.9, False, False, Outcome.WIN),
        (0.91, 0.9, False, False, Outcome.TIE),  # 0.01 apart, which floats turn into more than 0.01
        (0.9, 0.9, False, False, Outcome.LOSS),
        (0.1, 0.9, False, True, Outcome.WIN),
        (0.99, 0.1, True, False, Outcome.LOSS),
        (0.99, 0.1, True, True, Outcome.UNDETERMINED),
        (math.nan, 0.1, False, False, Outcome.UNDETERMINED),
        (math.nan, 0.1, False, True, Outcome.UNDETERMINED),
        (math.inf, 0.1, True, False, Outcome.LOSS),
        (-math.inf, 0.1, False, False, Outcome.LOSS),
        (0.1, -math.inf, False, False, Outcome.WIN),
        (math.inf, math.inf, False, False, Outcome.UNDETERMINED),
    ],
)
def test_a_replica_says_who_is_higher(a: float, b: float, diverged_a: bool, diverged_b: bool, outcome: Outcome) -> None:
    epsilon = float(np.finfo(np.float32).eps)
    marks = np.array([diverged_a]), np.array([diverged_b])
    assert compare_values([a], [b], *marks, by=0.01, epsilon=epsilon) == outcome
    assert compare_values([-a], [-b], *marks, higher=False, by=0.01, epsilon=epsilon) == outcome


def test_hundredths_apart_are_ties() -> None:
    accuracies = np.arange(1, 100) / 100
    undiverged = np.zeros(98, dtype=bool)
    exact = compare_values(accuracies[1:], accuracies[:-1], undiverged, undiverged, by=0.01)
    assert (exact != Outcome.TIE).sum() > 40  # what floats say without their rounding error
    rounded = compare_values(
        accuracies[1:], accuracies[:-1], undiverged, undiverged, by=0.01, epsilon=float(np.finfo(float).eps)
    )
    assert (rounded == Outcome.TIE).all()


def test_differences_know_who_diverged() -> None:
    computed = differences([1, 2, 3, math.nan], [0, 0, 0, 0], flags(1), flags(2, 3))
    np.testing.assert_array_equal(computed, [1, -math.inf, math.inf, math.nan])


def test_support_for_a_median_implies_its_lower_bound() -> None:
    generator = np.random.default_rng(1)
    boundary = rank_boundary(400, alpha=ALPHA)
    for shift in (0.0, 0.1, 0.5):
        difference = generator.normal(shift, 1, 400)
        wins = np.cumsum(difference > 0)
        evidence = log_evidence(Counts.of(wins, 0 * wins, np.arange(1, 401) - wins), 0.5)
        supported = bool((evidence >= -math.log(ALPHA)).any())
        assert supported == (median_sequence(difference, boundary, alpha=ALPHA).low > 0)


def test_a_trend_counts_pairs_that_rise() -> None:
    values = [np.array([1.0, 3.0, 2.0, math.nan]), np.array([2.0, 2.0, 2.0, 1.0]), np.array([3.0, 1.0, 2.0, 2.0])]
    np.testing.assert_array_equal(trend_scores(values), [3, -3, 0, math.nan])
    assert compare_trend(values).tolist() == [Outcome.WIN, Outcome.LOSS, Outcome.TIE, Outcome.UNDETERMINED]


def test_censored_pairs_make_refutation_harder_and_nothing_else() -> None:
    never = np.array([True])
    assert compare_trend([np.array([9.0]), np.array([9.0])], censored=[never, never]) == Outcome.CENSORED
    falling = [np.array([5.0]), np.array([3.0]), np.array([9.0]), np.array([9.0])]
    censored = [~never, ~never, never, never]
    assert trend_scores(falling)[0] == 3
    assert compare_trend(falling, margin=4, censored=censored) == Outcome.UNDETERMINED
    assert compare_trend(falling, margin=5, censored=censored) == Outcome.LOSS


def test_values_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(InputError, match=r"lengths .* differ"):
        compare_values([1.0], [1.0, 2.0], NONE[:1], NONE[:2])
    with pytest.raises(InputError, match="make no trend"):
        trend_scores([np.zeros(3)])
