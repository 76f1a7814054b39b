import json

import pytest

from tests.pytest_plugin.conftest import CLAIMS, Claims


def recorded(verdict: str) -> str:
    return CLAIMS.replace('source="common sense"', f'recorded="{verdict}"')


def test_unrecorded_claims_pass_where_supported_and_fail_elsewhere(claims: Claims) -> None:
    claims.write()
    run = claims.run("-v")
    run.assert_outcomes(passed=1, failed=1)
    run.stdout.fnmatch_lines(["*::test_true SUPPORTED*", "*::test_false REFUTED*"])
    run.stdout.fnmatch_lines(
        [
            "no verdict is recorded, measured REFUTED; recorded='refuted' in its marker expects that",
            "REFUTED (reversed): hard reaches*before easy",
        ]
    )
    run.stdout.fnmatch_lines(
        [
            "*= claims: claims =*",
            "each claim at alpha 0.025 a side by itself, not corrected*",
            "SUPPORTED* 64  true (reached by nobody: hard)",
        ]
    )


def test_a_record_that_holds_passes_whatever_the_verdict(claims: Claims) -> None:
    claims.write(CLAIMS.replace('met first")\ndef test_false', 'met first", recorded="refuted")\ndef test_false'))
    claims.run().assert_outcomes(passed=2)


@pytest.mark.parametrize("verdict", ["refuted", "inconclusive"])
def test_a_record_that_does_not_hold_fails_just_that_claim(claims: Claims, verdict: str) -> None:
    claims.write(recorded(verdict))
    run = claims.run("-k", "true")
    run.assert_outcomes(failed=1, deselected=1)
    run.stdout.fnmatch_lines(
        [
            f"recorded {verdict.upper()}, measured SUPPORTED",
            "SUPPORTED (hard reached the target in none of 64 replicas): easy reaches the target before hard",
            "win probability *confidence sequence*",
            "evidence: support *, refute *; either needs 40",
            "easy before hard: * wins, * ties, * losses",
        ]
    )


@pytest.mark.parametrize(
    "option", ["--claims-seed=1", "--claims-alpha=0.01", "--claims-delta=0.2", "--claims-max-replicas=128"]
)
def test_under_another_setting_records_decide_nothing(claims: Claims, option: str) -> None:
    claims.write(recorded("refuted"))
    run = claims.run("-k", "true", option)
    run.assert_outcomes(passed=1, deselected=1)
    assert "decide nothing here" in " ".join(run.outlines)
    run.stdout.fnmatch_lines(["*on record for the default setting: refuted"])


def test_records_hold_for_the_setting_of_the_ini_file(claims: Claims) -> None:
    claims.write(recorded("refuted"))
    claims.pytester.makeini("[pytest]\nclaims_seed = 1\n")
    claims.run("-k", "true").assert_outcomes(failed=1, deselected=1)
    claims.run("-k", "true", "--claims-seed=0").assert_outcomes(passed=1, deselected=1)


def test_strict_fails_whatever_is_not_supported(claims: Claims) -> None:
    claims.write(CLAIMS.replace('met first")\ndef test_false', 'met first", recorded="refuted")\ndef test_false'))
    run = claims.run("--claims-strict")
    run.assert_outcomes(passed=1, failed=1)
    run.stdout.fnmatch_lines(["--claims-strict asks for SUPPORTED, measured REFUTED"])


def test_a_short_budget_is_inconclusive_and_says_so(claims: Claims) -> None:
    claims.write(
        """
@pytest.mark.claim("nobody arrives")
def test_nobody():
    return faster(condition("a", budget=2, target=1.0), than=condition("b", "l2", budget=2, target=1.0))
"""
    )
    run = claims.run("-v")
    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*::test_nobody INCONCLUSIVE*", "*looking ended at replica *; budget too short"])
    assert claims.verdicts()["test_nobody"]["reason"] == "budget too short"


def test_json_holds_the_stated_fields(claims: Claims) -> None:
    claims.write(CLAIMS + '\n@pytest.mark.claim("o")\ndef test_order():\n    return ordering(EASY, HARD)\n', size=3)
    claims.run("--claims-seed=3")
    document = json.loads(claims.json.read_text())
    assert document.keys() == {"version", "lossact", "torch", "device", "seed", "alpha", "delta", "claims"}
    assert (document["seed"], document["alpha"], document["delta"], document["device"]) == (3, 0.025, 0.1, "cpu")
    claim = claims.verdicts()["test_order"]
    assert claim.keys() >= {
        "id", "statement", "source", "family", "family_size", "recorded", "verdict", "reason", "effect", "budget",
        "replicas", "evidence", "conditions", "story", "seconds",
    }  # fmt: skip
    assert claim["effect"].keys() == {"name", "value", "low", "high", "level"}
    assert claim["effect"]["level"] == pytest.approx(1 - 2 * 0.025 / 3)
    assert claim["evidence"].keys() == {"support", "refute"}
    names = {"name", "replicas", "reached", "diverged", "median_steps_to_target"}
    assert [condition.keys() for condition in claim["conditions"]] == [names, names]
    assert claim["story"]["n"] == claim["replicas"]
    assert claims.verdicts()["test_true"]["story"] is None
    assert claims.verdicts()["test_true"]["source"] == "common sense"


def test_junit_holds_verdict_effect_and_interval(claims: Claims) -> None:
    claims.write()
    claims.run("--junitxml=junit.xml", "-k", "true", "-W", "error")
    text = (claims.pytester.path / "junit.xml").read_text()
    for name in ("verdict", "effect", "interval"):
        assert f'<property name="{name}"' in text
    assert 'value="supported"' in text
