import numpy as np
import pytest

from lossact import Condition, Experiment, Store, equivalent, exact, faster, plan
from lossact.claims.evaluate import evaluate
from lossact.errors import LossactError
from lossact.stats import Comparison, EquivalenceEvidence, Margins, Outcome, PairwiseEvidence, decide
from lossact.stats.planning import replicas_at
from tests.pytest_plugin.conftest import CONDITIONS

NAMES: dict[str, Condition] = {}
exec(CONDITIONS, NAMES)  # the conditions that tests of the plugin write into files
EASY, HARD = NAMES["EASY"], NAMES["HARD"]


def deviations() -> list[float]:
    return [0.0]


@pytest.mark.parametrize("share", [0.6, 0.7, 0.9, 1.0])
def test_the_expected_path_crosses_where_a_sequence_of_such_shares_does(share: float) -> None:
    planned = replicas_at(PairwiseEvidence(Margins.of_wins(0.1)), share, comparisons=1, alpha=0.025, limit=2048)
    pattern = np.array([int((k + 1) * share) - int(k * share) for k in range(2048)])
    outcomes = np.where(pattern == 1, Outcome.WIN, Outcome.LOSS).astype(np.int8)
    decided = decide([Comparison("a", outcomes)], alpha=0.025, margins=Margins.of_wins(0.1), limit=2048).decided_at
    assert planned is not None
    assert decided is not None
    assert abs(planned - decided) <= 0.1 * decided + 3


def test_no_effect_is_what_equivalence_needs_most_replicas_to_show() -> None:
    needed = [
        replicas_at(EquivalenceEvidence(0.1), share, comparisons=1, alpha=0.025, limit=4096) for share in (0.5, 0.9)
    ]
    assert needed[0] is not None
    assert needed[1] is not None
    assert needed[0] > 200 > 30 > needed[1]
    assert replicas_at(EquivalenceEvidence(0.1), 0.5, comparisons=1, alpha=0.025, limit=100) is None


def test_a_plan_trains_one_block_and_a_verdict_goes_on_from_it() -> None:
    with Store(None) as store:
        experiment = Experiment(store=store)
        claim = faster(EASY, than=HARD)
        planned = plan(claim, experiment=experiment, family_size=3)
        assert experiment.trained_replicas == 2 * planned.block
        assert [effect.name for effect in planned.effects] == ["none", "small", "medium", "large"]
        assert [effect.probability for effect in planned.effects] == pytest.approx([0.5, 0.6, 0.7, 0.9])
        replicas = [effect.replicas for effect in planned.effects]
        assert replicas[3] == planned.block
        assert replicas[1] is not None
        assert replicas[1] > planned.block
        assert planned.seconds_per_replica is not None
        assert planned.effects[1].seconds == pytest.approx(planned.seconds_per_replica * replicas[1])
        assert "effect small  (0.60): about" in str(planned)
        assert f"easy {planned.reached['easy']} of {planned.block}" in str(planned)
        again = plan(claim, experiment=experiment)
        assert again.seconds_per_replica is None
        assert "stored already" in str(again)
        evaluate(claim, experiment=experiment, max_replicas=planned.block)
        assert experiment.trained_replicas == 2 * planned.block


def test_where_nothing_is_trained_there_is_nothing_to_plan() -> None:
    planned = plan(exact("one is one", deviations=deviations, tolerance=1e-9))
    assert planned.effects == ()
    assert "nothing is trained" in str(planned)


def test_what_is_no_hypothesis_has_no_plan() -> None:
    with pytest.raises(LossactError, match="is not a hypothesis"):
        plan("faster")  # type: ignore[arg-type]


def test_a_claim_that_is_out_of_time_is_open_and_goes_on_next_time() -> None:
    with Store(None) as store:
        claim = equivalent(EASY, HARD)
        experiment = Experiment(store=store)
        verdict = evaluate(faster(HARD, than=EASY), experiment=experiment, max_seconds=1e-9, alpha=1e-40)
        assert verdict.name == "inconclusive"
        assert verdict.decision.reason.startswith("time (1e-09 s) was up after 64 replicas")
        trained = experiment.trained_replicas
        unlimited = evaluate(claim, experiment=experiment, max_replicas=64)
        assert experiment.trained_replicas == trained
        assert "limit reached" in unlimited.decision.reason or unlimited.name != "inconclusive"
