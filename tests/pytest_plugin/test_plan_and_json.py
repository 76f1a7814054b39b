"""--claims-plan, --claims-max-seconds and --claims-json -."""

import json
from importlib.resources import files

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
    assert not claims.json.exists()
    result = claims.run("--claims-max-replicas", "64")
    assert claims.verdicts()["test_true"]["replicas"] == 64


def test_a_claim_stops_when_its_time_is_up_and_says_so(claims: Claims) -> None:
    claims.write()
    claims.run("--claims-max-seconds", "0.000001", "--claims-alpha", "1e-40", "-k", "true")
    verdict = claims.verdicts()["test_true"]
    assert verdict["verdict"] == "inconclusive"
    assert verdict["reason"].startswith("time (1e-06 s) was up after 64 replicas")


@pytest.mark.slow
def test_verdicts_on_standard_output_have_nothing_else_beside_them(claims: Claims) -> None:
    claims.write("""
@pytest.mark.claim("an easy target is met first")
def test_loud():
    print("loud")
    return faster(EASY, than=HARD)
""")
    result = claims.pytester.runpytest_subprocess("claims", "-v", "--claims-json", "-", timeout=240)
    document = json.loads(result.stdout.str())
    jsonschema.Draft202012Validator(json.loads((files("lossact.report") / "schema.json").read_text())).validate(
        document
    )
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
    whole = json.loads((files("lossact.report") / "schema.json").read_text())
    jsonschema.Draft202012Validator({"$ref": "#/$defs/verdicts", "$defs": whole["$defs"]}).validate(document)


@pytest.mark.parametrize("value", ["0", "-1", "soon", "inf", "nan"])
def test_seconds_that_are_none(claims: Claims, value: str) -> None:
    claims.write()
    result = claims.pytester.runpytest_inprocess("claims", f"--claims-max-seconds={value}")
    result.stderr.fnmatch_lines([f"*--claims-max-seconds={value}: must be a number of seconds > 0*"])
