"""Decisions about recorded values: against scipy where nothing ties, and against all splits where values do."""

import math
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from lossact.stats.margins import Margins
from lossact.stats.recorded import (
    decide_value_pair,
    decide_within,
    difference_interval,
    hodges_lehmann,
    median_of_growing,
    value_differences,
)
from lossact.stats.recorded.extendable import log_evidence_path

ALPHA = 0.025
MARGINS = Margins.of_wins(0.1)


def p_by_splits(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """P(sum of midranks >= the observed one) over all splits of the pooled scores."""
    ranks = stats.rankdata(np.concatenate([first, second]).round(9))
    observed = ranks[: len(first)].sum()
    sums = [ranks[list(chosen)].sum() for chosen in combinations(range(len(ranks)), len(first))]
    return float(np.mean([total >= observed - 1e-9 for total in sums]))


@pytest.mark.parametrize("by", [0.0, 0.4])
@pytest.mark.parametrize(("n_first", "n_second"), [(4, 4), (6, 5), (3, 12)])
def test_unpaired_values_without_ties_are_scipys_rank_test(n_first: int, n_second: int, by: float) -> None:
    rng = np.random.default_rng(n_first)
    first, second = rng.normal(1.5, 1, n_first), rng.normal(0, 1, n_second)
    decision = decide_value_pair(first, second, by=by, paired=False, alpha=ALPHA, margins=MARGINS)
    expected = stats.mannwhitneyu(first - by, second, alternative="greater", method="exact").pvalue
    assert decision.p_support == pytest.approx(expected)
    assert (decision.verdict == "supported") == (expected <= ALPHA)


@pytest.mark.parametrize("by", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("seed", range(4))
def test_unpaired_accuracies_with_ties_count_all_splits(seed: int, by: float) -> None:
    """Accuracies of 100 examples: 0.91 - 0.01 and 0.9 are one value, although floats differ."""
    rng = np.random.default_rng(seed)
    first, second = (rng.integers(low, low + 5, n) / 100 for low, n in ((90, 6), (88, 5)))
    decision = decide_value_pair(first, second, by=by, paired=False, alpha=ALPHA, margins=MARGINS)
    assert decision.p_support == pytest.approx(p_by_splits(first - by, second))
    hundredths = np.rint(100 * np.subtract.outer(first, second) - 100 * by).astype(int)
    assert (decision.wins, decision.ties, decision.losses) == tuple(
        int((np.sign(hundredths) == sign).sum()) for sign in (1, 0, -1)
    )


@pytest.mark.parametrize("by", [0.0, 0.01])
def test_pairs_are_a_sign_test_of_the_differences(by: float) -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(90, 96, 14) / 100, rng.integers(88, 93, 14) / 100
    decision = decide_value_pair(first, second, by=by, paired=True, alpha=ALPHA, margins=MARGINS)
    hundredths = np.rint(100 * (first - second - by)).astype(int)
    wins, losses = int((hundredths > 0).sum()), int((hundredths < 0).sum())
    assert decision.ties == 14 - wins - losses
    assert decision.p_support == pytest.approx(stats.binomtest(wins, wins + losses, 0.5, "greater").pvalue)


@pytest.mark.parametrize("n", [5, 6, 9, 30])
def test_median_of_pairs_has_the_order_statistics_of_the_binomial(n: int) -> None:
    difference = np.random.default_rng(n).normal(size=n)
    shift = difference_interval(difference, alpha=ALPHA)
    count = sum(stats.binom.cdf(k, n, 0.5) <= ALPHA for k in range(n))  # numbers below the median that are too few
    ascending = np.sort(difference)
    expected = (ascending[count - 1], ascending[-count]) if count else (-math.inf, math.inf)
    assert (shift.low, shift.high) == expected
    assert shift.value == np.median(difference)


def test_unpaired_interval_is_the_shifts() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(1, 1, 8), rng.normal(0, 1, 6)
    differences = value_differences(first, second, [0.0], paired=False)
    assert difference_interval(differences, alpha=ALPHA) == hodges_lehmann(first, second, alpha=ALPHA)


@pytest.mark.parametrize(
    ("first", "second", "margin", "ties"),
    [
        (0.91, 0.9, 0.01, True),
        (0.9101, 0.9, 0.01, False),
        (float(np.float32(0.91)), float(np.float32(0.9)), 0.01, True),  # as event files keep them
        (16_777_215.0, 16_777_214.0, 0.0, False),  # integers are exact, also where single precision holds them
        (float(np.float32(0.91)), 0.9, 0.01, False),
    ],
)
def test_ties_are_what_rounding_explains(first: float, second: float, margin: float, ties: bool) -> None:
    difference = value_differences(np.array([first]), np.array([second]), [margin], paired=True)
    assert bool(difference[0] == margin) is ties


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_within_is_what_the_intervals_say(seed: int, paired: bool) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(rng.uniform(-2, 2), 1, 9), rng.normal(0, 1, 9)
    differences = value_differences(first, second, [-1.0, 1.0], paired=paired)
    decision = decide_within(differences, 1.0, alpha=0.1)
    at_alpha, at_half = (difference_interval(differences, alpha=alpha) for alpha in (0.1, 0.05))
    if at_alpha.low >= -1 and at_alpha.high <= 1:
        expected = "supported"
    else:
        expected = "refuted" if at_half.low > 1 or at_half.high < -1 else "inconclusive"
    assert decision.verdict == expected
    assert decision.low <= decision.high
    assert decision.low >= 0.5 or expected != "supported"
    assert decision.high <= 0.5 or expected != "refuted"


def test_all_three_verdicts_about_a_margin_occur() -> None:
    zero = np.zeros((6, 6))
    assert decide_within(zero, 0.1, alpha=ALPHA).verdict == "supported"
    assert decide_within(zero + 0.1, 0.1, alpha=ALPHA).verdict == "supported"  # closed
    assert decide_within(zero + 0.2, 0.1, alpha=ALPHA).verdict == "refuted"
    assert decide_within(zero[:3, :3], 0.1, alpha=ALPHA).verdict == "inconclusive"
    assert decide_within(zero[:3, :3], 0.1, alpha=ALPHA).smallest_p == pytest.approx(1 / 20)


def test_within_keeps_its_level_at_the_margin() -> None:
    rng = np.random.default_rng(0)
    false = sum(
        decide_within(np.subtract.outer(rng.normal(0.5, 0.1, 8), rng.normal(0, 0.1, 8)), 0.5, alpha=0.1).verdict
        == "supported"
        for _ in range(1000)
    )
    assert false / 1000 <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 1000)


@pytest.mark.parametrize("seed", range(20))
def test_the_growing_median_agrees_with_the_evidence(seed: int) -> None:
    """Its lower bound is above 0 where the evidence for positive numbers has once been enough, and only there."""
    values = np.random.default_rng(seed).normal(0.6, 1, 60)
    median = median_of_growing(values, alpha=ALPHA)
    enough = log_evidence_path((values > 0).astype(float), 0.5).max() >= -math.log(ALPHA)
    assert (median.low > 0) == enough
