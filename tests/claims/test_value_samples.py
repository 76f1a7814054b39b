"""The numbers behind claims about values: beside plain loops, and the estimates that verdicts report."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from lossact import (
    Hypothesis,
    Verdict,
    all_of,
    at_least,
    at_most,
    decreases,
    equivalent_in,
    evaluate,
    exceeds,
    faster,
    higher,
    highest,
    increases,
    lower,
)
from lossact.claims.value_samples import Sample, ValueSamples
from lossact.storage import Trials
from tests.claims.test_recorded_values import ADAM, SGD, values
from tests.claims.test_values import FAST, SLOW, A, B, C, trials, verdict_on

RNG = np.random.default_rng(7)
N = 60
FIRST, SECOND, THIRD = (RNG.normal(mean, size=N) for mean in (0.9, 0.0, 0.3))
LOST = np.arange(N) % 10 == 3


def only(verdict: Verdict) -> ValueSamples:
    (samples,) = verdict.value_samples
    return samples


def numbers(sample: Sample) -> list[float]:
    return list(sample.numbers)


@pytest.mark.parametrize(
    ("claim", "margins"),
    [
        (higher("m", A, than=B), ()),
        (higher("m", A, than=B, by=0.2), (0.2,)),
        (lower("m", A, than=B, by=0.2), (-0.2,)),
        (equivalent_in("m", A, B, within=0.5), (-0.5, 0.5)),
        (higher("m", A, than=B, by=0.2, of="mean", value_range=(-9, 9)), (0.2,)),
        (lower("m", A, than=B, of="mean", normal=True), ()),
    ],
)
def test_a_pair_has_its_values_its_differences_and_the_reported_estimate(
    claim: Hypothesis, margins: tuple[float, ...]
) -> None:
    verdict = verdict_on(claim, trials(FIRST), trials(SECOND))
    samples = only(verdict)
    assert [row.name for row in samples.values] == ["A", "B"]
    assert [numbers(row) for row in samples.values] == [FIRST.tolist(), SECOND.tolist()]
    (row,) = samples.compared
    assert row.name == "A minus B"
    assert numbers(row) == [a - b for a, b in zip(FIRST, SECOND, strict=True)]
    assert row.estimate == verdict.difference
    assert (samples.margins, samples.unit, samples.are_differences) == (margins, "", True)


def test_accuracies_are_in_percent_where_differences_are_in_points() -> None:
    a, b = (trials(np.tile([low, 0.75], 20).astype(np.float32), name="accuracy") for low in (0.5, 0.25))
    samples = only(verdict_on(higher("accuracy", FAST, than=SLOW, by=0.125), a, b))
    assert (samples.unit, samples.compared_unit, samples.margins) == ("%", "points", (12.5,))
    assert numbers(samples.values[1])[:2] == [25, 75]
    assert numbers(samples.compared[0])[:2] == [25, 0]


@pytest.mark.parametrize(("claim", "worst"), [(higher, -math.inf), (lower, math.inf)])
def test_a_replica_that_diverged_has_no_value_and_the_worst_difference(
    claim: Callable[..., Hypothesis], worst: float
) -> None:
    samples = only(verdict_on(claim("m", A, than=B), trials(FIRST, LOST), trials(SECOND)))
    first, second = samples.values
    assert (first.diverged, second.diverged) == (6, 0)
    for replica, lost in enumerate(LOST):
        difference = samples.compared[0].numbers[replica]
        assert math.isnan(first.numbers[replica]) == lost
        assert difference == (worst if lost else FIRST[replica] - SECOND[replica])


def test_both_diverged_is_no_difference() -> None:
    samples = only(verdict_on(higher("m", A, than=B), trials(FIRST, LOST), trials(SECOND, LOST)))
    assert [math.isnan(number) for number in samples.compared[0].numbers] == LOST.tolist()


@pytest.mark.parametrize("claim", [at_least, at_most])
@pytest.mark.parametrize("options", [{}, {"of": "mean", "normal": True}])
def test_a_claim_about_one_condition_compares_its_values(
    claim: Callable[..., Hypothesis], options: dict[str, str]
) -> None:
    verdict = verdict_on(claim("m", A, 0.5, **options), trials(FIRST))
    samples = only(verdict)
    assert (samples.values, samples.margins, samples.are_differences) == ((), (0.5,), False)
    (row,) = samples.compared
    assert (row.name, numbers(row)) == ("A", FIRST.tolist())
    assert row.estimate is not None
    assert row.estimate.value == pytest.approx(FIRST.mean() if options else np.median(FIRST))


def test_the_highest_is_compared_with_each_other_and_the_least_difference_is_the_reported_one() -> None:
    verdict = verdict_on(highest("m", A, of=[A, B, C]), trials(FIRST), trials(SECOND), trials(THIRD))
    rows = only(verdict).compared
    assert [row.name for row in rows] == ["A minus B", "A minus C"]
    assert numbers(rows[1]) == (FIRST - THIRD).tolist()
    assert [row.estimate and row.estimate.value for row in rows] == pytest.approx(
        [np.median(FIRST - SECOND), np.median(FIRST - THIRD)]
    )
    assert rows[1].estimate == verdict.difference


@pytest.mark.parametrize("claim", [increases, decreases])
def test_a_trend_has_its_settings_and_the_difference_of_its_ends(claim: Callable[..., Hypothesis]) -> None:
    verdict = verdict_on(claim("m", [(1, B), (2, C), (8, A)]), trials(SECOND), trials(THIRD), trials(FIRST))
    samples = only(verdict)
    assert samples.settings == (1, 2, 8)
    assert [row.name for row in samples.values] == ["B", "C", "A"]
    assert numbers(samples.compared[0]) == (FIRST - SECOND).tolist()
    assert samples.compared[0].estimate == verdict.difference


def test_a_number_of_ones_own_comes_with_the_values_that_it_is_made_of() -> None:
    def gap(a: Trials, b: Trials) -> ArrayLike:
        return a.values["m"] - 2 * b.values["m"]

    own, measured = verdict_on(exceeds(gap, 0.25, of=[A, B]), trials(FIRST), trials(SECOND)).value_samples
    assert (own.measure, own.margins, own.compared[0].estimate) == ("gap", (0.25,), None)
    assert numbers(own.compared[0]) == (FIRST - 2 * SECOND).tolist()
    assert (measured.measure, measured.compared) == ("m", ())
    assert [numbers(row) for row in measured.values] == [FIRST.tolist(), SECOND.tolist()]


def test_members_of_a_joint_claim_have_their_own_samples_and_estimates() -> None:
    members = [higher("m", A, than=B), at_least("m", A, 0.5)]
    joint = verdict_on(all_of(*members), trials(FIRST), trials(SECOND)).value_samples
    assert joint[0] == only(verdict_on(members[0], trials(FIRST), trials(SECOND)))
    assert joint[1] == only(verdict_on(members[1], trials(FIRST)))


def test_claims_about_updates_have_none() -> None:
    reached = Trials(np.arange(N) % 9, np.ones(N, bool), np.zeros(N, bool), 10)
    assert verdict_on(faster(A, than=B), reached, reached).value_samples == ()
    assert verdict_on(increases("steps", [(1, A), (2, B)]), reached, reached).value_samples == ()


def test_recorded_runs_have_differences_where_they_are_paired(tmp_path: Path) -> None:
    runs = values(tmp_path)
    unpaired = evaluate(higher("accuracy", runs["adam"], than=runs["sgd"]))
    samples = only(unpaired)
    assert [numbers(row) for row in samples.values] == [ADAM, SGD]
    assert numbers(samples.compared[0]) == []
    assert samples.compared[0].estimate == unpaired.difference
    paired = values(tmp_path, {"adam": ADAM[:7], "sgd": SGD}, pair="seed")
    verdict = evaluate(higher("accuracy", paired["adam"], than=paired["sgd"]))
    assert numbers(only(verdict).compared[0]) == pytest.approx([a - b for a, b in zip(ADAM[:7], SGD, strict=True)])
    assert only(verdict).compared[0].estimate == verdict.difference


def test_samples_travel_as_plain_values() -> None:
    verdict = verdict_on(higher("m", A, than=B), trials(FIRST, LOST), trials(SECOND, LOST & (FIRST > 0.9)))
    samples = only(verdict)
    again = ValueSamples.from_dict(json.loads(json.dumps(asdict(samples))))
    assert repr(again) == repr(samples)  # NaN is not equal to itself
