import pytest

from tests.pytest_plugin.conftest import CLAIMS, Claims


@pytest.mark.parametrize("arguments", [[], ["-k", "true"], ["-n", "2"]], ids=" ".join)
def test_a_declared_size_sets_the_level_whatever_is_selected(claims: Claims, arguments: list[str]) -> None:
    claims.write(size=5)
    run = claims.run(*arguments)
    assert "5 claims, alpha 0.025/5 a side" in " ".join(run.outlines)
    assert claims.verdicts()["test_true"]["effect"]["level"] == pytest.approx(0.99)
    assert claims.verdicts()["test_true"]["family_size"] == 5


def test_an_undeclared_family_is_not_corrected_however_it_is_run(claims: Claims) -> None:
    """By its folder, its file, its node id and with -k: the same level, and a line that says what it is."""
    file = claims.write() / "test_claims.py"
    for arguments in (["claims"], [str(file)], [f"{file}::test_true"], ["claims", "-k", "true"]):
        run = claims.pytester.runpytest_inprocess(*arguments, "--claims-json", str(claims.json))
        output = " ".join(" ".join(run.outlines).split())
        assert "each claim at alpha 0.025 a side by itself, not corrected for their number" in output
        assert "write size = N in a family.toml" in output
        assert claims.verdicts()["test_true"]["effect"]["level"] == pytest.approx(0.95)
        assert claims.verdicts()["test_true"]["family_size"] == 1


def test_more_claims_than_declared_are_an_error(claims: Claims) -> None:
    claims.write(size=1)
    run = claims.run()
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*family.toml: size=1, but 2 claims were collected; write size = 2*"])


def test_workers_say_so_too(claims: Claims) -> None:
    claims.write(size=1)
    run = claims.run("-n", "1")
    run.assert_outcomes(failed=2)
    run.stdout.fnmatch_lines(["*family.toml: size=1, but 2 claims were collected*"])


def test_folders_with_the_same_name_are_two_families(claims: Claims) -> None:
    source = claims.write() / "test_claims.py"
    for parent in ("f", "g"):
        folder = claims.pytester.path / "claims" / parent / "same"
        folder.mkdir(parents=True)
        (folder / f"test_{parent}.py").write_text(source.read_text())
    source.unlink()
    run = claims.run()
    assert len([line for line in run.outlines if "= claims: same =" in line]) == 2
    run.assert_outcomes(passed=2, failed=2)


def test_a_part_of_an_undeclared_family_is_held_to_its_record(claims: Claims) -> None:
    """A part is tested at the level of the whole family, so its recorded verdict applies."""
    source = claims.write(CLAIMS.replace('source="common sense"', 'recorded="refuted"')) / "test_claims.py"
    claims.run("-k", "true").assert_outcomes(failed=1, deselected=1)
    alone = claims.pytester.runpytest_inprocess(f"{source}::test_true")
    alone.assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("size = 0", "size=0 must be an integer >= 1"),
        ("size", "not readable as TOML"),
        ("", "size=None must be"),
        ("size = 5\nalpha = 0.1", "unknown alpha"),
    ],
)
def test_a_bad_declaration_is_named(claims: Claims, content: str, message: str) -> None:
    (claims.write() / "family.toml").write_text(content)
    run = claims.run()
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*family.toml: {message}*"])


def test_each_folder_is_a_family(claims: Claims) -> None:
    claims.write()
    other = claims.pytester.path / "claims" / "other"
    other.mkdir()
    source = (claims.pytester.path / "claims" / "test_claims.py").read_text()
    (other / "test_other.py").write_text(source.replace("test_true", "test_other"))
    (other / "family.toml").write_text('name = "another"\nsize = 4\n')
    run = claims.run("--import-mode=importlib")
    run.stdout.fnmatch_lines_random(["*= claims: claims =*", "*= claims: another =*"])
    assert claims.verdicts()["test_other"]["family_size"] == 4


def test_processes_share_the_store(claims: Claims) -> None:
    claims.write(CLAIMS + CLAIMS.replace("test_", "test_again_"))
    alone = claims.run("--claims-store=one")
    first = claims.verdicts()
    together = claims.run("--claims-store=two", "-n", "2")
    second = claims.verdicts()
    assert alone.parseoutcomes() == together.parseoutcomes()
    for name in first:
        del first[name]["seconds"], second[name]["seconds"]
    assert first == second


EXACT = """
from lossact import exact

@pytest.mark.claim("a theorem", exact=True)
def test_theorem():
    return exact("1 + 1 = 2", deviations=lambda: [0.0], tolerance=1e-12)

@pytest.mark.claim("a wrong one", exact=True)
def test_wrong():
    return exact("1 + 1 = 3", deviations=lambda: [1.0], tolerance=1e-12)
"""


def test_theorems_do_not_count_in_their_family(claims: Claims) -> None:
    claims.write(CLAIMS + EXACT, size=2)
    run = claims.run("-W", "error", "--junitxml", "junit.xml")
    run.assert_outcomes(passed=2, failed=2)
    run.stdout.fnmatch_lines(["SUPPORTED*0e+00*exact*theorem", "REFUTED*1e+00*exact*wrong"])
    assert claims.verdicts()["test_true"]["family_size"] == 2
    assert claims.verdicts()["test_theorem"]["evidence"] == {"support": None, "refute": None}


def test_a_theorem_must_be_marked_as_one(claims: Claims) -> None:
    claims.write(EXACT.replace(", exact=True", ""))
    run = claims.run()
    run.assert_outcomes(failed=2)
    run.stdout.fnmatch_lines(["*mark a claim with exact=True where, and only where, it returns lossact.exact*"])


def test_a_record_of_a_theorem_holds_under_every_setting(claims: Claims) -> None:
    claims.write(EXACT.replace('"a wrong one"', '"a wrong one", recorded="supported"'))
    claims.run("--claims-seed", "3").assert_outcomes(passed=1, failed=1)


def test_what_failed_last_and_a_single_claim_keep_the_familys_level(claims: Claims) -> None:
    folder = claims.write(size=5)
    claims.run().assert_outcomes(passed=1, failed=1)
    claims.run("--lf").assert_outcomes(failed=1)
    assert claims.verdicts().keys() == {"test_false"}
    assert claims.verdicts()["test_false"]["effect"]["level"] == pytest.approx(0.99)
    json = str(claims.json)
    claims.pytester.runpytest_inprocess(f"{folder}/test_claims.py::test_true", "--claims-json", json)
    assert claims.verdicts()["test_true"]["effect"]["level"] == pytest.approx(0.99)


def test_a_verdict_does_not_depend_on_what_was_trained_before(claims: Claims) -> None:
    claims.write(size=5)
    claims.run("--claims-max-replicas", "64")
    claims.run()
    grown = {name: claim | {"seconds": 0} for name, claim in claims.verdicts().items()}
    claims.run("--claims-store", "fresh")
    assert grown == {name: claim | {"seconds": 0} for name, claim in claims.verdicts().items()}


# With twelve replicas the evidence for the second claim is 51: 80 is needed in a family of two, 40 after the first.
SUPPORTED_BY_HOLM = """
import numpy as np
from lossact import FunctionCondition, higher

def value(seed, shift, stream):
    return {"value": shift + np.random.default_rng([seed, stream]).random()}

def shifted(shift, stream):
    return FunctionCondition(
        name=f"{shift}, {stream}", train=value, config={"shift": shift, "stream": stream}, measures=["value"], budget=10
    )

@pytest.mark.claim("a large shift")
def test_strong():
    return higher("value", shifted(2.0, 1), than=shifted(0.0, 2))

@pytest.mark.claim("a smaller shift", recorded=RECORDED)
def test_weak():
    return higher("value", shifted(0.7, 27), than=shifted(0.0, 127))
"""


@pytest.mark.parametrize("options", [[], ["-n", "2"], ["--claims-strict"]], ids=" ".join)
@pytest.mark.parametrize("recorded", [None, "supported", "inconclusive"])
def test_a_test_follows_its_claim_that_holms_procedure_supports(
    claims: Claims, recorded: str | None, options: list[str]
) -> None:
    claims.write(SUPPORTED_BY_HOLM.replace("RECORDED", repr(recorded)), size=2)
    claims.pytester.makeini("[pytest]\nclaims_max_replicas = 12")
    run = claims.run(*options)
    weak = claims.verdicts()["test_weak"]
    assert (weak["verdict"], weak["recorded"]) == ("supported", recorded)
    passes = recorded != "inconclusive" or "--claims-strict" in options
    run.assert_outcomes(passed=1 + passes, failed=1 - passes)
    assert run.ret == (pytest.ExitCode.OK if passes else pytest.ExitCode.TESTS_FAILED)
    now = "passed" if passes else "failed"  # in the summary, too late for the progress
    run.stdout.fnmatch_lines([f"weak: SUPPORTED by Holm's procedure over its family, so its test has {now}"])


def test_a_run_that_ended_early_has_not_passed(claims: Claims) -> None:
    last = '\n@pytest.mark.claim("never reached")\ndef test_last():\n    return faster(EASY, than=HARD)\n'
    claims.write(SUPPORTED_BY_HOLM.replace("RECORDED", "None") + last, size=3)
    claims.pytester.makeini("[pytest]\nclaims_max_replicas = 12\nclaims_alpha = 0.05")
    run = claims.run("-x")
    assert claims.verdicts()["test_weak"]["verdict"] == "supported"
    assert "test_last" not in claims.verdicts()
    assert run.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("recorded", "status"), [("supported", pytest.ExitCode.OK), ("inconclusive", pytest.ExitCode.TESTS_FAILED)]
)
def test_the_status_follows_without_a_terminal_too(claims: Claims, recorded: str, status: pytest.ExitCode) -> None:
    claims.pytester.makeini("[pytest]\nclaims_max_replicas = 12")
    claims.write(SUPPORTED_BY_HOLM.replace("RECORDED", repr(recorded)), size=2)
    assert claims.run("-p", "no:terminal").ret == status
    assert claims.verdicts()["test_weak"]["verdict"] == "supported"


@pytest.mark.parametrize(("recorded", "outcome"), [("None", "xfailed"), ("'inconclusive'", "xpassed")])
def test_a_test_that_is_expected_to_fail_stays_as_it_is(claims: Claims, recorded: str, outcome: str) -> None:
    claims.write(SUPPORTED_BY_HOLM.replace("RECORDED)", f"{recorded})\n@pytest.mark.xfail"), size=2)
    claims.pytester.makeini("[pytest]\nclaims_max_replicas = 12")
    run = claims.run("-rA")
    run.assert_outcomes(**{"passed": 1, outcome: 1})
    assert run.ret == pytest.ExitCode.OK
