"""--claims-plan, --claims-max-seconds and --claims-json -."""

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from tests.pytest_plugin.conftest import Claims


def test_a_plan_is_printed_and_nothing_is_decided(claims: Claims) -> None:
    claims.write(size=2)
    result = claims.run("--claims-plan")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(
        ["*claims: plan*", "claims/test_claims.py::test_true: easy reaches the target before hard", "*effect large*"]
    )
    document = json.loads(claims.json.read_text())
    assert document["claims"] == []
    planned, _ = document["plans"]
    assert planned["id"] == "claims/test_claims.py::test_true"
    assert [effect["name"] for effect in planned["effects"]] == ["none", "small", "medium", "large"]
    check_schema(document)
    claims.run("-k", "true", "--claims-plan", "--claims-max-replicas", "64")
    assert len(json.loads(claims.json.read_text())["plans"]) == 1
    result = claims.run("--claims-max-replicas", "64")
    assert claims.verdicts()["test_true"]["replicas"] == 64


def test_a_claim_stops_when_its_time_is_up_and_says_so(claims: Claims) -> None:
    claims.write()
    claims.run("--claims-max-seconds", "0.000001", "--claims-alpha", "1e-40", "-k", "true")
    verdict = claims.verdicts()["test_true"]
    assert verdict["verdict"] == "inconclusive"
    assert verdict["reason"].startswith("time (1e-06 s) was up after 64 replicas")


RECORDED = """
@pytest.mark.claim("too close to call", recorded="inconclusive")
def test_close():
    return faster(EASY, than=HARD)
"""


def test_a_claim_that_time_left_open_does_not_confirm_a_record(claims: Claims) -> None:
    claims.write(RECORDED)
    claims.pytester.makeini("[pytest]\nclaims_alpha = 1e-40")  # so that no look decides
    claims.run("--claims-max-replicas", "64").assert_outcomes(passed=1)  # another setting: the record says nothing
    result = claims.run("--claims-max-seconds", "0.000001")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["recorded INCONCLUSIVE, not decided in time"])
    assert claims.verdicts()["test_close"]["verdict"] == "inconclusive"


def test_a_run_without_a_verdict_leaves_no_verdicts_of_an_earlier_one(claims: Claims) -> None:
    claims.write()
    claims.run("--claims-max-replicas", "64", "-k", "true")
    assert set(claims.verdicts()) == {"test_true"}
    claims.write("""
@pytest.mark.skip("no data here")
@pytest.mark.claim("an easy target is met first")
def test_true():
    return faster(EASY, than=HARD)
""")
    claims.run().assert_outcomes(skipped=1)
    assert claims.verdicts() == {}


def test_a_plan_and_training_anew_exclude_each_other(claims: Claims) -> None:
    claims.write()
    result = claims.run("--claims-plan", "--claims-retrain")
    result.stderr.fnmatch_lines(["*leave out --claims-plan or --claims-retrain*"])


TWICE = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):  # as plugins do that run a failed test again
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(2):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        failed = any(report.failed for report in reports)
        for report in reports:
            if report.failed and not attempt:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
        if not failed:
            break
    return True

def pytest_report_teststatus(report):
    if report.outcome == "rerun":
        return "rerun", "R", "RERUN"
"""
ATTEMPTS = """
TRIED = []

@pytest.mark.claim("{claimed}")
def test_again():
    TRIED.append(1)
    if len(TRIED) == {fails}:
        raise OSError("a drive that is not there")
    return faster({better}, than={worse})
"""


@pytest.mark.parametrize(
    ("fails", "better", "worse", "verdict"), [(1, "EASY", "HARD", "supported"), (2, "HARD", "EASY", None)]
)
def test_of_a_claim_that_is_run_again_the_last_attempt_counts(
    claims: Claims, fails: int, better: str, worse: str, verdict: str | None
) -> None:
    claims.write(ATTEMPTS.format(claimed="a claim", fails=fails, better=better, worse=worse))
    claims.pytester.makeconftest(TWICE)
    claims.run("--claims-max-replicas", "64")
    (claim,) = json.loads(claims.json.read_text())["claims"]
    assert claim.get("verdict") == verdict
    assert (claim["error"] is None) == (verdict is not None)


def check_schema(document: dict[str, Any]) -> None:
    whole = json.loads((files("lossact.report") / "schema.json").read_text())
    jsonschema.Draft202012Validator({"$ref": "#/$defs/verdicts", "$defs": whole["$defs"]}).validate(document)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("-s",)])
def test_verdicts_on_standard_output_have_nothing_else_beside_them(claims: Claims, options: tuple[str, ...]) -> None:
    claims.write("""
@pytest.mark.claim("an easy target is met first")
def test_loud():
    print("loud")
    return faster(EASY, than=HARD)
""")
    result = claims.pytester.runpytest_subprocess("claims", "-v", *options, "--claims-json", "-", timeout=240)
    document = json.loads(result.stdout.str())
    check_schema(document)
    assert document["claims"][0]["verdict"] == "supported"
    assert "SUPPORTED" in result.stderr.str()


def test_every_kind_of_claim_fits_the_schema(claims: Claims) -> None:
    claims.write("""
from lossact import at_least, equivalent, exact, measured, reaches, Loss, higher
from dataclasses import replace
A, B = (replace(each, measures={"accuracy": Accuracy(), "loss": Loss()}) for each in (EASY, HARD))

def deviations():
    return [0.0]

@pytest.mark.claim("a theorem", exact=True)
def test_exact():
    return exact("one is one", deviations=deviations, tolerance=1e-9)

@pytest.mark.claim("values", recorded="refuted")
def test_values():
    return higher("accuracy", A, than=B)

@pytest.mark.claim("a value")
def test_value():
    return at_least("loss", A, 100.0)

@pytest.mark.claim("an order")
def test_order():
    return ordering(EASY, HARD)

@pytest.mark.claim("as good as the other")
def test_equal():
    return equivalent(EASY, HARD)

@pytest.mark.claim("mostly there")
def test_reaches():
    return reaches(EASY, low=0.5)
""")
    claims.run("--claims-max-replicas", "64")
    document = json.loads(claims.json.read_text())
    assert len(document["claims"]) == 6
    check_schema(document)


@pytest.mark.parametrize("value", ["0", "-1", "soon", "inf", "nan"])
def test_seconds_that_are_none(claims: Claims, value: str) -> None:
    claims.write()
    result = claims.pytester.runpytest_inprocess("claims", f"--claims-max-seconds={value}")
    result.stderr.fnmatch_lines([f"*--claims-max-seconds={value}: must be a number of seconds > 0*"])
