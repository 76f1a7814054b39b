import numpy as np

from lossact.stats import Comparison, Margins, decide
from tests.stats.test_decision import decide_pair, draw


def test_a_plan_is_what_probably_settles_it() -> None:
    """Over many claims of all kinds that a limit cut off, most need what was planned at most, and not much less."""
    rng = np.random.default_rng(0)
    fewer, factors = [], []
    for _ in range(40):
        outcomes = draw(rng, 4096, theta=rng.uniform(0.35, 0.75))
        cut = decide_pair(outcomes, limit=96)
        if cut.replicas_to_go is None:
            continue
        planned, needed = 96 + cut.replicas_to_go, decide_pair(outcomes, limit=4096).decided_at
        assert needed is not None
        fewer.append(needed <= planned)
        factors.append(planned / needed)
    assert len(fewer) > 8
    assert 0.6 < np.mean(fewer) < 0.95
    assert 1 < np.median(factors) < 3


def test_the_reason_says_how_many_more() -> None:
    decision = decide_pair(draw(np.random.default_rng(2), 64, theta=0.56))
    assert decision.replicas_to_go is not None
    assert (
        decision.reason == f"limit reached (64 replicas); about {decision.replicas_to_go} more would probably settle it"
    )


def test_nothing_is_planned_where_the_budget_is_short_or_a_verdict_fell() -> None:
    rng = np.random.default_rng(4)
    assert decide_pair(draw(rng, 300, theta=0.5, censored=0.9), limit=300).replicas_to_go is None
    assert decide_pair(draw(rng, 300, theta=0.9)).replicas_to_go is None


def test_orderings_are_planned_too() -> None:
    rng = np.random.default_rng(6)
    pairs = [Comparison(str(k), draw(rng, 64, theta=0.62)) for k in range(3)]
    decision = decide(pairs, alpha=0.025, margins=Margins.of_wins(0.1), limit=64)
    assert decision.verdict == "inconclusive"
    assert decision.replicas_to_go is not None
