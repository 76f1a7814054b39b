"""What --claims-json says of errors: of one that ends the run, and of a claim's own."""

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from tests.pytest_plugin.conftest import CLAIMS, Claims

SCHEMA = json.loads((files("lossact.report") / "schema.json").read_text())

BROKEN = """
@pytest.mark.claim("the learning rate is none", source="a paper", recorded="supported")
def test_rate():
    return faster(EASY, than=Condition(name="x", network=MLPConfig(activation="relu"), loss="l2", data=RandomImages(),
                                       optimizer=SGD(learning_rate=-0.1), budget=1, target=Accuracy().at_least(0.9)))

@pytest.fixture
def missing(tmp_path):
    return ImageFiles.in_directory(tmp_path, "random")

@pytest.mark.claim("its data are missing")
def test_fixture(missing):
    return faster(EASY, than=HARD)

@pytest.mark.claim("it is broken")
def test_crash():
    raise ZeroDivisionError("division; by zero")

@pytest.mark.claim("it claims nothing")
def test_nothing():
    return None

@pytest.mark.claim()
def test_unmarked():
    return faster(EASY, than=HARD)
"""


def fitting(document: Any, definition: str) -> Any:
    for schema in (SCHEMA, {"$ref": f"#/$defs/{definition}", "$defs": SCHEMA["$defs"]}):
        jsonschema.Draft202012Validator(schema).validate(document)
    return document


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_a_claim_that_an_error_ended_has_it_beside_claims_with_verdicts(claims: Claims, workers: list[str]) -> None:
    claims.write(CLAIMS + BROKEN, size=7)
    claims.run("--claims-max-replicas", "64", *workers).assert_outcomes(passed=1, failed=5, errors=1)
    document = fitting(json.loads(claims.json.read_text()), "verdicts")
    assert document["version"] == 1
    verdicts = claims.verdicts()
    decided = {name: verdicts[name]["verdict"] for name in ("test_true", "test_false")}
    assert decided == {"test_true": "supported", "test_false": "refuted"}
    assert verdicts["test_true"]["error"] is verdicts["test_false"]["error"] is None
    assert verdicts["test_rate"] == {
        "id": "claims/test_claims.py::test_rate", "statement": "the learning rate is none", "source": "a paper",
        "family": "claims", "family_size": 7, "recorded": "supported", "verdict": None,
        "reason": "learning_rate=-0.1 must be > 0",
        "error": {"kind": "InputError", "message": "learning_rate=-0.1 must be > 0", "way_out": "try 0.1"},
    }  # fmt: skip
    errors = {name: verdicts[name]["error"] for name in ("test_fixture", "test_crash", "test_nothing", "test_unmarked")}
    assert {name: error["kind"] for name, error in errors.items()} == {
        "test_fixture": "DataError", "test_crash": "ZeroDivisionError", "test_nothing": "ClaimError",
        "test_unmarked": "ClaimError",
    }  # fmt: skip
    assert errors["test_fixture"]["way_out"] == "give the folder that holds it"
    assert errors["test_crash"] == {"kind": "ZeroDivisionError", "message": "division; by zero", "way_out": ""}
    assert verdicts["test_unmarked"]["statement"] == ""


def test_a_claim_whose_fixture_fails_after_its_verdict_has_both(claims: Claims) -> None:
    claims.write("""
@pytest.fixture
def folder():
    yield
    raise OSError("cannot be removed")

@pytest.mark.claim("an easy target is met first")
def test_true(folder):
    return faster(EASY, than=HARD)
""")
    claims.run("--claims-max-replicas", "64")
    fitting(json.loads(claims.json.read_text()), "verdicts")
    (claim,) = json.loads(claims.json.read_text())["claims"]
    assert claim["verdict"] == "supported"
    assert claim["error"] == {"kind": "OSError", "message": "cannot be removed", "way_out": ""}


def test_a_store_that_cannot_be_used_is_the_error_of_the_first_claim_and_ends_the_run(claims: Claims) -> None:
    claims.write()
    (claims.pytester.path / ".lossact").mkdir()
    (claims.pytester.path / ".lossact" / "trials.sqlite").mkdir()
    claims.run()
    (claim,) = fitting(json.loads(claims.json.read_text()), "verdicts")["claims"]
    assert (claim["verdict"], claim["error"]["kind"]) == (None, "StoreError")


ENDS = {
    "option": (
        ["--claims-alpha=0.7"],
        4,
        {"kind": "InputError", "message": "--claims-alpha=0.7: must lie between 0 and 1/2, both excluded",
         "way_out": "try 0.025"},
    ),
    "number": (
        ["--claims-max-replicas=0"],
        4,
        {"kind": "InputError", "message": "--claims-max-replicas=0: must be an integer >= 1", "way_out": "try 2048"},
    ),
    "choice": (
        ["--claims-executor=slurm"],
        4,
        {"kind": "InputError", "message": "--claims-executor=slurm: must be one of local, ray", "way_out": "try local"},
    ),
    "place": (["nowhere"], 4, {"kind": "UsageError", "message": "file or directory not found: nowhere", "way_out": ""}),
    "selection": (
        ["-k", "nothing"],
        5,
        {"kind": "ClaimError", "message": "no claim was selected",
         "way_out": "give a file of claims, or one as FILE::NAME"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_an_error_that_ends_the_run_is_alone_on_standard_output(claims: Claims, end: str) -> None:
    arguments, status, error = ENDS[end]
    claims.write()
    run = claims.pytester.runpytest_subprocess("claims", "--claims-json", "-", *arguments, timeout=240)
    assert run.ret == status
    assert fitting(json.loads(run.stdout.str()), "error") == {"error": error}
    assert "Traceback" not in run.stderr.str()


def test_a_family_that_is_too_small_and_a_file_that_cannot_be_read(claims: Claims) -> None:
    claims.write(size=1)
    assert claims.run().ret == pytest.ExitCode.USAGE_ERROR
    error = fitting(json.loads(claims.json.read_text()), "error")["error"]
    assert error["kind"] == "ClaimError"
    assert error["message"].endswith("family.toml: size=1, but 2 claims were collected")
    assert error["way_out"] == "write size = 2 (each claim's level becomes alpha / 2)"
    claims.write("import nothing_of_that_name\n", name="test_other.py", size=2)
    assert claims.run().ret == pytest.ExitCode.INTERRUPTED
    error = fitting(json.loads(claims.json.read_text()), "error")["error"]
    assert error["kind"] == "ClaimError"
    assert error["message"].startswith("claims/test_other.py: ModuleNotFoundError: ")
    assert "nothing_of_that_name" in error["message"]
    assert claims.run("-n", "2", "-k", "nothing").ret != 0
    assert fitting(json.loads(claims.json.read_text()), "error")["error"] == error


def test_a_projects_hook_that_fails_is_an_error_that_ends_the_run(claims: Claims) -> None:
    folder = claims.write()
    (folder / "conftest.py").write_text("def pytest_collection_finish():\n    raise RuntimeError('no machine')\n")
    assert claims.run().ret == pytest.ExitCode.INTERNAL_ERROR
    error = fitting(json.loads(claims.json.read_text()), "error")["error"]
    assert error == {"kind": "RuntimeError", "message": "no machine", "way_out": ""}


def test_verdicts_in_the_ini_files_place_outlast_a_run_that_a_mistake_ended(claims: Claims) -> None:
    claims.write()
    claims.pytester.makeini("[pytest]\nclaims_json = kept.json\n")
    kept = claims.pytester.path / "kept.json"
    kept.write_text("{}")
    assert claims.pytester.runpytest_inprocess("nowhere").ret == pytest.ExitCode.USAGE_ERROR
    assert kept.read_text() == "{}"


def test_an_error_that_cannot_be_written_is_said_beside_why(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    claims.write()
    monkeypatch.setattr("lossact.report.files.write_whole", fail)
    run = claims.run("--claims-alpha=0.7")
    run.stderr.fnmatch_lines(["verdicts as JSON: not written to *verdicts.json (disk full)", "ERROR: --claims-alpha=*"])


@pytest.mark.parametrize(
    ("option", "workers"),
    [
        ("--claims-json", ()),
        ("--claims-html", ()),
        ("--claims-json", ("-n", "2")),
        ("--claims-html", ("-p", "no:terminal")),
        ("--claims-json", ("-p", "no:terminal")),
    ],
)
def test_a_file_that_could_not_be_written_is_no_success(option: str, workers: tuple[str, ...], claims: Claims) -> None:
    claims.write(size=3)
    assert claims.run("-k", "true", *workers).ret == pytest.ExitCode.OK
    blocked = claims.pytester.path / "blocked"
    claims.pytester.makeconftest(
        f"""
        import pathlib
        def pytest_sessionfinish():
            pathlib.Path({str(blocked)!r}).write_text("")  # a file where a folder must be
        """
    )
    run = claims.run("-k", "true", *workers, option, str(blocked / "out" / "file.html"))
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    if "no:terminal" not in workers:
        run.stdout.fnmatch_lines(["*: not written to *"])


def test_a_claim_whose_process_died_is_listed_and_so_is_a_file_that_cannot_be_read(claims: Claims) -> None:
    dies = '\n@pytest.mark.claim("it dies")\ndef test_dies():\n    import os\n    os._exit(5)\n'
    claims.write(CLAIMS + dies)
    claims.write("\nimport nowhere_to_be_found\n" + CLAIMS, name="test_unreadable.py")
    claims.write("\nimport nowhere_to_be_found\n", name="test_not_of_claims.py").joinpath(
        "test_not_of_claims.py"
    ).write_text("import nowhere_to_be_found\n")
    options = ("-n", "2", "--continue-on-collection-errors", "--claims-max-replicas", "64")
    assert claims.run(*options, subprocess=True).ret == pytest.ExitCode.TESTS_FAILED
    document = fitting(json.loads(claims.json.read_text()), "verdicts")
    by_id = {claim["id"].removeprefix("claims/"): claim for claim in document["claims"]}
    assert by_id.keys() == {
        "test_claims.py::test_true", "test_claims.py::test_false", "test_claims.py::test_dies", "test_unreadable.py",
    }  # fmt: skip
    died, unread = by_id["test_claims.py::test_dies"], by_id["test_unreadable.py"]
    assert died["verdict"] is unread["verdict"] is None
    assert "crashed" in died["error"]["message"]
    assert "No module named 'nowhere_to_be_found'" in unread["error"]["message"]


STOPPED = """
@pytest.mark.claim("it is stopped")
def test_stopped():
    raise KeyboardInterrupt
"""
INTERRUPTED_AGAIN = """
class Plugin:
    def pytest_keyboard_interrupt(self):
        raise KeyboardInterrupt

def pytest_sessionstart(session):
    session.config.pluginmanager.register(Plugin())
"""


def test_a_second_interruption_writes_nothing_either(claims: Claims) -> None:
    claims.write(CLAIMS + STOPPED)
    claims.pytester.makeconftest(INTERRUPTED_AGAIN)
    claims.json.write_text("the verdicts of before")
    claims.run("--claims-max-replicas", "64", subprocess=True)
    assert claims.json.read_text() == "the verdicts of before"


def test_an_interrupted_worker_of_xdist_writes_nothing_either(claims: Claims) -> None:
    claims.write(CLAIMS + STOPPED)
    claims.json.write_text("the verdicts of before")
    assert claims.run("--claims-max-replicas", "64", "-n", "1", subprocess=True).ret == pytest.ExitCode.INTERRUPTED
    assert claims.json.read_text() == "the verdicts of before"
