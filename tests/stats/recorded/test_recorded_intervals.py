"""Intervals: against plain inversions of their tests, and how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from lossact.stats.margins import Margins
from lossact.stats.outcomes import Outcome
from lossact.stats.recorded import (
    OutcomeCounts,
    decide_equal,
    decide_extendable,
    decide_larger,
    decide_unpaired,
    hodges_lehmann,
    outcomes_of_values,
    unlike,
)
from lossact.stats.recorded.extendable import log_evidence_path
from lossact.stats.recorded.hoeffding import lower_bound, upper_bound

ALPHA = 0.025


@pytest.mark.parametrize("n", [3, 8, 30])
@pytest.mark.parametrize("mean", [0.0, 0.2, 0.5, 0.975, 1.0])
def test_hoeffdings_bounds_solve_their_equation(mean: float, n: int) -> None:
    def entropy(theta: float) -> float:
        return float(stats.entropy([mean, 1 - mean], [theta, 1 - theta]))

    low, high = lower_bound(mean, n, alpha=ALPHA), upper_bound(mean, n, alpha=ALPHA)
    assert low <= mean <= high
    if mean > 0:
        assert n * entropy(low) == pytest.approx(math.log(1 / ALPHA), rel=1e-6)
    if mean < 1 and high < 1 - 1e-9:  # closer to 1 a float does not hold the bound's distance from it
        assert n * entropy(high) == pytest.approx(math.log(1 / ALPHA), rel=1e-6)


@pytest.mark.parametrize(("n_first", "n_second"), [(4, 4), (5, 5), (10, 8), (3, 12)])
def test_shift_interval_inverts_the_rank_test(n_first: int, n_second: int) -> None:
    """The bounds are the shifts at which scipy's exact test stops rejecting."""
    rng = np.random.default_rng(n_first)
    first, second = rng.normal(1, 1, n_first), rng.normal(0, 1, n_second)
    shift = hodges_lehmann(first, second, alpha=ALPHA)

    def rejects(by: float, alternative: str) -> bool:
        p = stats.mannwhitneyu(first - by, second, alternative=alternative, method="exact").pvalue
        return bool(p <= ALPHA)

    if math.isinf(shift.low):
        assert not rejects(-100, "greater")
    else:
        assert rejects(shift.low - 1e-9, "greater")
        assert not rejects(shift.low + 1e-9, "greater")
        assert rejects(shift.high + 1e-9, "less")
        assert not rejects(shift.high - 1e-9, "less")
    assert shift.value == pytest.approx(np.median(np.subtract.outer(first, second)))


def test_interval_never_contradicts_its_verdict() -> None:
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(400):
        n_first, n_second = rng.integers(2, 25, 2)
        first = rng.normal(rng.normal(), 1, n_first).round(1)
        second = rng.normal(0, rng.uniform(0.3, 3), n_second).round(1)
        decision = decide_larger(first, second, alpha=ALPHA)
        seen.add(decision.verdict)
        assert decision.low <= decision.value <= decision.high
        assert (decision.low >= 0.5) == (decision.verdict == "supported")
        assert decision.verdict != "refuted" or decision.high < 0.6
    assert seen == {"supported", "refuted", "inconclusive"}


@pytest.mark.parametrize("sizes", [(4, 4), (5, 20), (12, 9)])
def test_rank_test_and_intervals_keep_their_level(sizes: tuple[int, int]) -> None:
    """Equal four-level values: the worst case of ties; counts are held against their binomial bound."""
    rng = np.random.default_rng(3)
    n, supported, missed = 400, 0, 0
    for _ in range(n):
        first, second = (rng.integers(0, 4, size).astype(float) for size in sizes)
        decision = decide_larger(first, second, alpha=ALPHA)
        supported += decision.verdict == "supported"
        shift = hodges_lehmann(first, second, alpha=ALPHA)
        missed += not shift.low <= 0 <= shift.high
    assert stats.binomtest(supported, n, ALPHA, alternative="greater").pvalue > 1e-3
    assert stats.binomtest(missed, n, 2 * ALPHA, alternative="greater").pvalue > 1e-3


def test_a_level_that_is_exceeded_would_be_noticed() -> None:
    """The same count with a test at four times the level breaks the bound that the test above holds."""
    rng = np.random.default_rng(3)
    n = 400
    supported = sum(decide_larger(*rng.normal(size=(2, 12)), alpha=4 * ALPHA).verdict == "supported" for _ in range(n))
    assert stats.binomtest(supported, n, ALPHA, alternative="greater").pvalue < 1e-3


def test_equivalence_asks_both_sides() -> None:
    def verdict(counts: OutcomeCounts) -> str:
        return decide_equal(counts, counts.n, "pairs", alpha=ALPHA, delta=0.1).verdict

    assert verdict(OutcomeCounts(0, 180, 0)) == "inconclusive"
    assert verdict(OutcomeCounts(0, 181, 0)) == "supported"
    assert verdict(OutcomeCounts(200, 0, 0)) == "refuted"
    assert verdict(OutcomeCounts(0, 0, 200)) == "refuted"
    assert verdict(OutcomeCounts(0, 200, 0, undetermined=100)) == "inconclusive"


def test_blocks_make_the_evidence_that_a_loop_makes() -> None:
    rng = np.random.default_rng(4)
    outcomes = rng.choice([Outcome.LOSS, Outcome.TIE, Outcome.WIN], p=[0.1, 0.1, 0.8], size=(9, 8)).astype(np.int8)
    worth = {Outcome.LOSS: 0.0, Outcome.TIE: 0.5, Outcome.WIN: 1.0}
    bets = np.geomspace(0.1, 0.99, 40)
    wealth, largest = np.ones(len(bets)), 0.0
    for block in range(4):
        members = range(2 * block, 2 * block + 2)
        mean = np.mean([worth[Outcome(outcomes[i, j])] for i in members for j in members])
        wealth *= 1 + bets * (mean - 0.5) / 0.5
        largest = max(largest, wealth.mean())
    decision = decide_extendable(outcomes, alpha=ALPHA, margins=Margins.of_wins(0.1), block=2)
    assert decision.p_support == pytest.approx(1 / largest)
    assert "8 recorded runs in 4 blocks of 2; more may follow" in decision.sample


def test_evidence_of_blocks_is_fair_under_the_null() -> None:
    """E has mean 1 under the null, by enumeration of every sequence of four coins."""
    sequences = np.array(np.meshgrid(*[[0.0, 1.0]] * 4)).reshape(4, -1).T
    mean = np.mean([math.exp(log_evidence_path(sequence, 0.5)[-1]) for sequence in sequences])
    assert mean == pytest.approx(1)


def test_a_verdict_of_blocks_stands_when_more_runs_come() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.normal(1.6, 1, 60), rng.normal(0, 1, 60)
    verdicts = [
        decide_extendable(outcomes_of_values(first[:n], second[:n]), alpha=ALPHA, margins=Margins.of_wins(0.1)).verdict
        for n in range(1, 61)
    ]
    crossed = verdicts.index("supported")
    assert set(verdicts[:crossed]) == {"inconclusive"}
    assert set(verdicts[crossed:]) == {"supported"}


def test_unlike_sets_are_named() -> None:
    rng = np.random.default_rng(6)
    alike = rng.normal(size=(2, 20))
    assert unlike(*alike) == ""
    assert "numbers of runs (20 and 9) differ" in unlike(alike[0], alike[1][:9])
    assert "spreads differ" in unlike(alike[0], 5 * alike[1])


def test_not_worse_counts_ties_one_half() -> None:
    margins = Margins.of_no_loss(0.1)
    ties = np.zeros(200)
    decision = decide_unpaired(outcomes_of_values(ties, ties), ties, ties, alpha=ALPHA, margins=margins)
    assert decision.verdict == "supported"
    assert decision.low >= 0.4


def test_coverage_of_superiority_interval_under_unlike_spreads() -> None:
    """theta by integration; 400 draws, misses held against 2 alpha."""
    theta = float(stats.norm.cdf(1 / math.sqrt(1 + 9)))
    assert brentq(lambda by: stats.norm.cdf(by / math.sqrt(10)) - theta, 0, 3) == pytest.approx(1)
    rng = np.random.default_rng(7)
    misses = 0
    for _ in range(400):
        decision = decide_larger(rng.normal(1, 1, 6), rng.normal(0, 3, 15), alpha=ALPHA)
        low = 0.0 if decision.low == 0.5 else decision.low
        misses += not low <= theta <= decision.high
    assert stats.binomtest(misses, 400, 2 * ALPHA, alternative="greater").pvalue > 1e-3
