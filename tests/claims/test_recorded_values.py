"""Claims about recorded values, from the table to the reports."""

import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from scipy import stats

from lossact import (
    FunctionCondition,
    LossactError,
    RecordedRuns,
    at_least,
    at_most,
    decreases,
    equivalent_in,
    evaluate,
    exceeds,
    higher,
    highest,
    increases,
    lower,
    lowest,
    plan,
    read_runs,
)
from lossact.claims import Verdict
from lossact.errors import ClaimError
from tests.conditions.recorded_tables import write
from tests.pytest_plugin.conftest import Claims

ADAM = [0.912, 0.9129, 0.9112, 0.9093, 0.9106, 0.909, 0.9122, 0.916]
SGD = [0.9035, 0.9031, 0.9065, 0.9061, 0.9053, 0.9022, 0.9049]
LION = [0.9066, 0.9005, 0.9031, 0.8988]
Runs = dict[str, RecordedRuns]


def values(tmp_path: Path, table: dict[str, Sequence[float]] | None = None, **changes: Any) -> Runs:
    """One row a run."""
    table = {"adam": ADAM, "sgd": SGD, "lion": LION} if table is None else table
    rows = [(name, seed, value) for name, column in table.items() for seed, value in enumerate(column)]
    path = write(tmp_path / "values.csv", rows, ["optimizer", "seed", "accuracy"])
    return read_runs(path, condition="optimizer", run="seed", **changes)


def curves(tmp_path: Path, *, steps: dict[str, Sequence[int]] | None = None, **changes: Any) -> Runs:
    """Losses 1 / (1 + step) + a level of the optimizer, at steps of its own."""
    steps = {"adam": [0, 10, 20], "sgd": [0, 10, 30]} if steps is None else steps
    rows = [
        (name, run, step, 1 / (1 + step) + level + 0.001 * run)
        for level, (name, column) in enumerate(steps.items())
        for run in range(6)
        for step in column
    ]
    path = write(tmp_path / "curves.csv", rows, ["optimizer", "run", "step", "loss"])
    return read_runs(path, condition="optimizer", run="run", step="step", **changes)


def difference(verdict: Verdict) -> tuple[float, float, float]:
    assert verdict.difference is not None
    return verdict.difference.low, verdict.difference.value, verdict.difference.high


@pytest.mark.parametrize("by", [0.0, 0.003, 0.005])
def test_higher_is_scipys_rank_test_with_the_shift(by: float, tmp_path: Path) -> None:
    runs = values(tmp_path)
    verdict = evaluate(higher("accuracy", runs["adam"], than=runs["sgd"], by=by))
    p = stats.mannwhitneyu(np.array(ADAM) - by, SGD, alternative="greater", method="exact").pvalue
    assert verdict.decision.p_value == pytest.approx(p)
    assert verdict.name == ("supported" if p <= 0.025 else "inconclusive")
    low, value, high = difference(verdict)
    assert value == pytest.approx(np.median(np.subtract.outer(ADAM, SGD)))
    assert (low >= by) == (verdict.name == "supported")
    assert low < value < high
    text = str(verdict)
    assert "8 and 7 recorded runs; a fixed number" in text
    assert "Hodges-Lehmann shift of accuracy +0.0069 [0.0047, 0.0095], 95.0% interval" in text
    assert "sequence" not in text


def test_lower_mirrors_higher(tmp_path: Path) -> None:
    runs = values(tmp_path)
    above = evaluate(higher("accuracy", runs["adam"], than=runs["sgd"], by=0.001))
    below = evaluate(lower("accuracy", runs["sgd"], than=runs["adam"], by=0.001))
    assert above.name == below.name == "supported"
    assert above.decision.p_value == below.decision.p_value
    assert difference(below) == pytest.approx([-bound for bound in reversed(difference(above))])
    assert evaluate(lower("accuracy", runs["adam"], than=runs["sgd"])).decision.reason == "reversed"


def test_pairs_are_matched_and_decided_by_signs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    b = rng.normal(0, 5, 10).round(3)
    a = b + np.array([0.02, 0.03, 0.01, 0.05, 0.04, 0.02, 0.03, -0.01, 0.06, 0.01])
    order = rng.permutation(10)
    rows = [("a", f"a{k}", a[k], k) for k in range(10)] + [("b", f"b{k}", b[k], k) for k in order]
    path = write(tmp_path / "pairs.csv", rows, ["optimizer", "run", "score", "seed"])
    runs = read_runs(path, condition="optimizer", run="run", value="score", pair="seed")
    verdict = evaluate(higher("score", runs["a"], than=runs["b"]))
    assert verdict.name == "supported"
    assert verdict.decision.p_value == pytest.approx(stats.binomtest(9, 10, 0.5, "greater").pvalue)
    ascending = np.sort(a - b)
    assert difference(verdict) == pytest.approx((ascending[1], 0.025, ascending[8]))
    assert "median difference of score" in str(verdict)
    tied = evaluate(higher("score", runs["a"], than=runs["b"], by=0.01))
    assert (tied.decision.wins, tied.decision.ties, tied.decision.losses) == (7, 2, 1)
    assert evaluate(equivalent_in("score", runs["a"], runs["b"], within=0.06)).name == "supported"
    unpaired = read_runs(path, condition="optimizer", run="run", value="score")
    path = write(tmp_path / "pairs.csv", rows[1:], ["optimizer", "run", "score", "seed"])
    assert evaluate(higher("score", unpaired["a"], than=unpaired["b"])).name == "inconclusive"
    runs = read_runs(path, condition="optimizer", run="run", value="score", pair="seed")
    with pytest.raises(ClaimError, match="do not have the same pairs"):
        evaluate(higher("score", runs["a"], than=runs["b"]))


@pytest.mark.parametrize("constant", [0.905, 0.909, 0.9112, 0.92])
def test_a_constant_is_compared_by_signs(constant: float, tmp_path: Path) -> None:
    adam = values(tmp_path)["adam"]
    for claim, count in ((at_least, np.sum(np.array(ADAM) >= constant)), (at_most, np.sum(np.array(ADAM) <= constant))):
        verdict = evaluate(claim("accuracy", adam, constant))
        assert verdict.decision.p_value == pytest.approx(stats.binomtest(int(count), 8, 0.5, "greater").pvalue)
        assert verdict.decision.value == count / 8
        assert difference(verdict) == (min(ADAM), np.median(ADAM), max(ADAM))
        refuted = stats.binom.cdf(count, 8, 0.6) <= 0.025
        assert verdict.name == ("supported" if count == 8 else "refuted" if refuted else "inconclusive")


def test_single_precision_meets_a_threshold_in_its_own_type(tmp_path: Path) -> None:
    runs = values(tmp_path, {"a": [float(np.float32(0.9)) + k for k in (0, 0, 0, 0)] + [0.92, 0.91]})
    verdict = evaluate(at_least("accuracy", runs["a"], 0.9))
    assert verdict.name == "supported"
    assert difference(verdict)[0] == 0.9


def test_highest_and_lowest_ask_every_pair(tmp_path: Path) -> None:
    runs = values(tmp_path)
    best = evaluate(highest("accuracy", runs["adam"], of=list(runs.values())))
    assert best.name == "supported"
    assert "Hodges-Lehmann shift, adam minus sgd, of accuracy +0.0069" in str(best)
    assert any("the numbers of runs (8 and 4) differ twofold" in warning for warning in best.warnings)
    worst = evaluate(lowest("accuracy", runs["lion"], of=list(runs.values())))
    assert worst.name == "inconclusive"
    assert "lion minus sgd" in str(worst)
    wrong = evaluate(lowest("accuracy", runs["adam"], of=list(runs.values())))
    assert wrong.name == "refuted"
    assert "broken: adam below sgd" in wrong.decision.reason


def test_equivalence_in_the_unit_follows_the_interval(tmp_path: Path) -> None:
    runs = values(tmp_path)
    low, _, high = difference(evaluate(equivalent_in("accuracy", runs["lion"], runs["sgd"], within=0.01)))
    widest = max(-low, high)
    for within, expected in ((widest + 1e-6, "supported"), (widest - 1e-6, "inconclusive")):
        assert evaluate(equivalent_in("accuracy", runs["lion"], runs["sgd"], within=within)).name == expected
    assert evaluate(equivalent_in("accuracy", runs["adam"], runs["sgd"], within=0.001)).name == "refuted"


def test_too_few_runs_are_mentioned_first(tmp_path: Path) -> None:
    runs = values(tmp_path, {"a": [3, 4, 5], "b": [1, 2, 0]})
    verdict = evaluate(higher("accuracy", runs["a"], than=runs["b"]))
    assert str(verdict).startswith("INCONCLUSIVE (too few runs to show it: no smaller p than 0.05 is possible")
    assert "4 of each could" in str(verdict)
    assert "Hodges-Lehmann shift of accuracy +3, too few runs for an interval" in str(verdict)
    assert "; 6 runs could" in str(evaluate(at_least("accuracy", runs["a"], 1)))
    assert "; 4 of each could" in str(evaluate(equivalent_in("accuracy", runs["a"], runs["b"], within=9)))


def test_values_at_a_step_and_at_the_end(tmp_path: Path) -> None:
    runs = curves(tmp_path)
    verdict = evaluate(lower("loss@10", runs["adam"], than=runs["sgd"]))
    assert verdict.name == "supported"
    assert difference(verdict)[1] == pytest.approx(-1)
    assert [condition.median_value for condition in verdict.conditions] == pytest.approx(
        [1 / 11 + 0.0025, 1 / 11 + 1.0025]
    )
    assert evaluate(at_most("loss", runs["sgd"], 2)).name == "supported"  # all runs of sgd end at step 30
    same_end = curves(tmp_path, steps={"adam": [0, 30], "sgd": [10, 30]})
    assert evaluate(lower("loss", same_end["adam"], than=same_end["sgd"])).name == "supported"


def test_a_target_that_the_claim_is_not_about_is_left_out(tmp_path: Path) -> None:
    runs = curves(tmp_path, at_most=-1.0)
    verdict = evaluate(lower("loss@10", runs["adam"], than=runs["sgd"]))
    assert verdict.decision.reason == ""
    assert "target" not in verdict._repr_html_()
    assert "<th>recorded runs</th><th>median loss@10</th>" in verdict._repr_html_()


def test_runs_of_two_tables_may_have_different_budgets(tmp_path: Path) -> None:
    adam = curves(tmp_path, steps={"adam": [0, 10, 20], "other": [0, 10]})["adam"]
    sgd = curves(tmp_path, steps={"other": [0, 10], "sgd": [0, 10, 40]})["sgd"]
    assert (adam.budget, sgd.budget) == (20, 40)
    assert evaluate(lower("loss@10", adam, than=sgd)).name == "supported"


def test_runs_that_keep_coming_use_evidence_that_may_be_looked_at(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 0.1, 20), rng.normal(0, 0.1, 24)
    runs = values(tmp_path, {"a": a.tolist(), "b": b.tolist()}, extendable=True)
    verdict = evaluate(higher("accuracy", runs["a"], than=runs["b"]))
    assert verdict.name == "supported"
    assert "20 and 24 recorded runs in 20 blocks of 1; more may follow" in str(verdict)
    assert str(verdict).endswith("95.0% confidence sequence")
    assert difference(verdict)[1] == pytest.approx(np.median(a - b[:20]))
    assert difference(verdict)[0] > 0
    single = evaluate(at_least("accuracy", runs["a"], 0.5))
    assert single.name == "supported"
    assert "20 recorded runs; more may follow" in str(single)
    with pytest.raises(ClaimError, match="read them without extendable=True"):
        evaluate(equivalent_in("accuracy", runs["a"], runs["b"], within=1))


def train(seed: int) -> int:
    return 1


def number(*trials: Any) -> Any:
    return np.zeros(16)


NAMES = "and higher, lower, highest, lowest, at_least, at_most and equivalent_in"
BAD_CLAIMS: dict[str, tuple[Callable[[Runs, Runs], Any], str]] = {
    "unknown name": (
        lambda v, c: higher("acc", v["adam"], than=v["sgd"]),
        "'acc' was not recorded for adam; it has accuracy$",
    ),
    "unknown name of curves": (lambda v, c: at_least("acc@10", c["adam"], 1), "it has loss, and loss@STEP at a step"),
    "no text": (lambda v, c: at_least(3, v["adam"], 1), "measure=3 was not recorded"),  # type: ignore[arg-type]
    "step without steps": (
        lambda v, c: at_least("accuracy@10", v["adam"], 1),
        "the table of adam has none; try 'accuracy'",
    ),
    "different ends": (
        lambda v, c: lower("loss", c["adam"], than=c["sgd"]),
        r"end at different steps \(20, 30\), so name a step; all of them recorded loss@10",
    ),
    "lacking step": (
        lambda v, c: lower("loss@20", c["adam"], than=c["sgd"]),
        "6 of 6 runs of sgd lack step 20 .* its runs have 10 and 30 nearby; all runs of the claim recorded loss@10",
    ),
    "step beyond integers": (
        lambda v, c: at_most(f"loss@{10**30}", c["adam"], 1),
        "a step of 31 digits, .* at most 18",
    ),
    "other measures": (
        lambda v, c: higher("accuracy", v["adam"], than=c["sgd"]),
        "'accuracy' was not recorded for sgd; it has loss",
    ),
    "mixed": (
        lambda v, c: higher("accuracy", v["adam"], than=FunctionCondition(train=train, budget=10)),
        "was recorded and train is to be trained",
    ),
    "increases": (lambda v, c: increases("accuracy", [(1, v["adam"]), (2, v["sgd"])]), f"increases is not .*{NAMES}"),
    "decreases": (lambda v, c: decreases("loss", [(1, c["adam"]), (2, c["sgd"])]), f"decreases is not .*{NAMES}"),
    "exceeds": (lambda v, c: exceeds(number, 0, of=[v["adam"], v["sgd"]]), f"exceeds is not .*{NAMES}"),
    "negative margin": (lambda v, c: higher("accuracy", v["adam"], than=v["sgd"], by=-1), "by=-1 must be"),
}  # fmt: skip


@pytest.mark.parametrize(("claim", "message"), BAD_CLAIMS.values(), ids=BAD_CLAIMS)
def test_bad_claims_are_one_clear_error(claim: Callable[[Runs, Runs], Any], message: str, tmp_path: Path) -> None:
    runs, of_curves = values(tmp_path), curves(tmp_path)
    with pytest.raises(LossactError, match=message):
        evaluate(claim(runs, of_curves))


def test_a_plan_trains_nothing(tmp_path: Path) -> None:
    runs = values(tmp_path)
    assert "nothing is trained" in str(plan(higher("accuracy", runs["adam"], than=runs["sgd"])))


CLAIMS = """
from pathlib import Path
from lossact import at_most, equivalent_in, higher, highest, read_runs

RUNS = read_runs(Path(__file__).parents[1] / "values.csv", condition="optimizer", run="seed")

@pytest.mark.claim("Adam is more accurate than SGD", recorded="supported")
def test_higher():
    return higher("accuracy", RUNS["adam"], than=RUNS["sgd"])

@pytest.mark.claim("SGD is more accurate than Adam", recorded="supported")
def test_wrong_record():
    return higher("accuracy", RUNS["sgd"], than=RUNS["adam"])

@pytest.mark.claim("Adam is best")
def test_highest():
    return highest("accuracy", RUNS["adam"], of=list(RUNS.values()))

@pytest.mark.claim("Lion is as good as SGD within two points", recorded="supported")
def test_equivalent():
    return equivalent_in("accuracy", RUNS["lion"], RUNS["sgd"], within=0.02)

@pytest.mark.claim("Lion stays at or below 0.91", recorded="inconclusive")
def test_few():
    return at_most("accuracy", RUNS["lion"], 0.91)
"""


def test_claims_of_a_family_are_decided_and_reported(claims: Claims) -> None:
    values(claims.pytester.path)
    claims.write(CLAIMS, size=5)
    page = claims.pytester.path / "page.html"
    result = claims.run("--claims-html", str(page))
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*recorded SUPPORTED, measured REFUTED*",
            "*5 claims, alpha 0.025/5 a side*",
            "*8 and 7 recorded runs; a fixed number*",
            "*Hodges-Lehmann shift of accuracy +0.0069*99.0% interval*",
            "*medians of accuracy: adam 0.9116, sgd 0.9049*",
        ]
    )
    assert "reached" not in result.stdout.str()
    verdicts = claims.verdicts()
    assert {name: claim["verdict"] for name, claim in verdicts.items()} == {
        "test_higher": "supported",
        "test_wrong_record": "refuted",
        "test_highest": "supported",
        "test_equivalent": "supported",
        "test_few": "inconclusive",
    }
    best = verdicts["test_higher"]
    assert best["budget"] is None
    assert best["difference"]["name"] == "Hodges-Lehmann shift"
    assert best["difference"]["unit"] == "accuracy"
    assert [condition["median_value"] for condition in best["conditions"]] == [0.9116, 0.9049]
    assert verdicts["test_few"]["difference"]["low"] is None
    whole = json.loads((files("lossact.report") / "schema.json").read_text())
    schema = {"$ref": "#/$defs/verdicts", "$defs": whole["$defs"]}
    jsonschema.Draft202012Validator(schema).validate(json.loads(claims.json.read_text()))
    text = page.read_text()
    assert "median accuracy" in text
    assert "Hodges-Lehmann shift of accuracy +0.0069" in text
    assert "median updates" not in text
    claims.run("--claims-strict").assert_outcomes(passed=3, failed=2)
