import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossact import (
    Experiment,
    Hypothesis,
    equivalent,
    evaluate,
    exact,
    exceeds,
    faster,
    fastest,
    gap_grows,
    measured,
    not_worse,
    ordering,
    reaches,
    sampled,
    slowest,
)
from lossact.claims import numbers
from lossact.claims.result import ClaimResult
from lossact.errors import ClaimError, LossactError
from lossact.replicas.random_streams import sample_for_replica
from lossact.report.json_file import write_json
from lossact.report.run_info import RunInfo
from lossact.report.table import verdict_table
from lossact.stats import Outcome
from lossact.storage import Trials
from tests.conftest import report_condition

A, B, C, D = (
    replace(report_condition(activation, loss), name=name)
    for (activation, loss), name in zip(
        (("relu", "l2"), ("sigmoid", "l2"), ("relu", "cross_entropy"), ("sigmoid", "cross_entropy")),
        "ABCD",
        strict=True,
    )
)


def trials(*steps: int | None) -> Trials:
    reached = np.array([step is not None for step in steps])
    return Trials(np.array([step or 0 for step in steps]), reached, ~reached & False, 1000)


@pytest.mark.parametrize(
    ("hypothesis", "sentence"),
    [
        (faster(A, than=B), "A reaches the target before B"),
        (faster(A, than=B, ratio=2), "A reaches the target in at most 1/2 of the updates of B"),
        (ordering(A, B, C), "A < B < C"),
        (fastest(A, of=[A, B, C]), "A is the fastest of A, B, C"),
        (slowest(A, of=[B, C]), "A is the slowest of A, B, C"),
        (not_worse(A, than=B), "A reaches the target no later than B"),
        (equivalent(A, B), "A and B reach the target equally soon"),
        (exceeds(lambda a: a.steps, 5, of=[A], name="updates"), "updates exceeds 5 (A)"),
        (gap_grows((A, B), to=(C, D)), "A is ahead of B by fewer updates than C is of D"),
    ],
)
def test_a_hypothesis_reads_as_a_sentence(hypothesis: Hypothesis, sentence: str) -> None:
    assert repr(hypothesis) == sentence
    assert hypothesis.budget == 1000


def test_each_kind_compares_its_pairs() -> None:
    of_three = [trials(1, None), trials(2, 5), trials(3, None)]

    def names(hypothesis: Hypothesis) -> list[str]:
        return [comparison.name for comparison in hypothesis.comparisons(of_three)]

    assert names(ordering(A, B, C)) == ["A before B", "A before C", "B before C"]
    assert names(fastest(A, of=[B, C])) == ["A before B", "A before C"]
    assert names(slowest(A, of=[B, C])) == ["B before A", "C before A"]
    words = [comparison.outcomes.tolist() for comparison in ordering(A, B, C).comparisons(of_three)]
    win, loss, censored = Outcome.WIN, Outcome.LOSS, Outcome.CENSORED
    assert words == [[win, loss], [win, censored], [win, win]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: faster(A, than=A), r"conditions \(A, A\) must differ"),
        (lambda: faster(A, than=replace(A, name="D")), r"conditions \(A, D\) must differ"),
        (lambda: faster(A, than=replace(B, budget=10)), r"budgets \[10, 1000\] of \(A, B\) must be equal"),
        (lambda: faster(A, than="B"), r"'B' is not a condition"),  # type: ignore[arg-type]
        (lambda: faster(A, than=B, ratio=0), r"ratio=0 must be > 0; try 2"),
        (lambda: faster(A, than=B, ratio=float("nan")), r"ratio=nan must be > 0"),
        (lambda: ordering(), r"conditions \(\) must be at least two"),
        (lambda: ordering(A), r"conditions \(A\) must be at least two"),
        (lambda: ordering(A, B, A), r"conditions \(A, B, A\) must differ"),
        (lambda: faster(A, than=replace(B, name="A")), r"conditions \(A, A\) must have different names"),
        (lambda: fastest(A, of=B), r"of=B must be a sequence of conditions; try of=\[B\]"),  # type: ignore[arg-type]
        (lambda: reaches("A"), r"'A' is not a condition"),  # type: ignore[arg-type]
        (lambda: reaches(A, low=0.95, high=0.9), r"high=0.9 must be > 0.95 and < 1"),
        (lambda: reaches(A, low=0), r"low=0 must be > 0 and < 1; try 0.9"),
        (lambda: fastest(A, of=[A]), r"conditions \(A\) must be at least two"),
        (lambda: slowest(A, of=[]), r"conditions \(A\) must be at least two"),
        (lambda: not_worse(A, than=A), r"conditions \(A, A\) must differ"),
        (lambda: equivalent(A, replace(B, budget=10)), r"budgets \[10, 1000\]"),
        (lambda: exceeds(3, 0, of=[A]), r"measure=3 must be a function"),  # type: ignore[arg-type]
        (lambda: exceeds(len, float("nan"), of=[A]), r"margin=nan must be a finite number"),
        (lambda: exceeds(len, 0, of=A), r"of=A must be a sequence of conditions; try of=\[A\]"),  # type: ignore[arg-type]
        (lambda: exceeds(len, 0, of=[]), r"conditions \(\) must be at least one"),
        (lambda: gap_grows((A, B), to=(C, A)), r"must differ"),
        (lambda: gap_grows((A, B), to=C), r"to=.* must be two conditions"),  # type: ignore[arg-type]
        (lambda: sampled("x", 0), r"draw='x' must be a function"),  # type: ignore[arg-type]
        (lambda: exact("0 = 0", deviations=lambda: 0, tolerance=0), r"tolerance=0 must be > 0"),
        (lambda: evaluate(exact("0 = 0", deviations=lambda: [], tolerance=1)), r"was checked nowhere"),
    ],
)
def test_bad_hypotheses_are_named(make: object, message: str) -> None:
    with pytest.raises(LossactError, match=message):
        make()  # type: ignore[operator]


def test_nobody_arrived_shows_no_equality() -> None:
    of_two = [trials(1, None), trials(1, None)]
    assert not_worse(A, than=B).thresholds(0.1) == (0.4, 0.5)
    assert equivalent(A, B).thresholds(0.1) == (0.4, 0.5, 0.6)
    assert reaches(A, low=0.8, high=0.9).thresholds(0.1) == (0.8, 0.9)
    for hypothesis in (not_worse(A, than=B), equivalent(A, B)):
        assert hypothesis.comparisons(of_two)[0].outcomes.tolist() == [Outcome.TIE, Outcome.UNDETERMINED]


def test_an_effect_is_one_number_a_replica() -> None:
    saved = exceeds(lambda a, b: b.restricted_steps - a.restricted_steps, 4, of=[A, B])
    outcomes = saved.comparisons([trials(1, 3, None), trials(6, 7, 990)])[0].outcomes.tolist()
    assert outcomes == [Outcome.WIN, Outcome.TIE, Outcome.LOSS]
    unknown = exceeds(lambda a: np.where(a.reached, 1.0, np.nan), 0, of=[A])
    assert unknown.comparisons([trials(1, None)])[0].outcomes.tolist() == [Outcome.WIN, Outcome.UNDETERMINED]
    with pytest.raises(ClaimError, match=r"shape \(\) for 2 replicas"):
        exceeds(lambda a: a.steps.mean(), 0, of=[A]).comparisons([trials(1, 2)])


def test_a_gap_grows_replica_by_replica() -> None:
    hypothesis = gap_grows((A, B), to=(C, D))
    of_four = [trials(1, 1, 1, None), trials(3, 3, 3, None), trials(1, 1, 1, None), trials(9, 2, None, None)]
    outcomes = hypothesis.comparisons(of_four)[0].outcomes.tolist()
    assert outcomes == [Outcome.WIN, Outcome.LOSS, Outcome.WIN, Outcome.UNDETERMINED]
    assert hypothesis.warnings(None, of_four)[0].startswith("in 25% of the replicas runs cut off at 1000")  # type: ignore[arg-type]


def test_a_gap_that_grows_beyond_the_budget_is_not_refuted() -> None:
    """Gaps of 400 and 1,400 in every replica within 1,000 updates: the later runs are cut off, growth is certain."""
    later = [trials(*[value] * 64) for value in (100, 500, 100, None)]
    outcomes = gap_grows((A, B), to=(C, D)).comparisons(later)[0].outcomes
    assert (outcomes == Outcome.WIN).all()
    shrinks = [trials(*[value] * 64) for value in (100, None, 100, 500)]
    outcomes = gap_grows((A, B), to=(C, D)).comparisons(shrinks)[0].outcomes
    assert (outcomes == Outcome.LOSS).all()
    hidden = [trials(*[value] * 64) for value in (100, None, 100, None)]
    assert (gap_grows((A, B), to=(C, D)).comparisons(hidden)[0].outcomes == Outcome.UNDETERMINED).all()


@pytest.mark.parametrize(
    "draw",
    [lambda generator: generator.normal(), lambda _: np.random.normal(), lambda _: random.gauss()],  # noqa: NPY002
    ids=["its generator", "numpy's", "Python's"],
)
def test_a_sampled_claim_trains_nothing(draw: Callable[[np.random.Generator], float]) -> None:
    verdict = evaluate(sampled(draw, -0.5, name="a normal number"))
    assert verdict.name == "supported"
    assert verdict.to_json()["budget"] is None
    assert verdict.decision.low < 0.691 < verdict.decision.high  # Phi(1/2)
    again = evaluate(sampled(draw, -0.5, name="a normal number"))
    assert again.decision == verdict.decision


def test_an_exact_statement_holds_or_does_not() -> None:
    x = np.linspace(-3, 3, 101)
    true = evaluate(exact("cos^2 + sin^2 = 1", deviations=lambda: np.cos(x) ** 2 + np.sin(x) ** 2 - 1, tolerance=1e-12))
    assert (true.name, true.decision.replicas) == ("supported", 101)
    assert true.to_json()["evidence"] == {"support": None, "refute": None}
    false = evaluate(exact("x = sin x", deviations=lambda: x - np.sin(x), tolerance=1e-12))
    assert (false.name, false.decision.losses) == ("refuted", 100)


def test_a_theorem_that_is_undefined_is_refuted_and_written(tmp_path: Path, experiment: Experiment) -> None:
    undefined = evaluate(exact("0/0 = 1", deviations=lambda: [0.0, np.nan], tolerance=1))
    assert (undefined.name, undefined.decision.losses) == ("refuted", 1)
    result = ClaimResult.of(
        undefined, experiment, id="x", statement="x", source="", recorded=None, family="f", family_size=1,
        family_declared=True, family_folder="f", decides=True,
    )  # fmt: skip
    write_json(tmp_path / "x.json", [result], RunInfo())
    (claim,) = json.loads((tmp_path / "x.json").read_text())["claims"]
    assert claim["effect"]["value"] is None
    (row,) = (line.text for line in verdict_table([result], alpha=0.025, delta=0.1, setting="", width=80)[2:3])
    assert row.startswith("REFUTED       NaN    exact")


def test_missing_numbers_are_not_blamed_on_the_budget() -> None:
    verdict = evaluate(sampled(lambda _: float("nan"), 0, name="nothing"))
    assert (verdict.name, verdict.decision.reason) == ("inconclusive", "too many replicas have no number")


@pytest.mark.parametrize("number", ["x", None, 1j])
def test_a_value_that_is_not_a_number_is_named(number: object) -> None:
    with pytest.raises(ClaimError, match="return numbers, NaN where there is none"):
        evaluate(sampled(lambda _: number, 0))  # type: ignore[arg-type, return-value]
    with pytest.raises(ClaimError, match="return numbers, NaN where there is none"):
        evaluate(exact("x", deviations=lambda: number, tolerance=1))  # type: ignore[arg-type, return-value]


def test_evaluate_wants_a_hypothesis() -> None:
    with pytest.raises(ClaimError, match="3 is not a hypothesis"):
        evaluate(3)  # type: ignore[arg-type]
    with pytest.raises(ClaimError, match=r"^\S+ is a condition, not a hypothesis; compare two"):
        evaluate(A)  # type: ignore[arg-type]
    with pytest.raises(ClaimError, match=r"wants_a_hypothesis is a function, .* what it returns: test_evaluate_wants"):
        evaluate(test_evaluate_wants_a_hypothesis)  # type: ignore[arg-type]


def test_conditions_are_what_is_compared() -> None:
    assert list(faster(A, than=B).conditions) == [A, B]
    assert list(ordering(C, A, B).conditions) == [C, A, B]
    assert list(gap_grows((A, B), to=(C, D)).conditions) == [A, B, C, D]


def test_numbers_that_are_missing_leave_effect_and_interval_in_agreement() -> None:
    def gain(seed: int, replicas: int) -> np.ndarray:
        numbers = np.ones(replicas)
        numbers[256:] = np.nan
        return numbers

    verdict = evaluate(measured(gain, 0), min_replicas=512)
    d = verdict.decision
    assert (d.verdict, d.decided_at, d.value) == ("supported", 10, 1.0)
    assert d.low <= d.value <= d.high
    assert "256 of 512 replicas have no number (NaN)" in verdict.warnings[0]


def test_masked_numbers_are_missing_not_what_the_mask_hides() -> None:
    """Every other number is hidden: -5 stands under the mask, and would refute."""

    def half(seed: int, replicas: int) -> Any:
        return np.ma.masked_less(np.where(np.arange(replicas) % 4 == 3, -5.0, 1.0), 0)

    verdict = evaluate(measured(half, 0), min_replicas=64, max_replicas=64)
    assert (verdict.decision.wins, verdict.decision.losses, verdict.name) == (48, 0, "supported")
    of_trials = exceeds(lambda a: np.ma.masked_less(np.where(a.reached, 1.0, -5.0), 0), 0, of=[A])
    assert of_trials.comparisons([trials(1, None)])[0].outcomes.tolist() == [Outcome.WIN, Outcome.UNDETERMINED]


def test_numbers_that_drift_are_warned_about() -> None:
    def drift(seed: int, replicas: int) -> np.ndarray:
        return np.where(np.arange(replicas) < 256, 1.0, -1.0)

    verdict = evaluate(measured(drift, 0), min_replicas=512)
    assert any("early and late replicas differ" in warning for warning in verdict.warnings)


def test_too_few_numbers_are_named_without_an_invitation_to_repeat_them() -> None:
    gain = np.arange(10.0)
    with pytest.raises(ClaimError, match=r"returned shape \(10,\) for 16 replicas; .*, each from a run of its own and"):
        evaluate(measured(lambda seed, n: gain[:n], 0))


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda a: a.reached.sum(), r"returned shape \(\) for 16 replicas"),
        (lambda a: a.no_such_field, "failed on made-up trials, before anything was trained: AttributeError"),
        (lambda a, b: a.steps, "failed on made-up trials, before anything was trained: TypeError"),
    ],
)
def test_a_measure_is_tried_before_anything_is_trained(
    measure: Callable[..., Any], message: str, experiment: Experiment
) -> None:
    with pytest.raises(ClaimError, match=message):
        evaluate(exceeds(measure, 0, of=[A]), experiment=experiment)
    assert experiment.trained_replicas == 0


def test_samples_are_stored_as_they_are_drawn(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted at the 41st, the first 32 are there: going on draws only the others."""
    drawn: list[int] = []

    def interrupted_once(draw: Callable[..., float], seed: int, replica: int, stream: int) -> float:
        drawn.append(replica)
        if len(drawn) == 41:
            raise KeyboardInterrupt
        return sample_for_replica(draw, seed, replica, stream)

    monkeypatch.setattr(numbers, "sample_for_replica", interrupted_once)
    claim = sampled(lambda generator: generator.normal(), 0.5)
    with pytest.raises(KeyboardInterrupt):
        evaluate(claim, min_replicas=64, max_replicas=64, experiment=experiment)
    evaluate(claim, min_replicas=64, max_replicas=64, experiment=experiment)
    assert drawn == [*range(41), *range(32, 64)]
