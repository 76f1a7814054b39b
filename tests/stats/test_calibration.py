"""The calibration's own arithmetic, and that it would notice an engine that errs too often."""

import importlib.util
import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lossact.claims.result import settle_families
from lossact.stats import Comparison, decide
from lossact.stats.betting import MIXTURE
from lossact.stats.calibration import errors, exact
from lossact.stats.calibration.families import LOOKS, min_p_over_looks, supported_in_family
from lossact.stats.calibration.power import METHODS
from lossact.stats.calibration.scenarios import (
    coin,
    cycle,
    lognormal_runs,
    shift_for,
    two_lognormals,
    win_probability,
)
from lossact.stats.calibration.tables import at_most, clopper_pearson_upper, lowest_share
from lossact.stats.equivalence import EquivalenceEvidence
from lossact.stats.outcomes import Outcome, Outcomes
from lossact.stats.replay import Replay

W = np.array([0.0, 0.5, 1.0, 0.5, 0.5])


@pytest.mark.parametrize("censored", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("theta", [0.5, 0.6, 0.7])
def test_scenarios_have_the_truth_they_claim(theta: float, censored: float) -> None:
    ahead = shift_for(theta, censored)
    assert win_probability(ahead, censored) == pytest.approx(theta, abs=1e-6)
    (outcomes,) = two_lognormals(censored=censored, ahead=ahead)(np.random.default_rng(0), 200_000)
    assert W[outcomes].mean() == pytest.approx(theta, abs=0.005)
    runs = lognormal_runs(np.random.default_rng(1), 200_000, censored=censored)
    assert 1 - runs.reached.mean() == pytest.approx(censored, abs=0.005)


def test_the_cycle_is_one() -> None:
    pairs = cycle(np.random.default_rng(0), 100_000)
    shares = [(pair == Outcome.WIN).mean() for pair in pairs]  # A before B, A before C, B before C
    assert shares == pytest.approx([5 / 9, 4 / 9, 5 / 9], abs=0.01)


def test_bounds_of_a_share_are_those_of_the_binomial() -> None:
    from scipy.stats import binomtest

    for count, n in ((0, 50), (7, 200), (250, 10_000)):
        interval = binomtest(count, n).proportion_ci(0.98, method="exact")
        assert (lowest_share(count, n), clopper_pearson_upper(count, n)) == pytest.approx((interval.low, interval.high))


def test_too_many_errors_are_noticed() -> None:
    assert at_most(250, 10_000, 0.025, short=False)
    assert not at_most(290, 10_000, 0.025, short=False)
    assert at_most(8, 200, 0.025, short=True)
    assert not at_most(20, 200, 0.025, short=True)


def test_an_engine_that_asks_too_little_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cells, with verdicts that fall at a tenth of the evidence."""
    monkeypatch.setattr(errors, "cells", lambda: [errors.Cell("fair coin", coin(0.5), ("supported",))])
    monkeypatch.setattr(errors, "verdict_of", lambda outcomes, evidence: original(outcomes, alpha=0.25))
    with ThreadPoolExecutor(2) as pool:
        table = errors.error_table(pool, 300, short=True)  # type: ignore[arg-type]
    assert not table.kept
    assert "NOT KEPT" in str(table)


original = errors.verdict_of


def test_staged_looks_change_no_verdict() -> None:
    rng = np.random.default_rng(2)
    for theta in (0.5, 0.56, 0.7):
        (outcomes,) = coin(theta)(rng, errors.LIMIT)
        replay = Replay(errors.PAIRWISE, alpha=errors.ALPHA)
        replay.extend([outcomes])
        assert errors.verdict_of([outcomes]) == (replay.verdict, replay.decided_at)


def test_a_family_is_settled_as_the_product_settles_it() -> None:
    from tests.claims.test_evaluate import result

    rng = np.random.default_rng(3)
    raised = 0
    for _ in range(12):
        claims = [coin(theta)(rng, 300)[0] for theta in (0.9, 0.64, 0.6, 0.56)]
        decisions = [
            decide([Comparison("A", claim)], alpha=errors.ALPHA / 4, margins=errors.WINS, limit=300) for claim in claims
        ]
        results = [result(decision.p_value, decision.verdict, size=4) for decision in decisions]
        settled = [claim.name == "supported" for claim in settle_families(results, errors.ALPHA)]
        assert supported_in_family(claims, 4) == settled
        raised += sum(settled) - sum(decision.verdict == "supported" for decision in decisions)
    assert raised > 0


def test_peeking_takes_the_best_look() -> None:
    from scipy.stats import binomtest

    (outcomes,) = coin(0.6)(np.random.default_rng(4), 512)
    wins = [int((outcomes[:n] == Outcome.WIN).sum()) for n in LOOKS]
    by_scipy = min(binomtest(win, n, alternative="greater").pvalue for win, n in zip(wins, LOOKS, strict=True))
    assert min_p_over_looks(outcomes) == pytest.approx(by_scipy)


@pytest.mark.parametrize("method", METHODS)
def test_every_rival_prefers_the_better(method: str) -> None:
    def highest(theta: float) -> float:
        (outcomes,) = coin(theta)(np.random.default_rng(5), 512)
        path = METHODS[method](outcomes)
        assert path.shape == (512,)
        return float(path.max())

    assert highest(0.7) > highest(0.5)


@pytest.mark.skipif(importlib.util.find_spec("ville") is None, reason="ville is not installed")
def test_ville_covers_as_we_do() -> None:
    """Another martingale's 95% sequence and ours hold the truth alike; their endpoints need not agree."""
    from ville import BettingCS

    from lossact.stats.betting import Counts, lower_bound, upper_bound

    rng = np.random.default_rng(6)
    for theta in (0.35, 0.6):
        values: Outcomes = (rng.random(400) < theta).astype(np.int8)
        wins = int(values.sum())
        counts = [Counts.of(wins, 0, 400 - wins)]
        ours = lower_bound(counts, 0.025), upper_bound(counts, 0.025)
        theirs = BettingCS(alpha=0.05, grid=2001).fit(values.astype(float)).interval()
        assert ours[0] < theta < ours[1]
        assert theirs[0] < theta < theirs[1]
        assert max(ours[0], theirs[0]) < min(ours[1], theirs[1])


TITLES = {
    "coverage": "Coverage",
    "widths": "Widths",
    "families": "Families",
    "errors": "False verdicts",
    "orderings": "Orderings",
    "power": "Replicas to a verdict",
    "exact": "Exact recursion",
    "verdicts": "Reaching and equivalence",
    "maps": "Maps",
    "recorded": "Recorded runs, a fixed number",
    "values": "Values",
    "means": "Means",
}


@pytest.mark.parametrize(
    "tables", [["coverage", "families"], pytest.param([*TITLES], marks=pytest.mark.slow)], ids=["two", "all"]
)
def test_the_short_form_runs_end_to_end(
    tables: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On four claims a row; threads stand for its processes, which would import everything again."""
    from lossact.stats.calibration import __main__ as command

    arguments = ["--short", "--processes", "2", "--trials", "nothing.npz", "--only", *tables, "same"]
    monkeypatch.setattr("sys.argv", ["calibration", *arguments])
    monkeypatch.setattr(command, "ProcessPoolExecutor", ThreadPoolExecutor)
    for name in [name for name in vars(command) if name.endswith("_table") and not name.startswith("same")]:
        make = getattr(command, name)
        monkeypatch.setattr(command, name, lambda pool, n, short, make=make: make(pool, 4, short=short))
    monkeypatch.setattr(exact, "HORIZON", 256)
    with pytest.raises(SystemExit, match=r"trials=nothing.npz: not readable"):
        command.main()
    printed = capsys.readouterr().out
    for table in tables:
        assert f"### {TITLES[table]}" in printed


def test_the_recursion_agrees_with_simulation() -> None:
    """Levels and mean replicas of a coin, against verdicts of simulated claims."""
    horizon, runs = 256, 800
    support = exact.wins_needed(0.5, errors.ALPHA, MIXTURE, horizon)
    losses = exact.wins_needed(0.4, errors.ALPHA, MIXTURE, horizon)
    end = exact.follow(0.6, support, losses)
    rng = np.random.default_rng(7)
    simulated = [errors.verdict_of(coin(0.6)(rng, horizon)) for _ in range(runs)]
    supported = np.mean([verdict == "supported" for verdict, _ in simulated])
    replicas = np.array([at or horizon for _, at in simulated])
    assert supported == pytest.approx(end.supported, abs=4 * np.sqrt(end.supported * (1 - end.supported) / runs))
    assert replicas.mean() == pytest.approx(end.replicas, abs=4 * replicas.std() / np.sqrt(runs))


def test_the_recursion_agrees_with_every_path_of_ten_replicas() -> None:
    support = exact.wins_needed(0.5, 0.2, MIXTURE, 10)
    losses = exact.wins_needed(0.4, 0.2, MIXTURE, 10)
    supported = refuted = replicas = 0.0
    for path in itertools.product((0, 1), repeat=10):
        probability = math.prod(0.7 if win else 0.3 for win in path)
        wins = np.cumsum(path)
        for n in range(1, 11):
            done = wins[n - 1] >= support[n - 1], n - wins[n - 1] >= losses[n - 1]
            if any(done) or n == 10:
                supported, refuted = supported + probability * done[0], refuted + probability * done[1]
                replicas += probability * n
                break
    end = exact.follow(0.7, support, losses)
    assert (end.supported, end.refuted, end.replicas) == pytest.approx((supported, refuted, replicas))


def test_equivalence_by_recursion_agrees_with_simulation() -> None:
    end = exact.follow_equivalence(0.52, delta=0.2, horizon=300)
    rng = np.random.default_rng(8)
    runs = [errors.verdict_of(coin(0.52)(rng, 300), evidence=EquivalenceEvidence(0.2)) for _ in range(1000)]
    assert np.mean([verdict == "supported" for verdict, _ in runs]) == pytest.approx(end.supported, abs=0.04)
    assert np.mean([at or 300 for _, at in runs]) == pytest.approx(end.replicas, rel=0.05)
