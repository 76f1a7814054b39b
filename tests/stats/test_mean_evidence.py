"""Evidence about means: against plain products, scipy's noncentral t, quadrature, and every path of a short game."""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import nct, norm, t

from lossact.errors import InputError
from lossact.stats import BoundedMean, Comparison, MeanDecider, NormalMean, Outcome
from lossact.stats.mean_evidence import BETS, EFFECT_SIZES, MeanEvidence, log_t_mixture, smallest_statistic

ALPHA = 0.025
THRESHOLD = -math.log(ALPHA)
EITHER: list[MeanEvidence] = [BoundedMean(-1.0, 1.0), NormalMean()]


def test_a_bounded_mean_is_a_mixture_of_products() -> None:
    numbers = np.random.default_rng(0).uniform(-1, 3, 40)
    shares, null = (numbers + 1) / 4, (0.5 + 1) / 4
    products = [math.prod(1 + bet * (share - null) / null for share in shares) for bet in BETS.sizes]
    logs = BoundedMean(-1, 3).log_above(numbers, 0.5)
    assert logs[-1] == pytest.approx(math.log(BETS.weights @ np.array(products)), rel=1e-10)


def test_evidence_does_not_depend_on_how_many_numbers_follow() -> None:
    numbers = np.random.default_rng(1).uniform(-1, 1, 1100)  # more than are computed together
    for evidence in EITHER:
        whole = evidence.log_above(numbers, 0.1)
        for n in (1, 500, 700):
            assert evidence.log_above(numbers[:n], 0.1) == pytest.approx(whole[:n], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("mean", [-0.5, 0.0, 0.4])
def test_a_bounded_mean_gains_nothing_on_average_where_the_null_holds(mean: float) -> None:
    # All 2^9 paths of numbers that are -1 or 1, each with its probability.
    chance = (1 + mean) / 2
    total = 0.0
    for path in itertools.product((-1.0, 1.0), repeat=9):
        probability = math.prod(chance if number > 0 else 1 - chance for number in path)
        total += probability * math.exp(BoundedMean(-1, 1).log_above(np.array(path), mean)[-1])
    assert total == pytest.approx(1.0, rel=1e-10)


@pytest.mark.parametrize("n", [2, 3, 7, 40])
@pytest.mark.parametrize("mean", [0.5, 2.0])
def test_normal_evidence_is_the_ratio_of_densities_of_t(n: int, mean: float) -> None:
    numbers = np.random.default_rng(n).normal(mean, 1, n)
    statistic = numbers.mean() / (numbers.std(ddof=1) / math.sqrt(n))
    ratios = [nct.pdf(statistic, n - 1, math.sqrt(n) * size) / t.pdf(statistic, n - 1) for size in EFFECT_SIZES]
    assert NormalMean().log_above(numbers, 0.0)[-1] == pytest.approx(math.log(np.mean(ratios)), rel=1e-6)


def test_the_first_normal_number_shows_its_sign_alone() -> None:
    for number in (0.1, 5.0, -0.1, -5.0):
        ratios = 2 * norm.cdf(EFFECT_SIZES * np.sign(number))
        assert NormalMean().log_above(np.array([number]), 0.0)[0] == pytest.approx(math.log(np.mean(ratios)), rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 5, 30])
@pytest.mark.parametrize("share", [-0.9, -0.3, 0.0, 0.6, 0.99])
def test_normal_evidence_equals_quadrature(n: int, share: float) -> None:
    statistic = share * math.sqrt(n)

    def integral(tilt: float) -> float:
        def density(u: float) -> float:
            return u ** (n - 1) * math.exp(-u * u / 2 + tilt * u)

        return float(quad(density, 0, 40, points=[1, 5, 10], limit=500)[0])

    ratios = [math.exp(-n * d * d / 2) * integral(d * statistic) / integral(0.0) for d in EFFECT_SIZES]
    computed = log_t_mixture(np.array([float(n)]), np.array([statistic]))[0]
    assert computed == pytest.approx(math.log(np.mean(ratios)), abs=1e-6)


def test_normal_evidence_gains_nothing_on_average_where_the_mean_is_the_constant() -> None:
    for n in (2, 5, 20):
        # Under the null a = t sqrt(n / (n - 1 + t^2)) with Student's t.
        def gain(x: float, n: int = n) -> float:
            statistic = x * math.sqrt(n / (n - 1 + x * x))
            return float(np.exp(log_t_mixture(np.array([float(n)]), np.array([statistic]))[0])) * float(t.pdf(x, n - 1))

        total = quad(gain, -np.inf, 0, limit=200)[0] + quad(gain, 0, np.inf, limit=400)[0]
        assert total == pytest.approx(1.0, abs=1e-4)


def test_normal_evidence_does_not_depend_on_the_unit_or_on_zeros() -> None:
    numbers = np.random.default_rng(2).normal(0.3, 1, 30)
    assert NormalMean().log_above(1e6 * numbers, 0.0) == pytest.approx(NormalMean().log_above(numbers, 0.0))
    assert (NormalMean().log_above(np.zeros(20), 0.0) <= 0).all()


def brute_force_bound(evidence: MeanEvidence, numbers: np.ndarray, low: float, high: float) -> float:
    """The largest constant that some moment's evidence shows the mean to be above."""
    for _ in range(60):
        middle = (low + high) / 2
        shown = evidence.log_above(numbers, middle).max() >= THRESHOLD
        low, high = (middle, high) if shown else (low, middle)
    return low


@pytest.mark.parametrize("evidence", EITHER)
@pytest.mark.parametrize("seed", range(4))
def test_bounds_are_those_of_brute_force(evidence: MeanEvidence, seed: int) -> None:
    numbers = np.clip(np.random.default_rng(seed).normal(0.3, 0.3, 120), -1, 1)
    low = evidence.lower_bound(numbers, ALPHA)
    assert low == pytest.approx(brute_force_bound(evidence, numbers, -1.0, 1.0), abs=1e-7)
    assert low < numbers.mean()


def test_too_few_normal_numbers_have_no_bound() -> None:
    assert NormalMean().lower_bound(np.array([1.0, 1.1]), ALPHA) == -math.inf


@pytest.mark.parametrize("last_bits", [0, 1, 3])
def test_normal_numbers_without_spread_are_no_evidence(last_bits: int) -> None:
    numbers = np.full(20, 0.3)
    numbers[1::2] += last_bits * np.spacing(0.3)
    later = np.arange(20.0, 200.0)
    assert (NormalMean().log_above(numbers, 0.1)[1:] == 0).all()
    assert (NormalMean().log_above_as_observed(numbers, 0.1, later) == 0).all()
    assert NormalMean().lower_bound(numbers, ALPHA) == -math.inf
    decider = MeanDecider(NormalMean(), 0.1, alpha=ALPHA, limit=20)
    decision = decider.decide([comparison(numbers)])
    assert (decision.verdict, decision.decided_at, decision.replicas_to_go) == ("inconclusive", None, None)
    assert (decision.low, decision.high) == (-math.inf, math.inf)
    assert "the values of 20 replicas have no spread" in decision.reason


def test_normal_evidence_counts_every_number_once_one_differs() -> None:
    numbers = np.array([0.3] * 19 + [0.31])
    statistic = (numbers.mean() - 0.1) / (numbers.std(ddof=1) / math.sqrt(20))
    ratios = [nct.pdf(statistic, 19, math.sqrt(20) * size) / t.pdf(statistic, 19) for size in EFFECT_SIZES]
    logs = NormalMean().log_above(numbers, 0.1)
    assert logs[-2] == 0
    assert logs[-1] == pytest.approx(math.log(np.mean(ratios)), rel=1e-6)
    assert 0.1 < NormalMean().lower_bound(numbers, ALPHA) < 0.3


def test_the_smallest_statistic_reaches_the_level() -> None:
    for n in (6.0, 50.0, 2000.0):
        logs = log_t_mixture(np.array([n]), np.array([smallest_statistic(n, ALPHA)]))
        assert logs[0] == pytest.approx(THRESHOLD, abs=1e-6)


def test_a_mean_is_not_shown_before_the_largest_bet_can() -> None:
    evidence = BoundedMean(-1, 1)
    fewest = evidence.fewest(0.005, 0.0, ALPHA)
    assert fewest == 748
    best = len(BETS.sizes) - 1 if BETS.sizes[-1] == BETS.sizes.max() else int(BETS.sizes.argmax())
    assert fewest * math.log1p(BETS.sizes[best] * 0.005) >= THRESHOLD > (fewest - 1) * math.log1p(0.005 * 0.99)
    logs = evidence.log_above(np.full(fewest, 0.005), 0.0)
    assert logs[-2] < THRESHOLD  # the mixture needs more
    assert evidence.fewest(0.0, 0.0, ALPHA) is None


@pytest.mark.parametrize(("lowest", "highest"), [(1, 1), (2, 1), (0, math.inf), (math.nan, 1)])
def test_a_range_that_is_none_is_refused(lowest: float, highest: float) -> None:
    with pytest.raises(InputError):
        BoundedMean(lowest, highest)


def comparison(numbers: np.ndarray) -> Comparison:
    outcomes = np.select(
        [np.isnan(numbers), numbers > 0, numbers < 0],
        [Outcome.UNDETERMINED, Outcome.WIN, Outcome.LOSS],
        Outcome.TIE,
    )
    return Comparison("a above b", outcomes.astype(np.int8), numbers=numbers)


@pytest.mark.parametrize("evidence", EITHER)
@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("shift", [0.4, 0.0, -0.4])
def test_the_first_crossing_decides_and_agrees_with_the_bounds(
    evidence: MeanEvidence, below: bool, shift: float
) -> None:
    numbers = np.clip(np.random.default_rng(5).normal(shift, 0.2, 200), -1, 1)
    decision = MeanDecider(evidence, 0.0, alpha=ALPHA, limit=200, below=below).decide([comparison(numbers)])
    above = evidence.log_above(numbers, 0.0) >= THRESHOLD
    under = evidence.mirrored().log_above(-numbers, 0.0) >= THRESHOLD
    if not shift:
        assert not above.any()
        assert not under.any()
        assert (decision.verdict, decision.decided_at, decision.final) == ("inconclusive", None, True)
        assert decision.low < 0 < decision.high
        return
    first = int((above if shift > 0 else under).argmax()) + 1
    assert decision.verdict == ("supported" if (shift > 0) != below else "refuted")
    assert decision.decided_at == first
    assert decision.value == pytest.approx(numbers.mean())
    assert (decision.low > 0) if shift > 0 else (decision.high < 0)
    then = decision.at_decision
    assert then is not None
    assert then.value == pytest.approx(numbers[:first].mean())
    assert (then.low >= 0) if shift > 0 else (then.high <= 0)


def test_looks_do_not_change_a_verdict_and_changed_numbers_are_an_error() -> None:
    numbers = np.random.default_rng(6).normal(0.3, 1, 128)
    decider = MeanDecider(NormalMean(), 0.0, alpha=ALPHA, limit=128)
    looks = [decider.decide([comparison(numbers[:n])]) for n in (16, 64, 128)]
    whole = MeanDecider(NormalMean(), 0.0, alpha=ALPHA, limit=128).decide([comparison(numbers)])
    assert (looks[-1].verdict, looks[-1].decided_at, looks[-1].low) == (whole.verdict, whole.decided_at, whole.low)
    with pytest.raises(InputError, match="numbers of the first 128 replicas changed"):
        decider.decide([comparison(-numbers)])
    with pytest.raises(InputError, match="hold no replica"):
        MeanDecider(NormalMean(), 0.0, alpha=ALPHA, limit=128).decide([comparison(np.zeros(0))])


def test_undefined_numbers_count_against_either_verdict() -> None:
    numbers = np.full(200, 0.9)
    numbers[::2] = np.nan
    bounded = MeanDecider(BoundedMean(-1, 1), 0.0, alpha=ALPHA, limit=200).decide([comparison(numbers)])
    assert (bounded.verdict, bounded.undecided) == ("inconclusive", 100)
    assert bounded.low < 0 < bounded.high
    normal = MeanDecider(NormalMean(), 0.0, alpha=ALPHA, limit=2048).decide([comparison(numbers)])
    assert (normal.verdict, normal.final) == ("inconclusive", True)
    assert "100 of 200 replicas diverged or have no value" in normal.reason


def test_a_plan_goes_on_as_before_and_says_what_the_range_costs() -> None:
    numbers = np.tile([0.0, 0.01], 32)
    decision = MeanDecider(BoundedMean(-1, 1), 0.0, alpha=ALPHA, limit=64).decide([comparison(numbers)])
    assert decision.verdict == "inconclusive"
    assert "a mean 0.005 away from 0 is not shown by fewer than 748" in decision.reason
    assert decision.replicas_to_go is not None
    longer = np.tile([0.0, 0.01], (64 + decision.replicas_to_go) // 2)
    assert (BoundedMean(-1, 1).log_above(longer, 0.0) >= THRESHOLD).any()
    decider = MeanDecider(NormalMean(), 0.0, alpha=ALPHA, limit=2048)
    large, small = decider.replicas_at(numbers, 0.9), decider.replicas_at(numbers, 0.6)
    assert large is not None
    assert small is not None
    assert large < small
    assert decider.replicas_at(numbers, 0.5) is None
