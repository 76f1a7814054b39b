import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossact.experiment
from lossact import RayExecutor, default_compute_config
from lossact.errors import InputError
from lossact.pytest_plugin.options import Options
from lossact.training.compute_config import ComputeConfig
from tests.pytest_plugin.conftest import Claims


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--claims-max-replicas=0", "must be an integer >= 1"),
        ("--claims-max-replicas=many", "must be an integer >= 1"),
        ("--claims-max-replicas=99999999999999999999", "must be an integer <= 1,000,000,000"),
        ("--claims-alpha=0.5", "must lie between 0 and 1/2"),
        ("--claims-alpha=nan", "must lie between 0 and 1/2"),
        ("--claims-delta=0", "must lie between 0 and 1/2"),
        ("--claims-delta=wide", "must lie between 0 and 1/2"),
        ("--claims-seed=-1", "must be an integer >= 0"),
        ("--claims-seed=1.5", "must be an integer >= 0"),
        ("--claims-data=nowhere", "must be a folder that exists"),
        ("--claims-store=conftest.py", "*conftest.py is a file, but must be a folder"),
        ("--claims-json=conftest.py/x.json", "*conftest.py is a file, but must be a folder"),
        ("--claims-html=conftest.py/report", "*conftest.py is a file, but must be a folder"),
        ("--claims-json=.", "is a folder, but must be a file"),
        ("--claims-json=conftest.py", "is there, and a .py file is not written over; name another one"),
        ("--claims-wandb=maybe", "must be one of offline, online, disabled"),
        ("--claims-executor=slurm", "must be one of local, ray"),
        ("--claims-accelerator=tpu", "must be one of cpu, cuda, mps"),
    ],
)
@pytest.mark.parametrize("as_ini", [False, True])
def test_bad_options_are_one_clear_error(pytester: pytest.Pytester, option: str, message: str, as_ini: bool) -> None:
    pytester.makeconftest("")
    name, _, value = option.partition("=")
    if as_ini:
        name = name.removeprefix("--").replace("-", "_")
        pytester.makeini(f"[pytest]\n{name} = {value}\n")
    run = pytester.runpytest_inprocess(*([] if as_ini else [option]))
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"ERROR: {name}={value}: {message}*"])
    assert len([line for line in run.errlines if line.strip()]) == 1


@pytest.mark.parametrize("name", ["store", "data", "json", "alpha"])
def test_options_without_a_value_are_refused(name: str, pytester: pytest.Pytester) -> None:
    run = pytester.runpytest_inprocess(f"--claims-{name}=")  # as an unset variable of a shell gives it
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"ERROR: --claims-{name}=: has no value; give one, or leave it out"])


def test_a_list_in_pyproject_is_one_clear_error(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\nclaims_seed = [1]\n")
    run = pytester.runpytest_inprocess()
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["ERROR: claims_seed=*: must be one value, not several"])


def test_two_outputs_to_one_file_are_refused(pytester: pytest.Pytester) -> None:
    run = pytester.runpytest_inprocess("--claims-json=x.html", "--claims-html=./x.html")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["ERROR: --claims-json and --claims-html are both *x.html; give each its own file"])


def test_training_is_compiled_or_eager_not_both(claims: Claims) -> None:
    claims.write()
    run = claims.run("--claims-compiled", "--claims-eager")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["ERROR: claims cannot train both compiled and eager; leave out *"])


def test_a_second_run_trains_nothing_and_imports_no_lightning(claims: Claims) -> None:
    folder = claims.write()
    (folder / "conftest.py").write_text(
        "import sys\ndef pytest_sessionfinish():\n    print('LIGHTNING', 'lightning' in sys.modules)\n"
    )
    claims.run("-s", subprocess=True).stdout.fnmatch_lines(["*training easy, replicas 0 to 63*", "*LIGHTNING True*"])
    first = claims.verdicts()
    again = claims.run("-s", subprocess=True)
    again.stdout.fnmatch_lines(["*LIGHTNING False*"])
    again.stdout.no_fnmatch_line("*training*")
    second = claims.verdicts()
    for name in first:
        del first[name]["seconds"], second[name]["seconds"]
    assert first == second


def test_html_is_written_where_it_is_asked_for(claims: Claims) -> None:
    claims.write()
    claims.run("--claims-html=out/claims.html").stdout.fnmatch_lines(["report: *claims.html"])
    assert "REFUTED" in (claims.pytester.path / "out" / "claims.html").read_text()
    claims.run("--claims-html=out").stdout.fnmatch_lines(["report: *out"])
    assert sorted(file.name for file in (claims.pytester.path / "out").iterdir()) == [
        "claims.html", "index.html", "report.md", "verdicts.json",
    ]  # fmt: skip


def test_a_wide_terminal_shows_curves(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    claims.write()
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    claims.run(subprocess=True).stdout.re_match_lines([r"    easy +[▁▂▃▄▅▆▇█]{28} 100%   █"])
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    claims.run(subprocess=True).stdout.no_fnmatch_line("*condition *median loss*")
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    first, *_ = (claims.pytester.path / ".lossact" / "curves").rglob("*.npz")
    first.write_bytes(b"damaged")
    output = str(claims.run("--claims-html=report", subprocess=True).stdout)
    assert output.count(f"set aside as {first.stem}.damaged") == 1


def test_retrain_trains_again(claims: Claims) -> None:
    claims.write()
    claims.run()
    claims.run("--claims-retrain").stdout.fnmatch_lines(["training easy*", "training hard*"])


def test_store_none_leaves_nothing_behind(claims: Claims) -> None:
    claims.write()
    claims.run("--claims-store=none")
    assert not (claims.pytester.path / ".lossact").exists()


def test_the_store_lies_where_it_is_asked_for(claims: Claims) -> None:
    claims.write()
    claims.run("--claims-store=here")
    assert (claims.pytester.path / "here" / "trials.sqlite").is_file()
    assert not (claims.pytester.path / ".lossact").exists()


DATA_CLAIM = """
@pytest.mark.claim("an easy target is met first")
def test_on_files(claims_data):
    data = ImageFiles.in_directory(claims_data, "random", image_shape=(4, 4))
    return faster(condition("easy", target=0.6, data=data), than=condition("hard", target=0.99, data=data))
"""


def test_claims_data_is_handed_to_the_claim(claims: Claims) -> None:
    claims.write(DATA_CLAIM)
    folder = claims.pytester.path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    np.save(folder / "random_imgs.npy", rng.integers(0, 2, (20, 4, 4)))
    np.save(folder / "random_labs.npy", rng.integers(0, 2, 20))
    claims.run(f"--claims-data={folder}").assert_outcomes(passed=1)


CHOSEN_CLAIM = """
@pytest.mark.claim("the easier of two targets is met first")
def test_chosen(claims_experiment):
    easy, hard = claims_experiment({seed}).trials([EASY, HARD], 16)
    if easy.reached.mean() > hard.reached.mean():
        return faster(EASY, than=HARD)
    return faster(HARD, than=EASY)
"""


def test_a_setting_is_chosen_on_other_replicas_and_kept_in_the_store(claims: Claims) -> None:
    claims.write(CHOSEN_CLAIM.format(seed=1))
    claims.run("--claims-store=trials").assert_outcomes(passed=1)
    again = claims.run("--claims-store=trials")
    again.assert_outcomes(passed=1)
    again.stdout.no_fnmatch_line("*training*")


def test_a_setting_chosen_on_the_deciding_replicas_is_an_error(claims: Claims) -> None:
    claims.write(CHOSEN_CLAIM.format(seed=5))
    run = claims.run("--claims-seed=5")
    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*choose on another one: claims_experiment(6)*"])
    run.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("where", ["call", "fixture"])
def test_missing_data_is_one_line_before_any_training(claims: Claims, tmp_path: Path, where: str) -> None:
    claims.write(DATA_CLAIM)
    if where == "fixture":
        claims.write(
            """
@pytest.fixture
def data(claims_data):
    return ImageFiles.in_directory(claims_data, "random")

@pytest.mark.claim("an easy target is met first")
def test_on_files(data):
    return faster(EASY, than=HARD)
"""
        )
    run = claims.run(f"--claims-data={tmp_path}")
    run.assert_outcomes(**{"failed" if where == "call" else "errors": 1})
    run.stdout.fnmatch_lines(["*random_imgs.npy: no such file; give the folder that holds it"])
    run.stdout.no_fnmatch_line("*Traceback*")
    run.stdout.no_fnmatch_line("training *")


def test_the_store_stays_where_it_was_when_a_test_changes_folder(claims: Claims) -> None:
    claims.write(
        """
@pytest.mark.claim("s")
def test_moves(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return faster(EASY, than=HARD)

@pytest.mark.claim("s")
def test_stays():
    return faster(EASY, than=condition("third", target=0.99, budget=60, activation="relu"))
"""
    )
    claims.run().assert_outcomes(passed=2)
    assert (claims.pytester.path / ".lossact" / "trials.sqlite").is_file()


def test_another_process_may_hold_the_trials_that_are_to_be_shown(claims: Claims) -> None:
    claims.write()
    run = claims.run(
        "-n", "1", "--claims-store=none", "--claims-html=report", "--claims-wandb=offline", subprocess=True
    )
    run.stdout.fnmatch_lines(["report: *report", "W&B: group *, offline in *"])
    assert len(list((claims.pytester.path / ".lossact" / "wandb").glob("offline-run-*"))) == 1  # the verdicts'
    assert "median and 80% band" not in (claims.pytester.path / "report" / "index.html").read_text()
    run.assert_outcomes(passed=1, failed=1)


def test_a_relative_data_folder_stays_where_it_was_when_a_test_changes_folder(claims: Claims) -> None:
    claims.write(
        """
@pytest.mark.claim("s")
def test_moves(monkeypatch, tmp_path, request):
    monkeypatch.chdir(tmp_path)
    assert (request.getfixturevalue("claims_data") / "here.txt").is_file()
    return faster(EASY, than=HARD)
"""
    )
    folder = claims.pytester.mkdir("data")
    (folder / "here.txt").write_text("")
    claims.run("--claims-data=data").assert_outcomes(passed=1)


def test_ray_that_is_not_installed_is_one_error(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    claims.write()
    monkeypatch.setitem(sys.modules, "ray", None)
    result = claims.run("--claims-executor=ray")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --claims-executor=ray: it needs ray; pip install 'lossact[[]ray]'"])
    with pytest.raises(InputError, match=r"the executor ray needs ray; pip install 'lossact\[ray\]'"):
        RayExecutor()


def test_compiled_training_is_asked_for_and_told(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def compute_config(**arguments: Any) -> ComputeConfig:
        asked.append(arguments.pop("compiled"))
        return default_compute_config(**arguments)

    monkeypatch.setattr(lossact.experiment, "default_compute_config", compute_config)
    claims.write()
    claims.run()
    claims.run("--claims-compiled")
    claims.run("--claims-eager")
    assert asked == ["auto", True, False]
    assert Options(eager=True).flags(Options()) == ("--claims-eager",)
    assert Options(compiled=True).flags(Options()) == ("--claims-compiled",)
    assert Options(compiled=True).flags(Options(compiled=True)) == ()
