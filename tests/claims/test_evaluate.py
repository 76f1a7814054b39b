from collections.abc import Generator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossact import (
    Accuracy,
    Condition,
    Experiment,
    FunctionCondition,
    Store,
    all_of,
    equivalent,
    evaluate,
    exact,
    faster,
    ordering,
    reaches,
    slowest,
)
from lossact.claims.evaluate import look_sizes
from lossact.claims.result import ClaimResult, as_dict, settle_families
from lossact.claims.verdict_summary import Estimate, VerdictSummary
from lossact.errors import LossactError
from lossact.report.markdown import write_markdown
from lossact.report.run_info import RunInfo
from lossact.report.table import verdict_table
from lossact.running.stacking import replica_seed
from lossact.stats import VerdictName
from lossact.storage import Trials
from tests.conftest import report_condition

FAST, SLOW, NEVER = (replace(report_condition(), version=name, name=name) for name in ("fast", "slow", "never"))


class Scripted:
    """Stands where an Experiment stands, with trials that are drawn and not trained."""

    def __init__(self) -> None:
        self.one_at_a_time: dict[Condition, str] = {}
        rng = np.random.default_rng(0)
        self.steps = {
            FAST: rng.integers(0, 800, 2048),
            SLOW: rng.integers(200, 1400, 2048),
            NEVER: np.full(2048, 5000),
        }

    def looks(self, conditions: Sequence[Condition], sizes: Sequence[int]) -> Generator[list[Trials], None, None]:
        for replicas in sizes:
            yield [self.first(replicas, condition) for condition in conditions]

    def first(self, replicas: int, condition: Condition) -> Trials:
        steps = self.steps[condition][:replicas]
        reached = steps <= 1000
        return Trials(np.where(reached, steps, 0), reached, np.zeros(len(steps), bool), 1000)

    def key(self, condition: Condition) -> str:
        return condition.name


def decide(hypothesis: Any, **options: Any) -> Any:
    verdict = evaluate(hypothesis, experiment=Scripted(), **options)  # type: ignore[arg-type]
    return replace(verdict, seconds=0.0)


@pytest.mark.parametrize("held", [64, 640])
def test_a_verdict_does_not_depend_on_what_the_store_holds(held: int, tmp_path: Path, experiment: Experiment) -> None:
    pair = [
        replace(report_condition(loss=loss, budget=60), target=Accuracy().at_least(0.7))
        for loss in ("cross_entropy", "l2")
    ]
    warm = Experiment(store=Store(tmp_path / "warm"), compute_config=experiment.compute_config)
    warm.trials(pair, held)
    cold, stored = (evaluate(faster(pair[0], than=pair[1]), experiment=each) for each in (experiment, warm))
    assert replace(stored, seconds=0.0) == replace(cold, seconds=0.0)


def test_single_run_agreement_counts_replicas_in_the_whole_strict_order() -> None:
    verdict = decide(ordering(FAST, SLOW))
    script = Scripted()
    n = verdict.decision.replicas
    strictly = sum(a < b <= 1000 for a, b in zip(script.steps[FAST][:n], script.steps[SLOW][:n], strict=True))
    assert (verdict.single_run_agreement.successes, verdict.single_run_agreement.n) == (strictly, n)
    assert decide(ordering(FAST, NEVER)).single_run_agreement.successes == 0


def test_the_limit_is_whole_blocks() -> None:
    verdict = decide(faster(FAST, than=replace(FAST, version="slow", name="slow")), max_replicas=1)
    assert verdict.decision.replicas == 64


def test_nobody_arriving_is_inconclusive() -> None:
    other = replace(NEVER, version="never ", name="never either")
    script = Scripted()
    script.steps[other] = script.steps[NEVER]
    verdict = evaluate(faster(NEVER, than=other), experiment=script)  # type: ignore[arg-type]
    assert (verdict.name, verdict.decision.reason) == ("inconclusive", "budget too short")
    assert verdict.conditions[0].median_steps_to_target is None


def test_same_conditions_do_not_cross() -> None:
    """Two conditions alike: means that differ by chance are no crossing, in any of forty pairs."""
    script = Scripted()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        script.steps[FAST], script.steps[SLOW] = rng.integers(0, 1400, (2, 2048))
        verdict = evaluate(faster(FAST, than=SLOW), experiment=script)  # type: ignore[arg-type]
        assert not any("cross" in warning for warning in verdict.warnings)


def test_crossing_curves_are_warned_about() -> None:
    script = Scripted()
    rng = np.random.default_rng(1)
    often = rng.random(2048) < 0.6
    script.steps[FAST] = np.where(often, 250, 950)
    script.steps[SLOW] = np.full(2048, 300)
    verdict = evaluate(faster(FAST, than=SLOW), experiment=script)  # type: ignore[arg-type]
    assert verdict.decision.value > 0.5
    assert "point opposite ways: fast uses" in verdict.warnings[-1]


def result(p_value: float, verdict: VerdictName, *, family: str = "f", size: int = 2) -> ClaimResult:
    effect = Estimate("win probability", 0.55, 0.45, 0.65, 0.95)
    summary = VerdictSummary(verdict, "limit reached", effect, budget=None, replicas=64, decided_at=None)
    return ClaimResult(
        id="t", statement="s", source="", recorded=None, family=family, family_size=size, family_declared=True,
        family_folder=family, decides=True, verdict=summary, sentence="",
        p_value=p_value, thresholds=(0.5, 0.6), warnings=(), keys=(("a", "k"),),
    )  # fmt: skip


def test_holm_turns_inconclusive_into_supported_and_nothing_else() -> None:
    results = [result(0.001, "supported"), result(0.02, "inconclusive"), result(0.02, "inconclusive", family="g")]
    settled = settle_families(results, 0.025)
    assert [claim.name for claim in settled] == ["supported", "supported", "inconclusive"]
    assert settled[1].by_holm
    assert settled[1].verdict.effect.low == 0.5  # where it was 0.45 at the level that did not suffice
    assert settled[1].verdict.reason == "by Holm's procedure; inconclusive by itself: limit reached"
    refuted = settle_families([result(0.001, "supported"), result(0.001, "refuted")], 0.025)
    assert [claim.name for claim in refuted] == ["supported", "refuted"]


def test_missing_members_of_a_family_count() -> None:
    alone = settle_families([result(0.02, "inconclusive", size=2)], 0.025)
    assert alone[0].name == "inconclusive"


def test_a_result_survives_the_way_between_processes() -> None:
    claim = result(0.5, "refuted")
    assert ClaimResult.from_dict(as_dict(claim)) == claim


def test_a_real_verdict_reads_as_text(experiment: Experiment) -> None:
    verdict = evaluate(
        faster(report_condition("sigmoid"), than=report_condition("sigmoid", "l2")),
        experiment=experiment,
        max_replicas=64,
    )
    assert str(verdict).startswith(
        "SUPPORTED: sigmoid/cross_entropy reaches the target before sigmoid/l2\nwin probability 0.9"
    )
    assert "within 1000 updates, 64 replicas, decided at replica" in str(verdict)


def test_a_ratio_is_not_warned_about_where_nothing_crosses() -> None:
    script = Scripted()
    script.steps[FAST], script.steps[SLOW] = np.full(2048, 100), np.full(2048, 150)
    verdict = evaluate(faster(FAST, than=SLOW, ratio=2), experiment=script)  # type: ignore[arg-type]
    assert (verdict.name, verdict.warnings) == ("refuted", ())


def test_looks_begin_with_one_block_and_stay_small() -> None:
    assert look_sizes(64, 2048)[:6] == [64, 128, 192, 256, 320, 384]
    sizes = look_sizes(16, 10**6)
    assert sizes[0] == 16
    assert sizes[-1] == 10**6
    assert all(b - a <= max(16, a / 4) for a, b in pairwise(sizes))
    assert len(sizes) < 60
    assert look_sizes(64, 256, at_least=100) == [128, 192, 256]
    assert look_sizes(16, 200, launch=64) == [16, 64, 128, 192, 200]


def test_more_replicas_than_the_verdict_needs_sharpen_its_effect_alone() -> None:
    few, many = decide(faster(FAST, than=SLOW)), decide(faster(FAST, than=SLOW), min_replicas=1000)
    assert few.decision.replicas == 64
    assert many.decision.replicas == 1024
    assert (few.name, few.decision.decided_at) == (many.name, many.decision.decided_at)
    assert many.decision.high - many.decision.low < few.decision.high - few.decision.low
    with pytest.raises(LossactError, match="min_replicas=65 must be <= max_replicas=64"):
        decide(faster(FAST, than=SLOW), min_replicas=65, max_replicas=64)


def test_a_target_that_nobody_reached_is_said_first() -> None:
    """A condition that is never reached is slower by any ratio: SUPPORTED, and the reader learns why at once."""
    verdict = decide(faster(FAST, than=NEVER, ratio=1.2))
    assert str(verdict).startswith("SUPPORTED (never reached the target in none of 64 replicas): fast reaches")
    assert decide(slowest(NEVER, of=[FAST, SLOW])).decision.reason == "never reached the target in none of 64 replicas"
    assert decide(faster(FAST, than=SLOW)).decision.reason == ""


def test_a_ratio_to_what_never_happened_is_said_wherever_the_verdict_is_shown(
    experiment: Experiment, tmp_path: Path
) -> None:
    """b never arrives: a is three times as fast wherever 3 a <= 30, by a plain loop, and every output says of b why."""

    def train(seed: int, kind: str) -> int | None:
        return int(np.random.default_rng(seed).integers(1, 13)) if kind == "a" else None

    a, b = (FunctionCondition(name=kind, train=train, config={"kind": kind}, budget=30) for kind in "ab")
    verdict = evaluate(faster(a, than=b, ratio=3), min_replicas=64, experiment=experiment)
    d = verdict.decision
    steps = [train(replica_seed(0, replica), "a") or 0 for replica in range(d.replicas)]
    decided = sum(3 * taken <= 30 for taken in steps)
    assert (d.wins, d.undecided) == (decided, d.replicas - decided)
    assert 0 < d.undecided < d.replicas
    assert (d.verdict, d.reason) == ("supported", f"b reached the target in none of {d.replicas} replicas")
    result = ClaimResult.of(
        verdict, experiment, id="x", statement="a is faster", source="", recorded=None, family="f", family_size=1,
        family_declared=True, family_folder="f", decides=True,
    )  # fmt: skip
    table = "\n".join(line.text for line in verdict_table([result], alpha=0.025, delta=0.1, setting="", width=200))
    write_markdown(tmp_path / "claims.md", [result], RunInfo())
    for shown in (str(verdict), table, (tmp_path / "claims.md").read_text(), str(verdict.to_json())):
        assert d.reason in shown
    back = evaluate(faster(b, than=a, ratio=3), max_replicas=64, experiment=experiment)
    assert (back.name, back.decision.reason) == ("refuted", "at most negligibly faster")


def test_all_of_several_hypotheses_is_one_claim() -> None:
    both = all_of(faster(FAST, than=SLOW), reaches(FAST, low=0.6, high=0.8))
    assert both.conditions == (FAST, SLOW)
    assert decide(both).name == "supported"
    wrong = decide(all_of(faster(FAST, than=SLOW), equivalent(FAST, SLOW)))
    assert (wrong.name, wrong.decision.reason) == ("refuted", "broken: fast before slow")
    with pytest.raises(LossactError, match="must have at least two hypotheses"):
        all_of(faster(FAST, than=SLOW))
    with pytest.raises(LossactError, match="is a theorem"):
        all_of(faster(FAST, than=SLOW), exact("0 = 0", deviations=lambda: [0.0], tolerance=1))


def test_what_is_shown_beside_a_verdict_agrees_with_plain_numpy() -> None:
    """The win probability of independent runs over all pairs of runs, and the difference of mean updates."""
    verdict = decide(faster(FAST, than=SLOW), min_replicas=2048)
    script = Scripted()
    a, b = (np.minimum(script.steps[condition], 1001) for condition in (FAST, SLOW))
    summary = verdict.summary()
    assert summary.unpaired_effect is not None
    assert summary.mean_difference is not None
    all_pairs = (a[:, None] < b).mean() + (a[:, None] == b).mean() / 2
    assert summary.unpaired_effect.low < all_pairs < summary.unpaired_effect.high
    assert summary.unpaired_effect.value == pytest.approx(all_pairs, abs=0.03)
    assert summary.mean_difference.value == pytest.approx(np.minimum(b, 1000).mean() - np.minimum(a, 1000).mean())
    assert summary.mean_difference.low < summary.mean_difference.value < summary.mean_difference.high
    assert summary.effect_at_decision is not None
    content = verdict.to_json()
    assert content["mean_difference"]["unit"] == "updates"
    assert content["effect_at_decision"].keys() == {"name", "value", "low", "high", "level"}
    assert decide(ordering(FAST, SLOW)).to_json()["unpaired_effect"] is None


class Diverging(Scripted):
    """All replicas of NEVER diverge."""

    def looks(self, conditions: Any, sizes: Any) -> Any:
        for trials in super().looks(conditions, sizes):
            lost = [np.full(len(each), condition == NEVER) for condition, each in zip(conditions, trials, strict=True)]
            yield [replace(each, diverged=of) for each, of in zip(trials, lost, strict=True)]


def test_that_replicas_diverged_is_said() -> None:
    nobody = evaluate(reaches(NEVER), experiment=Diverging(), max_replicas=64)  # type: ignore[arg-type]
    n = nobody.decision.replicas
    assert f"never: {n} of {n} replicas diverged" in str(nobody)
    faster_than_it = evaluate(faster(FAST, than=NEVER), experiment=Diverging())  # type: ignore[arg-type]
    assert faster_than_it.name == "supported"
    assert "never: " in str(faster_than_it)
    assert "diverged" not in str(evaluate(faster(FAST, than=SLOW), experiment=Diverging()))  # type: ignore[arg-type]
    script = Diverging()
    other = replace(NEVER, version="never ", name="never either")
    script.steps[other] = script.steps[NEVER]
    both = evaluate(faster(NEVER, than=other), experiment=script)  # type: ignore[arg-type]
    assert both.decision.reason == f"all {both.decision.replicas} replicas of never diverged"
