from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossact import Accuracy, Condition, Experiment, Store, evaluate, faster, ordering
from lossact.claims.result import ClaimResult, as_dict, settle_families
from lossact.claims.verdict_summary import Estimate, VerdictSummary
from lossact.stats import VerdictName
from lossact.storage import Trials
from tests.conftest import report_condition

FAST, SLOW, NEVER = (replace(report_condition(), version=name, name=name) for name in ("fast", "slow", "never"))


class Scripted:
    """Stands where an Experiment stands, with trials that are drawn and not trained."""

    def __init__(self) -> None:
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
    cold, found = (evaluate(faster(pair[0], than=pair[1]), experiment=one) for one in (experiment, warm))
    assert replace(found, seconds=0.0) == replace(cold, seconds=0.0)


def test_the_story_counts_replicas_that_tell_it_strictly_and_whole() -> None:
    verdict = decide(ordering(FAST, SLOW))
    script = Scripted()
    n = verdict.decision.replicas
    told = sum(a < b <= 1000 for a, b in zip(script.steps[FAST][:n], script.steps[SLOW][:n], strict=True))
    assert (verdict.single_run_agreement.successes, verdict.single_run_agreement.n) == (told, n)
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


def test_crossing_curves_are_warned_about() -> None:
    script = Scripted()
    rng = np.random.default_rng(1)
    often = rng.random(2048) < 0.6
    script.steps[FAST] = np.where(often, 10, 900)
    script.steps[SLOW] = np.full(2048, 300)
    verdict = evaluate(faster(FAST, than=SLOW), experiment=script)  # type: ignore[arg-type]
    assert verdict.decision.value > 0.5
    assert "point opposite ways: fast uses" in verdict.warnings[0]


def result(p_value: float, verdict: VerdictName, *, family: str = "f", size: int = 2) -> ClaimResult:
    effect = Estimate("win probability", 0.55, 0.45, 0.65, 0.95)
    summary = VerdictSummary(verdict, "limit reached", effect, budget=None, replicas=64, decided_at=None)
    return ClaimResult(
        id="t", statement="s", source="", recorded=None, family=family, family_size=size, family_declared=True,
        family_folder=family, decides=True, verdict=summary, sentence="",
        p_value=p_value, warnings=(), keys=(("a", "k"),),
    )  # fmt: skip


def test_holm_turns_inconclusive_into_supported_and_nothing_else() -> None:
    results = [result(0.001, "supported"), result(0.02, "inconclusive"), result(0.02, "inconclusive", family="g")]
    settled = settle_families(results, 0.025)
    assert [one.name for one in settled] == ["supported", "supported", "inconclusive"]
    assert settled[1].by_holm
    assert settled[1].verdict.reason == "by Holm's procedure; inconclusive by itself: limit reached"
    refuted = settle_families([result(0.001, "supported"), result(0.001, "refuted")], 0.025)
    assert [one.name for one in refuted] == ["supported", "refuted"]


def test_missing_members_of_a_family_count() -> None:
    alone = settle_families([result(0.02, "inconclusive", size=2)], 0.025)
    assert alone[0].name == "inconclusive"


def test_a_result_survives_the_way_between_processes() -> None:
    one = result(0.5, "refuted")
    assert ClaimResult.from_dict(as_dict(one)) == one


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
