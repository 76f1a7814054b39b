import math

import numpy as np
import pytest

from lossact.errors import InputError
from lossact.stats import Comparison, Decision, Margins, Outcome, decide, decide_equivalence
from lossact.stats.betting import Counts, log_evidence
from lossact.stats.outcomes import Outcomes
from tests.stats.test_decision import ALPHA, DELTA, draw


def equivalence(outcomes: Outcomes, limit: int = 4096) -> Decision:
    return decide_equivalence(Comparison("A before B", outcomes), alpha=ALPHA, delta=DELTA, limit=limit)


def by_a_plain_loop(outcomes: Outcomes) -> tuple[str, int | None]:
    """Two one-sided tests at alpha, replica by replica; refuted where 1/2 +- delta is left at alpha / 2 a side."""
    w = t = l = 0  # noqa: E741
    within_low = within_high = False
    for n, outcome in enumerate(outcomes.tolist(), 1):
        w, t, l = (w + (outcome == Outcome.WIN), t + (outcome == Outcome.TIE), l + (outcome == Outcome.LOSS))  # noqa: E741

        def crosses(counts: tuple[int, int, int], mean: float, alpha: float) -> bool:
            return bool(log_evidence(Counts.of(*counts), mean)[0] >= math.log(1 / alpha))

        within_low |= crosses((w, t, l), 0.5 - DELTA, ALPHA)
        within_high |= crosses((l, t, w), 0.5 - DELTA, ALPHA)
        if within_low and within_high:
            return "supported", n
        if crosses((w, t, l), 0.5 + DELTA, ALPHA / 2) or crosses((l, t, w), 0.5 + DELTA, ALPHA / 2):
            return "refuted", n
    return "inconclusive", None


@pytest.mark.parametrize("theta", [0.3, 0.5, 0.55, 0.7])
def test_equivalence_is_decided_as_by_a_plain_loop(theta: float) -> None:
    rng = np.random.default_rng(int(100 * theta))
    for ties in (0.0, 0.6):
        outcomes = draw(rng, 700, theta=theta, ties=ties)
        decision = equivalence(outcomes)
        assert (decision.verdict, decision.decided_at) == by_a_plain_loop(outcomes)


def test_an_interval_never_contradicts_equivalence() -> None:
    rng = np.random.default_rng(3)
    seen = set()
    for theta in (0.3, 0.39, 0.42, 0.5, 0.5, 0.58, 0.61, 0.7):
        decision = equivalence(draw(rng, 4000, theta=theta))
        seen.add(decision.verdict)
        if decision.verdict == "supported":
            assert 0.5 - DELTA < decision.low < decision.high < 0.5 + DELTA
        if decision.verdict == "refuted":
            assert decision.low > 0.5 + DELTA or decision.high < 0.5 - DELTA
        if decision.verdict == "inconclusive":
            assert decision.low <= 0.5 + DELTA
            assert decision.high >= 0.5 - DELTA
    assert {"supported", "refuted"} <= seen


def test_nobody_arrived_is_no_equality() -> None:
    nobody = np.full(500, Outcome.UNDETERMINED, dtype=np.int8)
    decision = equivalence(nobody)
    assert (decision.verdict, decision.reason) == ("inconclusive", "budget too short")
    assert decision.decided_at is not None
    same = decide([Comparison("A", nobody)], alpha=ALPHA, margins=Margins.of_no_loss(DELTA), limit=500)
    assert (same.verdict, same.reason) == ("inconclusive", "budget too short")


def test_half_of_the_replicas_undetermined_is_hopeless() -> None:
    rng = np.random.default_rng(4)
    outcomes = rng.choice([Outcome.WIN, Outcome.LOSS, Outcome.UNDETERMINED], 2048, p=[0.25, 0.25, 0.5]).astype(np.int8)
    decision = equivalence(outcomes)
    assert (decision.verdict, decision.reason) == ("inconclusive", "budget too short")
    assert decision.decided_at is not None
    assert decision.decided_at < 200


def test_a_difference_that_does_not_matter_is_said() -> None:
    """Theta = 0.56 lies within 0.4 … 0.6: equivalent, and shown to be different."""
    decision = equivalence(np.tile(np.array([Outcome.WIN] * 14 + [Outcome.LOSS] * 11, np.int8), 160))
    assert (decision.verdict, decision.reason) == ("supported", "different, by less than delta")


def test_evidence_of_one_over_alpha_decides() -> None:
    rng = np.random.default_rng(9)
    for theta in (0.5, 0.8):
        outcomes = draw(rng, 4000, theta=theta)
        at = equivalence(outcomes).decided_at
        assert at is not None
        before, after = (equivalence(outcomes[:n]) for n in (at - 1, at))
        assert max(before.log_support, before.log_refute) < math.log(1 / ALPHA)
        assert max(after.log_support, after.log_refute) >= math.log(1 / ALPHA)


def test_not_worse_is_held_against_a_margin_below_one_half() -> None:
    rng = np.random.default_rng(5)
    margins = Margins.of_no_loss(DELTA)
    for theta, verdict in ((0.5, "supported"), (0.6, "supported"), (0.3, "refuted")):
        decision = decide([Comparison("A", draw(rng, 2000, theta=theta))], alpha=ALPHA, margins=margins, limit=2000)
        assert decision.verdict == verdict
    assert decision.reason == "later by more than delta"


@pytest.mark.parametrize(("alpha", "delta"), [(0.5, 0.1), (0, 0.1), (0.025, 0.5), (0.025, 0)])
def test_bad_levels_are_named(alpha: float, delta: float) -> None:
    outcomes = np.array([Outcome.WIN], dtype=np.int8)
    with pytest.raises(InputError, match=r"must be > 0 and < 0\.5"):
        decide_equivalence(Comparison("A", outcomes), alpha=alpha, delta=delta, limit=10)
