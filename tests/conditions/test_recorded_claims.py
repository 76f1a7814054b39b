"""What claims say about recorded runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lossact import (
    FunctionCondition,
    LossactError,
    RecordedRuns,
    equivalent,
    evaluate,
    faster,
    fastest,
    gap_grows,
    not_worse,
    ordering,
    reaches,
)
from lossact.errors import ClaimError
from tests.conditions.recorded_tables import HEADER, curves, read, table, write


def test_a_claim_is_decided_by_a_fixed_number_of_runs(tmp_path: Path) -> None:
    runs = table(tmp_path, {"adam": [1, 2, 2, 3], "sgd": [5, 6, 7, 5, 6]})
    verdict = evaluate(faster(runs["adam"], than=runs["sgd"]))
    assert verdict.name == "supported"
    assert "4 and 5 recorded runs; a fixed number" in str(verdict)
    assert "confidence sequence" not in str(verdict)
    content = verdict.to_json()
    assert content["sample"] == "4 and 5 recorded runs; a fixed number"
    assert content["evidence"] == {"support": None, "refute": None}
    assert verdict.decision.p_value == pytest.approx(1 / 126)
    assert evaluate(faster(runs["sgd"], than=runs["adam"])).name == "inconclusive"


def test_too_few_runs_are_mentioned_first(tmp_path: Path) -> None:
    runs = table(tmp_path, {"adam": [1, 2, 3], "sgd": [5, 6, 7]})
    verdict = evaluate(faster(runs["adam"], than=runs["sgd"]))
    assert str(verdict).startswith(
        "INCONCLUSIVE (too few runs to show it: no smaller p than 0.05 is possible, and 0.025"
    )
    assert "4 of each could" in str(verdict)


def test_a_pair_whose_order_an_end_hides_decides_nothing(tmp_path: Path) -> None:
    """Runs of adam that end at step 2, before any of them met the target, may be sooner or later than sgd's."""
    rows = [
        row for row in curves({"adam": [9] * 6, "sgd": [4, 5, 6, 4, 5, 6]}) if row[0] == "sgd" or int(str(row[2])) < 3
    ]
    runs = read(write(tmp_path / "runs.csv", rows))
    for hypothesis in (faster(runs["adam"], than=runs["sgd"]), faster(runs["sgd"], than=runs["adam"])):
        verdict = evaluate(hypothesis)
        assert verdict.name == "inconclusive"
        assert verdict.decision.undecided == 36
        assert verdict.decision.low < 0.1
        assert verdict.decision.high > 0.9


def test_orderings_ratios_and_rates(tmp_path: Path) -> None:
    runs = table(tmp_path, {"a": [1, 1, 2, 1, 2, 1], "b": [4, 5, 4, 5, 4, 5], "c": [9, 8, 9, 12, 9, 8]})
    a, b, c = runs.values()
    assert evaluate(ordering(a, b, c)).name == "supported"
    assert evaluate(fastest(a, of=[b, c])).name == "supported"
    assert evaluate(faster(a, than=b, ratio=2.0)).name == "supported"
    assert evaluate(faster(b, than=a)).name == "refuted"
    reversed_order = evaluate(ordering(c, b, a))
    assert reversed_order.name == "refuted"
    assert reversed_order.decision.reason == "at most negligibly faster; broken: c before b, c before a, b before a"
    assert evaluate(not_worse(a, than=c)).name == "supported"
    assert evaluate(equivalent(a, b)).decision.reason.endswith("181 of each could")
    assert evaluate(reaches(a, low=0.5, high=0.9)).name == "supported"
    assert evaluate(reaches(c, low=0.995, high=0.999)).decision.reason == "below 0.999"
    assert evaluate(reaches(c, low=0.9, high=0.95)).decision.wins == 5


def test_pairs_are_matched_by_their_column(tmp_path: Path) -> None:
    rows = [
        (name, f"{name}{seed}", step, float(target - step) + 0.1 * seed * (step < target), seed)
        for name, targets in {"a": [2, 4, 6, 3, 5, 7], "b": [3, 5, 7, 4, 6, 8]}.items()
        for seed, target in enumerate(targets)
        for step in range(11)
    ]
    rows = [*rows[66:], *rows[:66][::-1]]
    runs = read(write(tmp_path / "runs.csv", rows, [*HEADER, "seed"]), pair="seed")
    verdict = evaluate(faster(runs["a"], than=runs["b"]))
    assert verdict.name == "supported"
    assert verdict.decision.p_value == pytest.approx(1 / 64)
    assert "6 pairs of recorded runs; a fixed number" in str(verdict)
    unpaired = read(tmp_path / "runs.csv", value="loss")
    assert evaluate(faster(unpaired["a"], than=unpaired["b"])).name == "inconclusive"


def test_extendable_runs_use_evidence_that_may_be_looked_at(tmp_path: Path) -> None:
    runs = table(tmp_path, {"a": [1, 2] * 6, "b": [7, 8] * 6}, extendable=True)
    verdict = evaluate(faster(runs["a"], than=runs["b"]))
    assert verdict.name == "supported"
    assert "more may follow" in str(verdict)
    with pytest.raises(ClaimError, match="without extendable=True"):
        evaluate(equivalent(runs["a"], runs["b"]))


def train(seed: int) -> int:
    return 1


BAD_CLAIMS: dict[str, tuple[Callable[[dict[str, RecordedRuns]], Any], str]] = {
    "mixed": (
        lambda runs: faster(runs["adam"], than=FunctionCondition(train=train, budget=10)),
        "was recorded and train is to be trained",
    ),
    "interaction": (
        lambda runs: gap_grows(
            (runs["adam"], runs["sgd"]),
            to=(runs["adam"].to_target(at_most=1.0), runs["sgd"].to_target(at_most=1.0)),
        ),
        "is not decided from recorded runs|must have different names",
    ),
}


@pytest.mark.parametrize(("claim", "message"), BAD_CLAIMS.values(), ids=BAD_CLAIMS)
def test_meaningless_claims_are_refused(
    claim: Callable[[dict[str, RecordedRuns]], Any], message: str, tmp_path: Path
) -> None:
    runs = table(tmp_path, {"adam": [3, 4], "sgd": [5, 6]})
    with pytest.raises(ClaimError, match=message):
        evaluate(claim(runs))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"at_most": None}, "no target is given; try read_runs"),
        ({"at_most": 100.0}, "all 2 runs met the target at step 0"),
    ],
)
def test_claims_about_steps_need_a_target_that_is_not_met_at_the_start(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    runs = table(tmp_path, {"adam": [3, 4], "sgd": [5, 6]}, **changes)
    with pytest.raises(LossactError, match=message):
        evaluate(faster(runs["adam"], than=runs["sgd"]))
