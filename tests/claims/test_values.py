"""Hypotheses about values on made-up trials, beside sign tests of scipy and medians by brute force."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from lossact import (
    SGD,
    Accuracy,
    Arrays,
    Condition,
    Experiment,
    FunctionCondition,
    Hypothesis,
    Loss,
    MLPConfig,
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
    lowest,
    map_claim,
)
from lossact.claims.result import ClaimResult
from lossact.claims.verdict_summary import VerdictSummary
from lossact.errors import LossactError
from lossact.report.folder import write_folder
from lossact.report.run_info import RunInfo
from lossact.report.table import verdict_table
from lossact.stats import Decider, Outcome
from lossact.stats.betting import Counts, log_evidence
from lossact.storage import Trials

ALPHA = 0.025
N = 400


def unused(seed: int, **config: object) -> dict[str, float]:
    raise AssertionError("these trials are made up")


def function(name: str) -> FunctionCondition:
    return FunctionCondition(train=unused, config={"name": name}, measures=["m"], budget=10, name=name)


A, B, C, D = map(function, "ABCD")


def trials(values: ArrayLike, diverged: ArrayLike | None = None, *, name: str = "m") -> Trials:
    column = np.asarray(values)
    n = len(column)
    lost = np.zeros(n, dtype=bool) if diverged is None else np.asarray(diverged)
    return Trials(np.zeros(n, np.int64), np.zeros(n, bool), lost, 10, values={name: column})


def verdict_on(hypothesis: Hypothesis, *columns: Trials, alpha: float = ALPHA, delta: float = 0.1) -> Verdict:
    comparisons = hypothesis.comparisons(columns)
    decider = Decider(hypothesis.evidence(comparisons, delta), alpha=alpha, limit=len(columns[0]))
    return Verdict.of(hypothesis, decider.decide(comparisons), columns, delta=delta, seconds=0)


def crossing(wins: NDArray[np.bool_], losses: NDArray[np.bool_], *, null: float = 0.5) -> int | None:
    """After how many replicas the betting evidence that wins prevail reaches 1 / alpha."""
    w, lost = np.cumsum(wins), np.cumsum(losses)
    evidence = log_evidence(Counts.of(w, np.arange(1, len(w) + 1) - w - lost, lost), null)
    crossed = np.flatnonzero(evidence >= -math.log(ALPHA))
    return int(crossed[0]) + 1 if len(crossed) else None


def normal(shift: float, seed: int = 0) -> NDArray[np.float64]:
    return shift + np.random.default_rng(seed).normal(size=N)


@pytest.mark.parametrize("by", [0.0, 0.3])
@pytest.mark.parametrize(("make", "sign"), [(higher, 1), (lower, -1)])
@pytest.mark.parametrize("shift", [0.8, 0.0, -0.8])
def test_a_higher_value_is_shown_by_the_signs_of_differences(make: Any, sign: int, shift: float, by: float) -> None:
    a, b = normal(sign * shift, 1), normal(0, 2)
    verdict = verdict_on(make("m", A, than=B, by=by), trials(a), trials(b))
    wins = sign * (a - b) > by
    support, refute = crossing(wins, ~wins), crossing(~wins, wins, null=0.4)
    first = min((n for n in (support, refute) if n), default=None)
    assert verdict.name == ("inconclusive" if first is None else "supported" if first == support else "refuted")
    assert verdict.decision.decided_at == first
    if verdict.name == "supported":  # the fixed-sample sign test, which looks once, agrees where we stopped
        assert binomtest(int(wins[:first].sum()), first, 0.5, alternative="greater").pvalue <= ALPHA


def brute_force_median(numbers: NDArray[np.float64]) -> tuple[float, float, float]:
    """The median, and bounds that exclude every point whose signs show that it is too low, or too high, at some n."""
    low, high = -math.inf, math.inf
    for point in np.sort(numbers[np.isfinite(numbers)]):
        if crossing(numbers >= point, numbers < point):
            low = max(low, point)
        if crossing(numbers <= point, numbers > point):
            high = min(high, point)
    return float(np.median(numbers)), low, high


def test_the_median_difference_and_its_bounds_are_those_of_brute_force() -> None:
    a, b = normal(0.5, 3)[:150], np.random.default_rng(4).standard_t(2, 150)
    difference = verdict_on(higher("m", A, than=B), trials(a), trials(b)).difference
    assert difference is not None
    assert (difference.value, difference.low, difference.high) == pytest.approx(brute_force_median(a - b))
    assert (difference.measure, difference.unit, difference.level) == ("m", "m", 0.95)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("as_python_floats", [False, True])
def test_differences_of_exactly_the_margin_are_ties(dtype: Any, as_python_floats: bool) -> None:
    b = (np.arange(30) / 100).astype(dtype)
    a = ((np.arange(30) + 1) / 100).astype(dtype)
    if as_python_floats:  # as a training function returns them
        a, b = (np.array([float(value) for value in column]) for column in (a, b))
    verdict = verdict_on(higher("m", A, than=B, by=0.01), trials(a), trials(b))
    assert (verdict.decision.ties, verdict.name) == (30, "inconclusive")
    equal = verdict_on(equivalent_in("m", A, B, within=0.01), trials(a), trials(b))
    assert equal.name == "supported"
    assert equal.difference is not None
    assert equal.difference.low == equal.difference.high == 0.01


@pytest.mark.parametrize("as_python_floats", [False, True])
def test_a_value_at_the_threshold_meets_it_in_its_own_precision(as_python_floats: bool) -> None:
    values = np.full(30, 0.9, np.float32)
    column = np.array([float(value) for value in values]) if as_python_floats else values
    for make in (at_least, at_most):
        verdict = verdict_on(make("m", A, 0.9), trials(column))
        assert verdict.name == "supported"
        assert verdict.difference is not None
        assert (verdict.difference.low, verdict.difference.high) == (0.9, 0.9)


def test_half_of_the_replicas_above_a_value_show_neither() -> None:
    values = np.tile([0.0, 1.0], 100)
    assert verdict_on(at_least("m", A, 0.5), trials(values)).name != "supported"
    assert verdict_on(at_least("m", A, 0.5), trials(np.zeros(200))).name == "refuted"
    assert verdict_on(at_most("m", A, 0.5), trials(np.zeros(200))).name == "supported"


def test_a_diverged_replica_is_at_the_losing_end() -> None:
    values, lost = np.full(60, np.nan), np.ones(60, bool)
    sound = np.linspace(0, 1, 60)
    for make in (higher, lower):
        assert verdict_on(make("m", A, than=B), trials(sound), trials(values, lost)).name == "supported"
        assert verdict_on(make("m", B, than=A), trials(values, lost), trials(sound)).name == "refuted"
        both = verdict_on(make("m", A, than=B), trials(values, lost), trials(values, lost))
        assert (both.name, both.decision.undecided) == ("inconclusive", both.decision.replicas)
    for make_threshold in (at_least, at_most):
        assert verdict_on(make_threshold("m", A, 0.5), trials(values, lost)).name == "refuted"
    assert verdict_on(equivalent_in("m", A, B, within=9), trials(values, lost), trials(sound)).name == "refuted"


@pytest.mark.parametrize(
    ("shift", "expected"), [(0.0, "supported"), (0.25, "inconclusive"), (1.5, "refuted"), (-1.5, "refuted")]
)
def test_equivalence_agrees_with_the_median_sequence(shift: float, expected: str) -> None:
    a, b = trials(0.3 * normal(0, 5) + shift), trials(np.zeros(N))
    verdict = verdict_on(equivalent_in("m", A, B, within=0.25), a, b)
    assert verdict.name == expected
    assert verdict.difference is not None
    inside = verdict.difference.low >= -0.25 and verdict.difference.high <= 0.25
    assert inside == (expected == "supported")
    if expected == "refuted":
        assert min(abs(verdict.difference.low), abs(verdict.difference.high)) > 0.25


def test_the_highest_is_above_each_of_the_others() -> None:
    columns = [trials(normal(shift, seed)) for seed, shift in enumerate((2.0, 0.0, 1.0))]
    verdict = verdict_on(highest("m", A, of=[A, B, C]), *columns)
    assert verdict.name == "supported"
    assert verdict.difference is not None  # to the one that comes nearest
    values = [column.values["m"] for column in columns]
    assert verdict.difference.value == pytest.approx(np.median(values[0] - values[2]))
    broken = verdict_on(highest("m", C, of=[B, A]), columns[2], columns[1], columns[0])
    assert broken.name == "refuted"
    assert "C above A" in broken.decision.reason
    assert broken.difference is not None
    assert broken.difference.value == pytest.approx(np.median(values[2] - values[0]))  # where it fails, not nearest 0
    assert verdict_on(lowest("m", B, of=[A, C]), columns[1], columns[0], columns[2]).name == "supported"


def brute_force_trend(columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.array(
        [
            sum(np.sign(row[j] - row[i]) for i in range(len(row)) for j in range(i + 1, len(row)))
            for row in np.stack(columns, axis=1)
        ]
    )


@pytest.mark.parametrize("margin", [0, 2])
def test_a_trend_is_the_sign_of_pairs_that_rise(margin: int) -> None:
    columns = [np.round(normal(0.4 * k, k), 1) for k in range(4)]
    settings = list(zip((1, 2, 4, 8), (A, B, C, D), strict=True))
    hypothesis = increases("m", settings, margin=margin)
    (comparison,) = hypothesis.comparisons([trials(column) for column in columns])
    scores = brute_force_trend(columns)
    expected = np.select([scores > margin, scores == margin], [Outcome.WIN, Outcome.TIE], Outcome.LOSS)
    np.testing.assert_array_equal(comparison.outcomes, expected)
    verdict = verdict_on(hypothesis, *map(trials, columns))
    assert verdict.name == "supported"
    assert "a trend overall, not every step" in verdict.warnings[-1]
    assert verdict.difference is not None
    assert verdict.difference.value == pytest.approx(np.median(columns[3] - columns[0]))
    assert verdict_on(decreases("m", settings), *map(trials, columns)).name == "refuted"


def test_a_trend_of_steps_needs_targets_and_counts_censored_runs() -> None:
    def steps(values: list[int | None]) -> Trials:
        reached = np.array([value is not None for value in values])
        counted = np.array([value or 0 for value in values])
        return Trials(counted, reached, np.zeros(len(values), bool), 10)

    hypothesis = increases("steps", [(1, A), (2, B)])
    (comparison,) = hypothesis.comparisons([steps([1, 5, 3, None]), steps([2, 3, None, None])])
    assert comparison.outcomes.tolist() == [Outcome.WIN, Outcome.LOSS, Outcome.WIN, Outcome.CENSORED]


def test_a_trend_of_steps_that_were_not_counted_is_refused() -> None:
    def train(seed: int, name: str) -> dict[str, float]:
        return {"m": seed * len(name)}

    a, b = (FunctionCondition(train=train, config={"name": n}, measures=["m"], budget=10, name=n) for n in "ab")
    with pytest.raises(LossactError, match="a has no target to reach: the dict that train returned holds no 'steps'"):
        evaluate(increases("steps", [(1, a), (2, b)]), max_replicas=16)


def network_condition(name: str, **changes: Any) -> Condition:
    generator = np.random.default_rng(0)
    inputs, labels = generator.normal(size=(12, 2, 2)), np.arange(12) % 2
    given: dict[str, Any] = {
        "network": MLPConfig(activation="relu"), "loss": "l2", "data": Arrays(inputs, labels.astype(float)),
        "optimizer": SGD(learning_rate=0.5), "budget": 30, "name": name,
        "measures": {"accuracy": Accuracy(), "loss": Loss()}, "measured_at": (10,),
    }  # fmt: skip
    return Condition(**given | changes)


FAST, SLOW = network_condition("fast"), network_condition("slow", optimizer=SGD(learning_rate=0.01))


def test_differences_of_accuracies_are_in_points() -> None:
    a, b = (trials(np.full(20, value, np.float32), name="accuracy") for value in (0.75, 0.5))
    verdict = verdict_on(higher("accuracy", FAST, than=SLOW), a, b)
    assert verdict.summary().to_json()["difference"] == {
        "name": "median difference", "value": 25.0, "low": 25.0, "high": 25.0, "level": 0.95, "unit": "points",
        "measure": "accuracy",
    }  # fmt: skip
    assert str(verdict).endswith("median difference of accuracy +25 points [25, 25], 95.0% confidence sequence")
    assert "+25 points [25, 25]" in verdict._repr_html_()
    assert VerdictSummary.from_dict(json.loads(json.dumps(asdict(verdict.summary())))) == verdict.summary()


def test_a_map_of_a_claim_about_values(experiment: Experiment) -> None:
    cells = map_claim(
        lower("loss", FAST, than=SLOW), x="network.initial_scale=0.5:1:2", y="network.hidden=2:4:2",
        experiment=experiment, max_replicas=64,
    )  # fmt: skip
    assert {cell.name for cell in cells.verdicts} == {"supported"}
    assert all(cell.difference is not None and cell.difference.high < 0 for cell in cells.verdicts)


def test_claims_about_values_after_some_updates_and_numbers_of_values(experiment: Experiment) -> None:
    early = evaluate(lower("loss@10", FAST, than=SLOW), experiment=experiment, max_replicas=64)
    assert (early.name, early.hypothesis.budget) == ("supported", 10)
    trained = experiment.trained_replicas

    def gain(fast: Trials, slow: Trials) -> NDArray[np.float64]:
        return np.asarray(slow.values["loss"] - fast.values["loss@10"], dtype=np.float64)

    number = evaluate(exceeds(gain, 0.0, of=[FAST, SLOW]), experiment=experiment, max_replicas=64)
    together = evaluate(all_of(lower("loss", FAST, than=SLOW), at_most("loss", FAST, 9.0)), experiment=experiment)
    assert (number.name, together.name) == ("supported", "supported")
    assert experiment.trained_replicas == trained


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: higher("m", A, than=A), "must differ"),
        (lambda: higher("acc", A, than=B), "measure='acc' is not a measure of A; it has m"),
        (lambda: higher("m", A, than=B, by=-1), "by=-1 must be >= 0"),
        (lambda: higher("m", A, than=B, by=math.nan), "by=nan must be >= 0"),
        (lambda: at_least("m", A, math.inf), "value=inf must be a finite number"),
        (lambda: equivalent_in("m", A, B, within=0), "within=0 must be > 0"),
        (lambda: highest("m", A, of=B), "of=B must be a sequence of conditions"),  # type: ignore[arg-type]
        (lambda: highest("m", A, of=[A]), "must be at least two"),
        (lambda: increases("m", [(1, A)]), "must be at least two"),
        (lambda: increases("m", [(2, A), (1, B)]), "must increase"),
        (lambda: increases("m", [(math.nan, A), (1, B)]), "settings=nan must be a finite number"),
        (lambda: increases("m", [("a", A), ("b", B)]), "settings='a' must be a finite number"),  # type: ignore[list-item]
        (lambda: increases("m", [A, B]), "must be pairs of a number and a condition"),  # type: ignore[list-item]
        (lambda: increases("m", 5), "must be pairs of a number and a condition"),  # type: ignore[arg-type]
        (lambda: increases("m", [(1, A), (2, B)], margin=1), "margin=1 must be >= 0 and <= 0"),
        (lambda: higher("steps", A, than=B), "'steps' is not a measure of A"),
    ],
)
def test_bad_claims_about_values_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(LossactError, match=message):
        make()


@pytest.mark.parametrize("make", [lambda: faster(FAST, than=SLOW), lambda: increases("steps", [(1, FAST), (2, SLOW)])])
def test_claims_about_steps_of_conditions_without_target_are_refused(
    experiment: Experiment, make: Callable[[], Hypothesis]
) -> None:
    with pytest.raises(LossactError, match="fast has no target to reach; give it target=, or claim something about"):
        evaluate(make(), experiment=experiment)
    assert experiment.trained_replicas == 0


def test_a_number_of_values_is_tried_before_anything_is_trained(experiment: Experiment) -> None:
    claim = exceeds(lambda fast: fast.values["recall"], 0.5, of=[FAST])
    with pytest.raises(LossactError, match="failed on made-up trials, before anything was trained: KeyError: 'recall'"):
        evaluate(claim, experiment=experiment)
    assert experiment.trained_replicas == 0


def test_many_ties_are_mentioned_beside_a_supported_claim() -> None:
    a = np.tile([0.0, 0.0, 0.0, 1.0], 30)
    verdict = verdict_on(higher("m", A, than=B), trials(a), trials(np.zeros(120)))
    assert verdict.name == "supported"
    assert verdict.difference is not None
    assert (verdict.difference.low, verdict.difference.value) == (0, 0)
    assert "the values are equal in 90 of 120 replicas" in verdict.warnings[-1]


def test_reports_give_the_difference_in_its_unit(tmp_path: Path) -> None:
    a, b = (trials(np.full(20, value, np.float32), name="accuracy") for value in (0.75, 0.5))
    verdict = verdict_on(higher("accuracy", FAST, than=SLOW), a, b)
    result = ClaimResult(
        id="test_values.py::test_claim", statement="fast is better", source="", recorded=None, family="values",
        family_size=1, family_declared=False, family_folder="", decides=False, verdict=verdict.summary(),
        sentence=repr(verdict.hypothesis), p_value=0.01, warnings=verdict.warnings, keys=(),
    )  # fmt: skip
    shown = "+25 points [25, 25]"
    write_folder(tmp_path, [result], {}, RunInfo())
    markdown = (tmp_path / "report.md").read_text().replace("\\", "")
    assert shown in markdown
    assert "reached the target" not in markdown
    assert shown in (tmp_path / "index.html").read_text()
    (content,) = json.loads((tmp_path / "verdicts.json").read_text())["claims"]
    assert (content["difference"]["measure"], content["difference"]["unit"]) == ("accuracy", "points")
    lines = verdict_table([result], alpha=0.025, delta=0.1, setting="cpu", width=200)
    assert shown in "\n".join(line.text for line in lines)
