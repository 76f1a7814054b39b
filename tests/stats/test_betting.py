import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossact.stats.betting import MIXTURE, Bets, Counts, LowerBound, log_evidence, lower_bound, upper_bound

COUNTS = st.tuples(st.integers(0, 60), st.integers(0, 30), st.integers(0, 60))


def evidence_by_exact_products(w: int, t: int, l: int, mean: Fraction) -> float:  # noqa: E741
    """The formula of STATISTICS with rational arithmetic, factor by factor."""
    total = Fraction(0)
    for bet, weight in zip(
        *(map(Fraction, values.tolist()) for values in (MIXTURE.sizes, MIXTURE.weights)), strict=True
    ):
        product = weight
        for count, value in ((w, Fraction(1)), (t, Fraction(1, 2)), (l, Fraction(0))):
            product *= (1 + bet * (value - mean) / mean) ** count
        total += product
    return math.log(total)


@given(COUNTS, st.sampled_from([Fraction(2, 5), Fraction(1, 2), Fraction(3, 10), Fraction(9, 10)]))
@settings(max_examples=40, deadline=None)
def test_evidence_equals_exact_products(counts: tuple[int, int, int], mean: Fraction) -> None:
    log_e_value = log_evidence(Counts.of(*counts), float(mean))[0]
    assert log_e_value == pytest.approx(evidence_by_exact_products(*counts, mean), rel=1e-9, abs=1e-9)


@given(COUNTS, st.floats(0.02, 0.97), st.floats(1.001, 1.5))
def test_evidence_falls_with_the_mean(counts: tuple[int, int, int], mean: float, factor: float) -> None:
    higher = min(0.99, mean * factor)
    at = [log_evidence(Counts.of(*counts), m)[0] for m in (mean, higher)]
    assert at[1] <= at[0] + 1e-12


@given(st.floats(0.05, 0.95), st.floats(0, 1))
def test_a_factor_has_mean_one_at_the_null(mean: float, tie_share: float) -> None:
    """E[factor] = 1 for every W with that mean, ties included: the martingale property itself."""
    tie = tie_share * 2 * min(mean, 1 - mean)
    win = mean - tie / 2
    factors = [np.exp(log_evidence(Counts.of(*counts), mean)[0]) for counts in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert win * factors[0] + tie * factors[1] + (1 - win - tie) * factors[2] == pytest.approx(1, abs=1e-12)


@given(COUNTS.filter(lambda c: c[0] + c[1] > 0), st.floats(0.001, 0.2))
def test_the_lower_bound_is_where_evidence_equals_one_over_alpha(counts: tuple[int, int, int], alpha: float) -> None:
    bound = lower_bound([Counts.of(*counts)], alpha)
    if bound == 0:
        assert log_evidence(Counts.of(*counts), 1e-9)[0] <= -math.log(alpha)
    else:
        assert log_evidence(Counts.of(*counts), bound)[0] == pytest.approx(-math.log(alpha), abs=1e-6)


@given(COUNTS)
def test_bounds_mirror_each_other_and_hold_the_share(counts: tuple[int, int, int]) -> None:
    w, t, l = counts  # noqa: E741
    low = lower_bound([Counts.of(w, t, l)], 0.025)
    high = upper_bound([Counts.of(l, t, w)], 0.025)
    assert high == pytest.approx(1 - low, abs=1e-9)
    if w + t + l:
        assert low <= (w + t / 2) / (w + t + l) + 1e-12


def test_many_moments_give_the_greatest_bound() -> None:
    rng = np.random.default_rng(0)
    wins = np.cumsum(rng.random(300) < 0.6)
    moments = np.arange(1, 301)
    every = Counts.of(wins, 0 * wins, moments - wins)
    each = [lower_bound([Counts.of(w, 0, n - w)], 0.025) for w, n in zip(wins, moments, strict=True)]
    assert lower_bound([every], 0.025) == pytest.approx(max(each), abs=1e-9)


def test_several_alternatives_bound_the_smallest_mean() -> None:
    """The upper bound lies between that of the best pair alone and that at alpha / pairs (Bonferroni)."""
    pairs = [Counts.of(10, 0, 40), Counts.of(25, 5, 20), Counts.of(40, 0, 10)]
    joint = upper_bound(pairs, 0.025)
    best = min(upper_bound([pair], 0.025) for pair in pairs)
    bonferroni = min(upper_bound([pair], 0.025 / 3) for pair in pairs)
    assert best <= joint <= bonferroni


def test_bounds_that_are_carried_equal_those_of_all_moments_at_once() -> None:
    rng = np.random.default_rng(1)
    wins = np.cumsum(rng.random(3000) < 0.7)
    moments = np.arange(1, 3001)
    every = Counts.of(wins, 0 * wins, moments - wins)
    carried = LowerBound(0.025)
    for start, stop in ((0, 16), (16, 17), (17, 500), (500, 3000)):
        carried.update([every[start:stop]])
    assert carried.value == pytest.approx(lower_bound([every], 0.025), abs=1e-10)


def test_bets_of_a_mixture_sum_to_one() -> None:
    assert MIXTURE.weights.sum() == pytest.approx(1)
    assert len(MIXTURE.sizes) == 80
    assert Bets.log_uniform((0.1, 0.9, 3, 1.0)).sizes == pytest.approx([0.1, 0.3, 0.9])


def test_intervals_go_on_shrinking() -> None:
    """Near 1 as elsewhere: ten times the replicas make an interval about three times as narrow."""
    for theta in (0.6, 0.97):
        widths = [
            upper_bound(counts, 0.025) - lower_bound(counts, 0.025)
            for n in (2048, 20480)
            for counts in [[Counts.of(round(theta * n), 0, n - round(theta * n))]]
        ]
        assert widths[1] < 0.4 * widths[0]
