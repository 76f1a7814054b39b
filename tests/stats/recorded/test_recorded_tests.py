"""The exact tests against scipy and against enumeration."""

import itertools
import math
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from lossact.errors import InputError
from lossact.stats.margins import Margins
from lossact.stats.recorded import (
    OutcomeCounts,
    decide_at_most,
    decide_larger,
    decide_paired,
    decide_share,
    median_interval,
    rank_sum_p,
    runs_needed,
    student_t,
)
from lossact.stats.recorded.binomial import clopper_pearson, lower_tail, upper_tail
from lossact.stats.recorded.planning import runs_to_decide
from lossact.stats.recorded.ranks import is_countable, smallest_p, untied_lower_half, untied_p

ALPHA = 0.025
WINS = Margins.of_wins(0.1)
SIZES = [(1, 1), (3, 3), (4, 8), (8, 4), (5, 30), (30, 20), (40, 60)]


@pytest.mark.parametrize(("n_first", "n_second"), SIZES)
def test_rank_sum_without_ties_is_scipys_exact_mann_whitney(n_first: int, n_second: int) -> None:
    rng = np.random.default_rng(n_first)
    for _ in range(10):
        first, second = rng.normal(0.4, 1, n_first), rng.normal(0, 1, n_second)
        expected = stats.mannwhitneyu(first, second, alternative="greater", method="exact").pvalue
        assert rank_sum_p(first, second) == pytest.approx(expected, rel=1e-12)


def p_by_enumeration(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """P(sum of midranks >= observed) over all splits, one by one."""
    doubled = np.rint(2 * stats.rankdata(np.concatenate([first, second]))).astype(int)
    observed = doubled[: len(first)].sum()
    sums = [sum(doubled[list(members)]) for members in combinations(range(len(doubled)), len(first))]
    return float(np.mean([each >= observed for each in sums]))


@pytest.mark.parametrize("n_values", [2, 3, 6])
@pytest.mark.parametrize(("n_first", "n_second"), [(3, 4), (4, 3), (5, 5), (2, 8), (8, 2)])
def test_rank_sum_with_ties_counts_all_splits(n_first: int, n_second: int, n_values: int) -> None:
    rng = np.random.default_rng(n_values)
    for _ in range(10):
        first = rng.integers(0, n_values, n_first).astype(float)
        second = rng.integers(0, n_values, n_second).astype(float)
        assert rank_sum_p(first, second) == pytest.approx(p_by_enumeration(first, second), rel=1e-13)


def test_scipys_exact_method_is_wrong_under_ties_and_ours_is_not() -> None:
    """Without this, the two tests above would accept a method that ignores ties."""
    first, second = np.array([1.0, 1, 2, 3]), np.array([0.0, 0, 1, 1])
    ignoring = stats.mannwhitneyu(first, second, alternative="greater", method="exact").pvalue
    assert rank_sum_p(first, second) == pytest.approx(p_by_enumeration(first, second), rel=1e-13)
    assert rank_sum_p(first, second) != pytest.approx(ignoring, rel=0.05)


def test_equal_values_have_p_one() -> None:
    assert rank_sum_p(np.ones(5), np.ones(7)) == 1
    assert smallest_p((12,), 5) == 1


@pytest.mark.parametrize(("n_first", "n_second"), [(150, 150), (12, 3000)])
def test_many_runs_have_the_exact_test_too(n_first: int, n_second: int) -> None:
    """Compare with scipy's exact test, beyond the sizes that are counted with ties."""
    assert not is_countable((1,) * (n_first + n_second), n_first)
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.3, 1, n_first), rng.normal(0, 1, n_second)
    decision = decide_larger(first, second, alpha=ALPHA)
    exact = stats.mannwhitneyu(first, second, alternative="greater", method="exact").pvalue
    assert decision.is_exact
    assert decision.p_support == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("n_first", "n_second"), [(1, 1), (3, 7), (9, 4), (60, 80)])
def test_the_distribution_without_ties_is_that_of_its_recurrence(n_first: int, n_second: int) -> None:
    """Compare with Mann and Whitney's recurrence in whole numbers, to the smallest probabilities."""
    ways = {(0, n): [1] for n in range(n_second + 1)} | {(n, 0): [1] for n in range(n_first + 1)}
    for a in range(1, n_first + 1):
        for b in range(1, n_second + 1):
            row = [0] * (a * b + 1)
            for u, count in enumerate(ways[a - 1, b]):  # the largest value is of the first set: it wins b pairs
                row[u + b] += count
            for u, count in enumerate(ways[a, b - 1]):
                row[u] += count
            ways[a, b] = row
    total = math.comb(n_first + n_second, n_first)
    expected = [count / total for count in itertools.accumulate(ways[n_first, n_second])]
    lower = untied_lower_half(n_first, n_second)
    np.testing.assert_allclose(lower, expected[: len(lower)], rtol=1e-12)
    at_least = [untied_p(n_first, n_second, u) for u in range(n_first * n_second + 1)]
    np.testing.assert_allclose(at_least, expected[::-1], rtol=1e-12)


def test_many_runs_with_ties_count_ties_as_lost() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.3, 1, 200).round(2), rng.normal(0, 1, 200).round(2)
    decision = decide_larger(first, second, alpha=ALPHA)
    assert decision.ties > 0
    assert not decision.is_exact
    assert decision.p_support == untied_p(200, 200, (first[:, None] > second).sum())
    half = stats.mannwhitneyu(first, second, alternative="greater", method="asymptotic").pvalue
    assert half < decision.p_support < 1.5 * half


def test_more_runs_than_can_be_counted_have_a_bound() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.5, 1, 401), rng.normal(0, 1, 401)
    decision = decide_larger(first, second, alpha=ALPHA)
    assert decision.verdict == "supported"
    assert not decision.is_exact
    assert decision.p_support > stats.mannwhitneyu(first, second, alternative="greater").pvalue


@pytest.mark.parametrize("n", [1, 2, 7, 30, 400])
@pytest.mark.parametrize("probability", [0.4, 0.5, 0.6, 0.95])
def test_binomial_tails_are_scipys(n: int, probability: float) -> None:
    for count in range(0, n + 1, max(1, n // 7)):
        for tail, alternative in ((upper_tail, "greater"), (lower_tail, "less")):
            expected = stats.binomtest(count, n, probability, alternative=alternative).pvalue
            assert tail(count, n, probability) == pytest.approx(expected, rel=1e-11, abs=1e-300)


@pytest.mark.parametrize(("count", "n"), [(0, 5), (5, 5), (3, 10), (199, 400)])
def test_clopper_pearson_is_scipys(count: int, n: int) -> None:
    expected = stats.binomtest(count, n).proportion_ci(1 - 2 * ALPHA, method="exact")
    assert clopper_pearson(count, count, n, alpha=ALPHA) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_student_t_is_scipys() -> None:
    values = np.random.default_rng(0).normal(3.281, 0.0013, 12)
    below = stats.ttest_1samp(values, 3.28, alternative="less")
    ours = student_t(values, 3.28, alpha=ALPHA)
    assert (ours.t, ours.p_below) == pytest.approx((below.statistic, below.pvalue), rel=1e-12)
    assert ours.p_above == pytest.approx(stats.ttest_1samp(values, 3.28, alternative="greater").pvalue, rel=1e-12)
    interval = stats.ttest_1samp(values, 3.28).confidence_interval(1 - 2 * ALPHA)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), rel=1e-12)


@pytest.mark.parametrize("values", [np.ones(5), np.ones(1)])
def test_student_t_needs_a_spread(values: NDArray[np.float64]) -> None:
    with pytest.raises(InputError, match="use the sign test"):
        student_t(values, 0.0, alpha=ALPHA)


def test_median_interval_is_scipys_quantile_test_inverted() -> None:
    rng = np.random.default_rng(1)
    for n in (6, 9, 20, 31):
        values = np.sort(rng.normal(size=n))
        low, high = median_interval(values, alpha=ALPHA)
        expected = stats.quantile_test(values, q=0, p=0.5).confidence_interval(1 - 2 * ALPHA)
        assert (low, high) == (expected.low, expected.high)


@pytest.mark.parametrize("delta", [0.05, 0.1, 0.2])
def test_paired_rules_are_those_of_the_specification(delta: float) -> None:
    margins = Margins.of_wins(delta)
    for wins, ties, losses in product(range(0, 13, 2), range(0, 7, 3), range(0, 13, 3)):
        if wins + ties + losses == 0:
            continue
        decision = decide_paired(OutcomeCounts(wins, ties, losses), alpha=ALPHA, margins=margins)
        n = wins + ties + losses
        supported = stats.binom.sf(wins - 1, wins + losses, 0.5) <= ALPHA if wins + losses else False
        refuted = stats.binom.cdf(wins + ties, n, 0.5 + delta) <= ALPHA
        expected = "supported" if supported else "refuted" if refuted else "inconclusive"
        assert decision.verdict == expected, (wins, ties, losses)
        assert decision.low <= decision.value <= decision.high
        if supported:
            assert decision.low > 0.5
        if refuted:
            assert decision.high < 0.5 + delta


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        (OutcomeCounts(5, 0, 0), "inconclusive"),
        (OutcomeCounts(6, 0, 0), "supported"),
        (OutcomeCounts(0, 0, 4), "inconclusive"),
        (OutcomeCounts(0, 0, 5), "refuted"),
        (OutcomeCounts(6, 0, 0, undetermined=1), "inconclusive"),
        (OutcomeCounts(0, 0, 0, censored=60), "inconclusive"),
        (OutcomeCounts(0, 0, 5, undetermined=3), "inconclusive"),
    ],
)
def test_fewest_pairs_that_decide(counts: OutcomeCounts, verdict: str) -> None:
    assert decide_paired(counts, alpha=ALPHA, margins=WINS).verdict == verdict


@pytest.mark.parametrize(("n_first", "n_second"), [(4, 4), (3, 5), (2, 8), (5, 3)])
def test_fewest_unpaired_runs_that_decide(n_first: int, n_second: int) -> None:
    def best(n_first: int, n_second: int) -> str:
        first, second = np.linspace(100, 101, n_first), np.linspace(0, 1, n_second)
        return decide_larger(first, second, alpha=ALPHA).verdict

    assert math.comb(n_first + n_second, n_first) >= 1 / ALPHA
    assert best(n_first, n_second) == "supported"
    assert best(n_first, n_second - 1) == "inconclusive"


def test_runs_needed_can_decide_and_fewer_cannot() -> None:
    for alpha in (0.025, 0.025 / 45, 0.001):
        pairs, runs = runs_needed(alpha)
        assert 0.5**pairs <= alpha < 0.5 ** (pairs - 1)
        assert math.comb(2 * runs, runs) >= 1 / alpha > math.comb(2 * runs - 2, runs - 1)


def test_at_most_counts_runs_at_the_constant_as_below() -> None:
    values = np.array([3.28] * 3 + [3.27] * 3)
    assert decide_at_most(values, 3.28, alpha=ALPHA).verdict == "supported"
    assert decide_at_most(values, 3.27, alpha=ALPHA).verdict == "inconclusive"
    assert decide_at_most(np.full(5, 3.3), 3.28, alpha=ALPHA).verdict == "refuted"


def test_undetermined_runs_count_against_either_verdict() -> None:
    assert decide_share(40, 0, 40, alpha=ALPHA, support=0.9, refute=0.95).verdict == "supported"
    assert decide_share(40, 8, 48, alpha=ALPHA, support=0.9, refute=0.95).verdict == "inconclusive"
    assert decide_share(20, 0, 40, alpha=ALPHA, support=0.9, refute=0.95).verdict == "refuted"
    assert decide_share(20, 20, 40, alpha=ALPHA, support=0.9, refute=0.95).verdict == "inconclusive"


def simulated_power(n: int, theta: float) -> float:
    """The share of 200 tables of n and n runs, the first better with probability theta, that are decided."""
    rng, shift = np.random.default_rng(0), math.sqrt(2) * float(stats.norm.ppf(theta))
    pairs = [(rng.normal(shift, 1, n), rng.normal(0, 1, n)) for _ in range(200)]
    return float(np.mean([decide_larger(a, b, alpha=ALPHA).verdict == "supported" for a, b in pairs]))


@pytest.mark.parametrize("theta", [0.7, 0.6, 0.57])
def test_a_plan_has_the_power_that_it_promises(theta: float) -> None:
    """Where the exact test decides, and where the bound would: it promises 0.8, by an approximation."""
    decision = decide_larger(np.arange(50.0), np.arange(50.0) - 20, alpha=ALPHA)
    n = runs_to_decide(replace(decision, value=theta), alpha=ALPHA)
    assert n is not None
    assert 0.7 < simulated_power(n, theta) < 0.95


def test_a_plan_beyond_what_can_be_counted_is_that_of_the_bound() -> None:
    decision = decide_larger(np.arange(50.0), np.arange(50.0) - 20, alpha=ALPHA)
    assert runs_to_decide(replace(decision, value=0.553), alpha=ALPHA) is None  # Noether's 467 cannot be counted
    assert runs_to_decide(replace(decision, value=0.56), alpha=ALPHA) == 364
