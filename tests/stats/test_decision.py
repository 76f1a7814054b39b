import math

import numpy as np
import pytest

from lossact.errors import InputError
from lossact.stats import (
    Comparison,
    Decider,
    Decision,
    EquivalenceEvidence,
    JointEvidence,
    Margins,
    Outcome,
    decide,
    proportion,
)
from lossact.stats.betting import Bets, Counts, log_evidence
from lossact.stats.claim_evidence import PairwiseEvidence
from lossact.stats.outcomes import Outcomes
from lossact.stats.replay import Replay

ALPHA, DELTA = 0.025, 0.1
WINS = Margins.of_wins(DELTA)


def draw(rng: np.random.Generator, n: int, *, theta: float, ties: float = 0.0, censored: float = 0.0) -> Outcomes:
    """n outcomes with E[W] = theta, ties and censored ones counted 1/2."""
    decided = 1 - ties - censored
    win = (theta - (ties + censored) / 2) / decided
    words = [Outcome.LOSS, Outcome.WIN, Outcome.TIE, Outcome.CENSORED]
    return rng.choice(words, size=n, p=[decided * (1 - win), decided * win, ties, censored]).astype(np.int8)


def decide_pair(outcomes: Outcomes, *, alpha: float = ALPHA, delta: float = DELTA, limit: int = 2048) -> Decision:
    return decide([Comparison("A before B", outcomes)], alpha=alpha, margins=Margins.of_wins(delta), limit=limit)


def first_crossing_by_a_plain_loop(outcomes: Outcomes) -> tuple[str, int | None]:
    """The rules for one pair, replica by replica."""
    w = t = l = both = 0  # noqa: E741
    no_support = no_refutation = -math.inf
    for n, outcome in enumerate(outcomes.tolist(), 1):
        w, t, l, both = (  # noqa: E741
            w + (outcome == Outcome.WIN),
            t + (outcome == Outcome.TIE),
            l + (outcome == Outcome.LOSS),
            both + (outcome == Outcome.CENSORED),
        )
        if log_evidence(Counts.of(w, t + both, l), 0.5)[0] >= math.log(1 / ALPHA):
            return "supported", n
        if log_evidence(Counts.of(l, t, w + both), 0.5 - DELTA)[0] >= math.log(1 / ALPHA):
            return "refuted", n
        no_support = max(no_support, log_evidence(Counts.of(l, t + both, w), 0.5)[0])
        no_refutation = max(no_refutation, log_evidence(Counts.of(w + both, t, l), 0.5 + DELTA)[0])
        if both and min(no_support, no_refutation) >= math.log(1 / ALPHA):
            return "inconclusive", n
    return "inconclusive", None


@pytest.mark.parametrize("theta", [0.2, 0.45, 0.5, 0.55, 0.6, 0.8])
@pytest.mark.parametrize("censored", [0.0, 0.3])
def test_the_first_crossing_is_that_of_a_plain_loop(theta: float, censored: float) -> None:
    rng = np.random.default_rng(int(1000 * theta + censored))
    for _ in range(5):
        outcomes = draw(rng, 600, theta=theta, ties=0.05, censored=censored)
        decision = decide_pair(outcomes)
        assert (decision.verdict, decision.decided_at) == first_crossing_by_a_plain_loop(outcomes)


@pytest.mark.parametrize("n", [1, 2, 64, 300])
def test_growth_is_what_fewer_replicas_would_have_shown(n: int) -> None:
    outcomes = draw(np.random.default_rng(n), n, theta=0.55, censored=0.1)
    evidence_path = decide_pair(outcomes).evidence_path
    assert evidence_path is not None
    assert (evidence_path.replicas[0], evidence_path.replicas[-1]) == (1, n)
    assert len(evidence_path.replicas) in {min(n, 63), min(n, 64)}
    decided_at = decide_pair(outcomes).decided_at
    assert decided_at is None or decided_at in evidence_path.replicas
    for moment, support, refute in zip(*evidence_path.to_json().values(), strict=True):
        earlier = decide_pair(outcomes[: int(moment)])
        assert (support, refute) == pytest.approx((earlier.log_support, earlier.log_refute))


def test_later_replicas_never_change_a_verdict() -> None:
    rng = np.random.default_rng(1)
    for theta in (0.3, 0.5, 0.56, 0.7):
        outcomes = draw(rng, 1500, theta=theta)
        final = decide_pair(outcomes)
        at = final.decided_at or 1500
        assert decide_pair(outcomes[: at - 1]).decided_at is None
        for n in (at, at + 1, 1500):
            assert decide_pair(outcomes[:n]).verdict == final.verdict


def test_an_interval_never_contradicts_its_verdict() -> None:
    rng = np.random.default_rng(2)
    for _ in range(60):
        pairs = [
            Comparison(str(k), draw(rng, 400, theta=rng.uniform(0.3, 0.9), censored=rng.uniform(0, 0.2)))
            for k in range(rng.integers(1, 5))
        ]
        decision = decide(pairs, alpha=ALPHA, margins=WINS, limit=2048)
        if decision.verdict == "supported":
            assert decision.low >= 0.5 - 1e-9
        elif decision.verdict == "refuted":
            assert decision.high <= 0.5 + DELTA + 1e-9
            assert decision.reason.startswith("reversed" if decision.high < 0.5 else "at most negligibly faster")
        else:
            assert decision.low < 0.5
            assert decision.high > 0.5 + DELTA


@pytest.mark.parametrize("theta", [0.5, 0.6])
def test_either_error_stays_within_alpha(theta: float) -> None:
    """At theta = 1/2 SUPPORTED is the error, at 1/2 + delta REFUTED is; 1,000 sequences of 400 looks each."""
    rng = np.random.default_rng(3)
    error = {0.5: "supported", 0.6: "refuted"}[theta]
    runs = []
    for _ in range(1000):
        run = Replay(PairwiseEvidence(WINS), alpha=0.05, with_bounds=False)
        run.extend([draw(rng, 400, theta=theta, censored=0.1)])
        runs.append(run)
    wrong = sum(run.verdict == error for run in runs)
    # Three standard errors above alpha n.
    assert wrong <= 0.05 * 1000 + 3 * math.sqrt(1000 * 0.05 * 0.95)


def test_nobody_arrived_is_inconclusive_and_stops_early() -> None:
    decision = decide_pair(np.full(512, Outcome.CENSORED, np.int8))
    assert (decision.verdict, decision.reason) == ("inconclusive", "budget too short")
    assert decision.decided_at is not None
    assert decision.decided_at < 100
    assert decision.low < 0.5
    assert decision.high > 0.99


def test_few_who_arrive_may_still_decide() -> None:
    """Nine of ten arrive in neither condition, the tenth always in A: no reason to stop short of SUPPORTED."""
    decision = decide_pair(np.tile(np.array([Outcome.CENSORED] * 9 + [Outcome.WIN], np.int8), 80))
    assert decision.verdict == "supported"


def test_all_tied_is_refuted_as_negligible() -> None:
    """Exact ties show theta = 1/2, which is not the margin that was claimed."""
    decision = decide_pair(np.full(2048, Outcome.TIE, np.int8))
    assert decision.verdict == "refuted"
    assert decision.reason == "at most negligibly faster"


def test_open_comparisons_support_and_refute_nothing() -> None:
    rng = np.random.default_rng(4)
    outcomes = np.where(rng.random(2048) < 0.7, Outcome.UNDETERMINED, Outcome.WIN).astype(np.int8)
    decision = decide_pair(outcomes)
    assert (decision.verdict, decision.reason) == ("inconclusive", "budget too short")


def test_an_ordering_needs_every_pair() -> None:
    rng = np.random.default_rng(5)
    good = [Comparison(name, draw(rng, 800, theta=0.8)) for name in "abc"]
    bad = Comparison("A before D", draw(rng, 800, theta=0.2))
    assert decide(good, alpha=ALPHA, margins=WINS, limit=2048).verdict == "supported"
    decision = decide([*good, bad], alpha=ALPHA, margins=WINS, limit=2048)
    assert decision.verdict == "refuted"
    assert decision.reason == "reversed; broken: A before D"
    assert decision.weakest_comparison == "A before D"


def test_the_limit_ends_the_looks() -> None:
    outcomes = draw(np.random.default_rng(6), 1000, theta=0.55)
    decision = decide_pair(outcomes, limit=128, alpha=0.001)
    assert decision.replicas == 128
    assert decision.final
    assert decision.reason.startswith("limit reached (128 replicas)")
    assert not decide_pair(outcomes[:100], limit=128, alpha=0.001).final


def test_a_proportion_covers_at_all_times_at_once() -> None:
    rng = np.random.default_rng(7)
    missed = 0
    for _ in range(100):
        happened = rng.random(200) < 0.15
        missed += any(
            not bounds.low <= 0.15 <= bounds.high
            for n in (1, 5, 10, 25, 50, 100, 150, 200)
            for bounds in [proportion(happened[:n], alpha=0.05)]
        )
    assert missed <= 0.1 * 100 + 3 * math.sqrt(100 * 0.1 * 0.9)


@pytest.mark.parametrize(
    ("comparisons", "alpha", "delta", "message"),
    [
        ([], 0.025, 0.1, "comparisons hold no replica"),
        ([Comparison("x", np.zeros(0, np.int8))], 0.025, 0.1, "comparisons hold no replica"),
        ([Comparison("x", np.zeros(n, np.int8)) for n in (1, 2)], 0.025, 0.1, r"lengths \[1, 2\]"),
        ([Comparison("x", np.full(2, 7, np.int8))], 0.025, 0.1, "x: outcomes must be Outcome values"),
        ([Comparison("x", np.zeros(2, np.int8))], 0.5, 0.1, "alpha=0.5 must be > 0 and < 0.5; try 0.025"),
        ([Comparison("x", np.zeros(2, np.int8))], 0.0, 0.1, "alpha=0.0 must be"),
        ([Comparison("x", np.zeros(2, np.int8))], math.nan, 0.1, "alpha=nan must be"),
        ([Comparison("x", np.zeros(2, np.int8))], 0.025, 0.5, "delta=0.5 must be > 0 and < 0.5; try 0.1"),
        ([Comparison("x", np.zeros(2, np.int8))], 0.025, -0.1, "delta=-0.1 must be"),
    ],
)
def test_bad_input_is_named(comparisons: list[Comparison], alpha: float, delta: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decide(comparisons, alpha=alpha, margins=Margins.of_wins(delta), limit=10)


def test_one_replica_decides_nothing() -> None:
    assert decide_pair(np.array([Outcome.WIN], np.int8)).verdict == "inconclusive"


def test_looks_change_nothing() -> None:
    """A decider that is shown replicas look by look ends where one that sees all at once does."""
    rng = np.random.default_rng(8)
    for theta in (0.45, 0.58, 0.8):
        pairs = [Comparison(name, draw(rng, 6000, theta=theta, censored=0.1)) for name in "ab"]
        looked = Decider(PairwiseEvidence(WINS), alpha=ALPHA, limit=6000)
        for n in (16, 40, 41, 900, 5000, 6000):
            decision = looked.decide([Comparison(pair.name, pair.outcomes[:n]) for pair in pairs])
        whole = decide(pairs, alpha=ALPHA, margins=WINS, limit=6000)
        assert (decision.verdict, decision.decided_at, decision.reason) == (
            whole.verdict,
            whole.decided_at,
            whole.reason,
        )
        assert (decision.low, decision.high, decision.value) == pytest.approx((whole.low, whole.high, whole.value))


def test_outcomes_that_change_between_looks_are_refused() -> None:
    looked = Decider(PairwiseEvidence(WINS), alpha=ALPHA, limit=100)
    looked.decide([Comparison("A", np.full(8, Outcome.TIE, np.int8))])
    with pytest.raises(InputError, match="A: outcomes of the first 8 replicas changed when 16 were looked at"):
        looked.decide([Comparison("A", np.full(16, Outcome.WIN, np.int8))])


def test_delta_has_no_part_in_support() -> None:
    outcomes = draw(np.random.default_rng(9), 800, theta=0.6)
    supported = {decide_pair(outcomes, delta=delta).log_support for delta in (0.05, 0.1, 0.3)}
    assert len(supported) == 1


@pytest.mark.parametrize("alpha", [0.025, 0.025 / 7])
def test_a_row_of_censored_replicas_ends_the_looks(alpha: float) -> None:
    """At the first n with (1 - delta)^n <= alpha, and only where nobody arrived in any of them."""
    n = next(n for n in range(1, 200) if (1 - DELTA) ** n <= alpha)
    nobody = np.full(300, Outcome.CENSORED, np.int8)
    assert decide_pair(nobody, alpha=alpha).decided_at == n
    arrived = nobody.copy()
    arrived[3] = Outcome.TIE
    assert decide_pair(arrived, alpha=alpha).verdict == "inconclusive"
    assert decide_pair(arrived, alpha=alpha).decided_at is None


def test_hopeless_claims_end_early_and_only_under_censoring() -> None:
    rng = np.random.default_rng(10)
    half_open = rng.choice([Outcome.WIN, Outcome.LOSS, Outcome.UNDETERMINED], 2048, p=[0.35, 0.15, 0.5]).astype(np.int8)
    decision = decide_pair(half_open)
    assert (decision.verdict, decision.reason) == ("inconclusive", "budget too short")
    assert decision.decided_at is not None
    assert decision.decided_at < 400


def test_the_effect_is_given_at_the_crossing_and_at_the_end() -> None:
    outcomes = draw(np.random.default_rng(11), 400, theta=0.7)
    decision = decide_pair(outcomes)
    at = decision.decided_at
    assert at is not None
    assert decision.at_decision is not None
    then = decide_pair(outcomes[:at])
    assert (decision.at_decision.value, decision.at_decision.low) == pytest.approx((then.value, then.low))
    assert decision.at_decision.low <= decision.low + 1e-12


def test_joint_evidence_of_pairs_is_that_of_an_ordering() -> None:
    """Three hypotheses of one pair each are decided as one hypothesis of three pairs."""
    rng = np.random.default_rng(12)
    for thetas in ((0.7, 0.8, 0.9), (0.7, 0.8, 0.3)):
        pairs = [Comparison(str(k), draw(rng, 600, theta=theta), member=k) for k, theta in enumerate(thetas)]
        joint = JointEvidence([PairwiseEvidence(WINS)] * 3, [0, 1, 2])
        decision = Decider(joint, alpha=ALPHA, limit=600).decide(pairs)
        whole = decide(pairs, alpha=ALPHA, margins=WINS, limit=600)
        assert (decision.verdict, decision.decided_at) == (whole.verdict, whole.decided_at)


def test_a_joint_claim_fails_with_one_member_of_any_kind() -> None:
    rng = np.random.default_rng(13)
    members = [PairwiseEvidence(WINS), PairwiseEvidence(Margins.of_probability(0.9, 0.95)), EquivalenceEvidence(DELTA)]
    good = [
        Comparison("A before B", draw(rng, 2000, theta=0.8), member=0),
        Comparison("A reaches", draw(rng, 2000, theta=0.99), member=1),
        Comparison("A like C", draw(rng, 2000, theta=0.5, ties=0.5), member=2),
    ]
    decision = Decider(JointEvidence(members, [0, 1, 2]), alpha=ALPHA, limit=2000).decide(good)
    assert decision.verdict == "supported"
    bad = [*good[:2], Comparison("A like C", draw(rng, 2000, theta=0.9), member=2)]
    decision = Decider(JointEvidence(members, [0, 1, 2]), alpha=ALPHA, limit=2000).decide(bad)
    assert (decision.verdict, decision.reason) == ("refuted", "broken: A like C")
    assert decision.low > 0.6


def test_an_unbroken_row_of_successes_shows_reaching_early() -> None:
    """58 or fewer replicas with bets up to 0.99, where the general mixture needs more."""
    successes = Comparison("A reaches", np.full(200, Outcome.WIN, np.int8))
    decisions = [
        decide([successes], alpha=0.025, margins=margins, limit=200)
        for margins in (Margins.of_probability(0.9, 0.95), Margins(0.9, 0.95, Bets.log_uniform((0.1, 0.5, 60, 1.0))))
    ]
    assert [decision.verdict for decision in decisions] == ["supported"] * 2
    assert decisions[0].decided_at is not None
    assert decisions[1].decided_at == 104
    assert decisions[0].decided_at <= 65
