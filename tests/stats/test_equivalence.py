import math

import numpy as np
import pytest

from lossact.errors import InputError
from lossact.stats import Comparison, Decision, Margins, Outcome, decide, decide_equivalence
from lossact.stats.betting import Counts, bets, log_evidence
from lossact.stats.outcomes import Outcomes
from tests.stats.test_decision import ALPHA, DELTA, draw


def equivalence(outcomes: Outcomes, limit: int = 4096) -> Decision:
    return decide_equivalence(Comparison("A before B", outcomes), alpha=ALPHA, delta=DELTA, limit=limit)


def by_a_plain_loop(outcomes: Outcomes) -> tuple[str, int | None]:
    """STATISTICS, replica by replica: the sequence lies within 1/2 +- delta, or leaves 1/2, at alpha / 2 a bound."""
    w = t = l = 0  # noqa: E741
    within_low = within_high = False
    for n, outcome in enumerate(outcomes.tolist(), 1):
        w, t, l = (w + (outcome == Outcome.WIN), t + (outcome == Outcome.TIE), l + (outcome == Outcome.LOSS))  # noqa: E741

        def crosses(counts: tuple[int, int, int], mean: float) -> bool:
            return bool(log_evidence(Counts.of(*counts), mean, bets(DELTA))[0] >= math.log(2 / ALPHA))

        within_low |= crosses((w, t, l), 0.5 - DELTA)
        within_high |= crosses((l, t, w), 0.5 - DELTA)
        if within_low and within_high:
            return "supported", n
        if crosses((w, t, l), 0.5) or crosses((l, t, w), 0.5):
            return "refuted", n
    return "inconclusive", None


@pytest.mark.parametrize("theta", [0.3, 0.5, 0.55, 0.7])
def test_equivalence_is_decided_as_by_a_plain_loop(theta: float) -> None:
    rng = np.random.default_rng(int(100 * theta))
    for ties in (0.0, 0.6):
        outcomes = draw(rng, 700, theta=theta, ties=ties)
        found = equivalence(outcomes)
        assert (found.verdict, found.decided_at) == by_a_plain_loop(outcomes)


def test_an_interval_never_contradicts_equivalence() -> None:
    rng = np.random.default_rng(3)
    seen = set()
    for theta in (0.3, 0.42, 0.5, 0.5, 0.58, 0.7):
        found = equivalence(draw(rng, 4000, theta=theta))
        seen.add(found.verdict)
        if found.verdict == "supported":
            assert 0.5 - DELTA < found.low < found.high < 0.5 + DELTA
        if found.verdict == "refuted":
            assert found.low > 0.5 or found.high < 0.5
    assert {"supported", "refuted"} <= seen


def test_nobody_arrived_is_no_equality() -> None:
    nobody = np.full(500, Outcome.OPEN, dtype=np.int8)
    found = equivalence(nobody)
    assert (found.verdict, found.reason) == ("inconclusive", "budget too short")
    assert found.decided_at is not None
    same = decide([Comparison("A", nobody)], alpha=ALPHA, margins=Margins.of_no_loss(DELTA), limit=500)
    assert (same.verdict, same.reason) == ("inconclusive", "budget too short")


def test_where_a_difference_may_still_show_replicas_are_short_and_not_the_budget() -> None:
    words = np.tile(np.array([Outcome.WIN] * 7 + [Outcome.LOSS] * 2 + [Outcome.OPEN] * 3, np.int8), 300)
    cut = equivalence(words, limit=24)
    assert cut.verdict == "inconclusive"
    assert cut.replicas_to_go is not None
    assert equivalence(words).reason == "sooner more often than not"


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
        found = decide([Comparison("A", draw(rng, 2000, theta=theta))], alpha=ALPHA, margins=margins, limit=2000)
        assert found.verdict == verdict
    assert found.reason == "later by more than delta"


@pytest.mark.parametrize(("alpha", "delta"), [(0.5, 0.1), (0, 0.1), (0.025, 0.5), (0.025, 0)])
def test_bad_levels_are_named(alpha: float, delta: float) -> None:
    outcomes = np.array([Outcome.WIN], dtype=np.int8)
    with pytest.raises(InputError, match=r"must be > 0 and < 0\.5|smallest_bet|support"):
        decide_equivalence(Comparison("A", outcomes), alpha=alpha, delta=delta, limit=10)
