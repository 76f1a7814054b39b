"""Claims about means on made-up trials: their numbers, their errors, and how every output shows them."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy.stats import ttest_1samp

from lossact import (
    Experiment,
    FunctionCondition,
    Hypothesis,
    Verdict,
    all_of,
    at_least,
    at_most,
    evaluate,
    higher,
    lower,
    map_claim,
    plan,
    read_runs,
)
from lossact.claims.result import ClaimResult
from lossact.errors import ClaimError, InputError, LossactError
from lossact.report.folder import write_folder
from lossact.report.run_info import RunInfo
from lossact.report.table import verdict_table
from lossact.stats import BoundedMean, NormalMean
from lossact.storage import Trials

ALPHA = 0.025
N = 200


def draw(seed: int, mean: float, spread: float, name: str = "") -> dict[str, float]:
    return {"m": mean + spread * float(np.random.default_rng([seed, len(name)]).normal())}


def ignore_seed(seed: int, mean: float, spread: float, name: str = "") -> dict[str, float]:
    return {"m": mean}


def function(name: str, **config: object) -> FunctionCondition:
    return FunctionCondition(train=draw, config={"mean": 0.0, "spread": 1.0, "name": name} | config, measures=["m"],
                             budget=10, name=name)  # fmt: skip


A, B = function("A"), function("BB")


def trials(values: ArrayLike, diverged: ArrayLike | None = None) -> Trials:
    column = np.asarray(values)
    n = len(column)
    lost = np.zeros(n, dtype=bool) if diverged is None else np.asarray(diverged)
    return Trials(np.zeros(n, np.int64), np.zeros(n, bool), lost, 10, values={"m": column})


def verdict_on(hypothesis: Hypothesis, *columns: Trials) -> Verdict:
    comparisons = hypothesis.comparisons(columns)
    decision = hypothesis.decider(comparisons, 0.1, alpha=ALPHA, limit=len(columns[0])).decide(comparisons)
    return Verdict.of(hypothesis, decision, columns, delta=0.1, seconds=0)


def normal(mean: float, seed: int) -> NDArray[np.float64]:
    return mean + np.random.default_rng(seed).normal(size=N)


@pytest.mark.parametrize(("make", "sign"), [(higher, 1), (lower, -1)])
@pytest.mark.parametrize("by", [0.0, 0.5])
@pytest.mark.parametrize("arguments", [{"normal": True}, {"value_range": (-8, 8)}])
def test_a_claim_about_a_mean_difference_is_decided_by_the_differences(
    make: Any, sign: int, by: float, arguments: dict[str, Any]
) -> None:
    a, b = normal(sign * 2.0, 1), normal(0.0, 2)
    verdict = verdict_on(make("m", A, than=B, by=by, of="mean", **arguments), trials(a), trials(b))
    evidence = NormalMean() if "normal" in arguments else BoundedMean(-16, 16)
    crossed = evidence.log_above(sign * (a - b), by) >= -math.log(ALPHA)
    assert verdict.name == "supported"
    assert verdict.decision.decided_at == int(crossed.argmax()) + 1
    assert verdict.decision.value == pytest.approx((a - b).mean())
    assert sign * verdict.decision.value > by
    assert verdict.decision.low <= verdict.decision.value <= verdict.decision.high
    assert (verdict.decision.low >= by) if sign > 0 else (verdict.decision.high <= -by)
    other = lower if make is higher else higher
    opposite = verdict_on(other("m", A, than=B, of="mean", **arguments), trials(a), trials(b))
    assert (opposite.name, opposite.decision.reason) == ("refuted", "reversed")


@pytest.mark.parametrize(("make", "sign"), [(higher, 1), (lower, -1)])
@pytest.mark.parametrize(("shift", "reason"), [(1.0, "not by more than 3"), (-2.0, "reversed")])
def test_a_refuted_margin_is_called_reversed_only_where_the_difference_is(
    make: Any, sign: int, shift: float, reason: str
) -> None:
    a, b = normal(sign * shift, 1), normal(0.0, 2)
    verdict = verdict_on(make("m", A, than=B, by=3.0, of="mean", normal=True), trials(a), trials(b))
    assert (verdict.name, verdict.decision.reason) == ("refuted", reason)


@pytest.mark.parametrize(("make", "sign"), [(at_least, 1), (at_most, -1)])
def test_a_mean_against_a_constant(make: Any, sign: int) -> None:
    values = normal(3.0 + sign, 3)
    verdict = verdict_on(make("m", A, 3.0, of="mean", normal=True), trials(values))
    assert verdict.name == "supported"
    assert verdict.decision.value == pytest.approx(values.mean())
    assert f"at {'least' if sign > 0 else 'most'} 3, assuming normal values" in repr(verdict.hypothesis)
    bounded = verdict_on(make("m", A, 3.0, of="mean", value_range=(-5, 11)), trials(values))
    assert bounded.name == "supported"
    assert bounded.decision.decided_at is not None
    assert verdict.decision.decided_at is not None
    assert bounded.decision.decided_at > verdict.decision.decided_at  # a range says less than a normal distribution


def test_a_diverged_replica_counts_as_the_worst_value_of_the_range() -> None:
    lost = np.zeros(60, bool)
    lost[::3] = True
    some = np.where(lost, np.nan, 1.0)
    for make, range_ in ((higher, (0, 1)), (lower, (1, 2))):
        verdict = verdict_on(
            make("m", A, than=B, of="mean", value_range=range_), trials(some, lost), trials(np.ones(60))
        )
        assert verdict.name == "refuted"
        assert verdict.decision.value == pytest.approx(-1 / 3 if make is higher else 1 / 3)
    threshold = verdict_on(at_least("m", A, 0.9, of="mean", value_range=(0, 1)), trials(some, lost))
    assert threshold.decision.value == pytest.approx(2 / 3)
    both = verdict_on(higher("m", A, than=B, of="mean", value_range=(0, 1)), trials(some, lost), trials(some, lost))
    assert both.decision.undecided == 20
    normal_ = verdict_on(higher("m", A, than=B, of="mean", normal=True), trials(some, lost), trials(np.ones(60)))
    assert normal_.name == "inconclusive"
    assert "20 of 60 replicas diverged" in normal_.decision.reason


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: higher("m", A, than=B, of="mean"), "needs the range of m: give value_range="),
        (lambda: at_most("m", A, 1, of="mean"), "needs the range of m: give value_range="),
        (lambda: higher("m", A, than=B, of="average"), 'must be "median" or "mean"'),  # type: ignore[arg-type]
        (lambda: higher("m", A, than=B, normal=True), 'belong to of="mean"'),
        (lambda: at_least("m", A, 1, value_range=(0, 1)), 'belong to of="mean"'),
        (lambda: higher("m", A, than=B, of="mean", normal=True, value_range=(0, 1)), "not both"),
        (lambda: higher("m", A, than=B, of="mean", normal="yes"), "must be True or False"),  # type: ignore[arg-type]
        (lambda: higher("m", A, than=B, of="mean", normal=np.array([1, 0])), "must be True or False"),  # type: ignore[arg-type]
        (lambda: higher("m", A, than=B, normal=np.array([1, 0])), "must be True or False"),  # type: ignore[arg-type]
        (lambda: higher("m", A, than=B, of=np.array(["mean", "median"])), 'must be "median" or "mean"'),  # type: ignore[arg-type]
        (
            lambda: higher("m", A, than=B, of="mean", value_range=(-1e308, 1e308)),
            r"value_range=\(-1e\+308, 1e\+308\) must",
        ),
        (lambda: higher("m", A, than=B, of="mean", value_range=1), "must be two numbers"),  # type: ignore[arg-type]
        (lambda: higher("m", A, than=B, of="mean", value_range=(1, 0)), r"value_range\[1\]=0 must be > 1"),
        (lambda: higher("m", A, than=B, of="mean", value_range=(0, 1), by=1), "smaller than the range"),
        (lambda: at_least("m", A, 2, of="mean", value_range=(0, 1)), "value=2 must be > 0 and < 1"),
        (lambda: higher("x", A, than=B, of="mean", normal=True), "is not a measure of A"),
        (lambda: higher("m", A, than=A, of="mean", normal=True), "must differ"),
        (lambda: all_of(higher("m", A, than=B, of="mean", normal=True), higher("m", A, than=B)), "is about a mean"),
        (
            lambda: map_claim(higher("m", A, than=B, of="mean", normal=True), x="mean=0:1:2", y="spread=1:2:2"),
            "maps show probabilities",
        ),
    ],
)
def test_bad_claims_about_means_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(LossactError, match=message):
        make()


def test_what_is_not_decided_of_a_mean_of_recorded_runs(tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    table.write_text("name,run,loss\n" + "".join(f"{name},{k},{k}\n" for name in ("a", "b") for k in range(4)))
    a, b = read_runs(table, condition="name", run="run", value="loss").values()
    for make in (
        lambda: higher("loss", a, than=b, of="mean", normal=True),
        lambda: at_most("loss", a, 9, of="mean", value_range=(0, 10)),
    ):
        with pytest.raises(LossactError, match="is not decided from recorded runs, such as a; faster"):
            make()
    with pytest.raises(LossactError, match="may be extended; read the table without extendable=True"):
        evaluate(at_most("loss", replace(a, extendable=True), 9, of="mean", normal=True))
    equal = replace(a, runs=(a.runs[0], replace(a.runs[0], name="again")))
    table.write_text("name,run,loss\n" + "".join(f"a,{k},0.1\n" for k in range(3)))  # numpy's deviation is not 0
    (rounded,) = read_runs(table, condition="name", run="run", value="loss").values()
    for without_spread in (equal, rounded):
        with pytest.raises(LossactError, match="values without spread have no t statistic"):
            evaluate(at_most("loss", without_spread, 9, of="mean", normal=True))


def test_a_step_of_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    table.write_text("name,run,step,loss\n" + "".join(f"a,{k},30,{k}\n" for k in range(4)))
    (a,) = read_runs(table, condition="name", run="run", step="step", value="loss").values()
    with pytest.raises(InputError, match=r"names a step of 5,000 digits, and it must have at most 18; name .* loss@30"):
        evaluate(at_least("loss@" + "9" * 5000, a, 9))


@pytest.mark.parametrize(("make", "alternative"), [(at_most, "less"), (at_least, "greater")])
@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_a_mean_of_recorded_runs_against_a_constant_is_scipys_t_test(
    make: Any, alternative: Any, constant: float, tmp_path: Path
) -> None:
    values = np.random.default_rng(9).normal(0.5, 0.3, 12)
    table = tmp_path / "runs.csv"
    table.write_text("name,run,loss\n" + "".join(f"a,{k},{value!r}\n" for k, value in enumerate(values.tolist())))
    (a,) = read_runs(table, condition="name", run="run", value="loss").values()
    verdict = evaluate(make("loss", a, constant, of="mean", normal=True))
    test = ttest_1samp(values, constant, alternative=alternative)
    assert math.exp(-verdict.decision.log_support) == pytest.approx(test.pvalue, rel=1e-9)
    assert verdict.name == ("supported" if test.pvalue <= ALPHA else "refuted")
    interval = ttest_1samp(values, constant).confidence_interval(0.95)
    assert (verdict.decision.low, verdict.decision.high) == pytest.approx((interval.low, interval.high))
    assert "12 recorded runs; a fixed number" in str(verdict)
    assert "assuming normal values" in str(verdict)


def test_a_value_outside_the_range_is_named() -> None:
    claim = higher("m", A, than=B, of="mean", value_range=(0, 1))
    with pytest.raises(LossactError, match=r"m of BB is 1.5 in replica 3, outside value_range=\(0, 1\)"):
        verdict_on(claim, trials(np.full(5, 0.5)), trials([0.5, 0.4, 0.3, 1.5, 0.1]))
    rounded = np.nextafter(1.0, 2.0)  # as sums of products may come out
    assert verdict_on(claim, trials(np.full(40, rounded)), trials(np.zeros(40))).name == "supported"
    infinite = trials([0.5, 0.4, 0.3, math.inf, 0.1])
    with pytest.raises(ClaimError, match="m of A is inf in replica 3, and normal values are finite"):
        verdict_on(at_least("m", A, 0.2, of="mean", normal=True), infinite)
    with pytest.raises(ClaimError, match="m of BB is inf in replica 3, and normal values are finite"):
        verdict_on(higher("m", A, than=B, of="mean", normal=True), trials(np.full(5, 0.5)), infinite)


@pytest.mark.parametrize(
    "make", [lambda a, b: higher("m", a, than=b, of="mean", normal=True),
             lambda a, b: at_least("m", a, 1.0, of="mean", normal=True)],
)  # fmt: skip
def test_one_run_of_a_function_that_ignores_its_seed_decides_no_mean(make: Any, experiment: Experiment) -> None:
    a, b = (replace(function(name, mean=mean), train=ignore_seed) for name, mean in (("a", 2.0), ("b", 1.5)))
    with pytest.raises(ClaimError, match="the first 8 replicas computed exactly the same"):
        evaluate(make(a, b), experiment=experiment)


def test_a_constant_difference_in_single_precision_is_no_evidence() -> None:
    b = np.random.default_rng(0).uniform(0.5, 1, 40).astype(np.float32)
    a = (b.astype(np.float64) + 0.01).astype(np.float32)
    verdict = verdict_on(higher("m", A, than=B, of="mean", normal=True), trials(a), trials(b))
    assert verdict.name == "inconclusive"
    assert "no spread" in verdict.decision.reason


def test_a_claim_about_a_mean_is_evaluated_and_planned(experiment: Experiment) -> None:
    slow, fast = function("slow", mean=0.0), function("faster", mean=2.0)
    claim = higher("m", fast, than=slow, of="mean", normal=True)
    planned = plan(claim, experiment=experiment)
    small, large = (effect.replicas for effect in planned.effects if effect.name in ("small", "large"))
    assert small is not None
    assert large is not None
    assert large < small
    verdict = evaluate(claim, experiment=experiment)
    assert verdict.name == "supported"
    assert "mean difference (assuming normal values)" in str(verdict)
    assert "mean m of faster is above that of slow, assuming normal values" in str(verdict)


def test_every_output_shows_the_mean_in_its_unit_and_what_is_assumed(tmp_path: Path) -> None:
    values = np.random.default_rng(7).normal(0.0123, 0.001, 40)
    verdict = verdict_on(higher("m", A, than=B, of="mean", normal=True), trials(values), trials(np.zeros(40)))
    result = ClaimResult(
        id="test_values.py::test_claim", statement="A is better", source="", recorded=None, family="values",
        family_size=1, family_declared=False, family_folder="", decides=False, verdict=verdict.summary(),
        sentence=repr(verdict.hypothesis), p_value=0.01, warnings=verdict.warnings, keys=(),
    )  # fmt: skip
    number = f"{values.mean():.4f}"
    write_folder(tmp_path, [result], {}, RunInfo())
    table = "\n".join(line.text for line in verdict_table([result], alpha=ALPHA, delta=0.1, setting="cpu", width=200))
    for text in (table, (tmp_path / "report.md").read_text(), (tmp_path / "index.html").read_text(), str(verdict)):
        assert number in text
        assert "assuming normal values" in text
    page = (tmp_path / "index.html").read_text()
    assert page.count(">no target</td>") == 2
    assert "0 of 40" not in page
    (content,) = json.loads((tmp_path / "verdicts.json").read_text())["claims"]
    assert content["effect"]["name"] == "mean difference (assuming normal values)"
    assert content["effect"]["unit"] == "m"
    assert content["effect"]["value"] == pytest.approx(values.mean())
