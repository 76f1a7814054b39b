from pathlib import Path

import pytest
import torch

from lossact.cli import main
from lossact.errors import ClaimError
from lossact.pytest_plugin.collect import collect_hypotheses
from tests.pytest_plugin.conftest import CLAIMS, CONDITIONS

AXES = ["--x", "optimizer.learning_rate=0.05:0.2:2", "--y", "optimizer.momentum=0.5:0.9:2", "--max-replicas", "64"]

LOUD = """
import pytest
from lossact import FunctionCondition, faster

def train(seed, late, scale, noise):
    print("trains")
    return int(late + scale * (seed % 10) * noise)

def condition(name, late):
    return FunctionCondition(name=name, train=train, config={"late": late, "scale": 1, "noise": 1}, budget=100)

@pytest.mark.claim("the quick one is quicker")
def test_loud():
    return faster(condition("quick", 1), than=condition("slow", 20))
"""


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of claims, and another current directory."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"test_{tmp_path.name}.py"  # pytest in pytest shares its modules
    file.write_text(CONDITIONS + CLAIMS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    return file


@pytest.mark.slow
def test_the_command_maps_a_claim_and_confirms_its_best_cell(claims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", f"{claims}::test_true", *AXES, "--out", "maps", "--confirm", "best"]) == 0
    printed = capsys.readouterr().out
    assert "easy reaches the target before hard\n4 cells: supported in" in printed
    assert "most favourable: optimizer.learning_rate = " in printed
    assert "on fresh replicas (seed 1): SUPPORTED" in printed
    for suffix in ("png", "svg", "html"):
        assert Path(f"maps/map_true.{suffix}").stat().st_size > 1000
    assert Path(".lossact/trials.sqlite").is_file()


def test_the_answer_alone_is_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "test_loud.py"
    file.write_text(LOUD)
    axes = ["--x", "config.scale=1:2:2", "--y", "config.noise=1:2:2", "--store", "none"]
    assert main(["map", f"{file}::test_loud", *axes, "--out", str(tmp_path / "maps")]) == 0
    printed = capsys.readouterr()
    assert "trains" in printed.err
    assert [line.partition(" ")[0] for line in printed.out.splitlines()[:4]] == ["quick", "4", "128", "most"]
    assert all(line.startswith(str(tmp_path)) for line in printed.out.splitlines()[4:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{file}", *AXES], "2 claims there; give one, as {file}::test_true"),
        (["nothing.py", *AXES], "nothing.py: no claim there"),
        (
            ["{file}::test_true", "--x", "budget=1:1000:1000", "--y", "network.hidden=1:1000:1000"],
            "x and y make 1,000,000 cells, more than 10,000; take fewer, or add --yes",
        ),
        pytest.param(
            ["{file}::test_true", *AXES, "--accelerator", "mps"],
            "device='mps' is not on this machine; it has cpu",
            marks=pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has such a device"),
        ),
        (["{file}::test_true", "--x", "nonsense", *AXES[2:]], "axis 'nonsense' must be path=low:high:count"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, claims: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["map", *(argument.replace("{file}", claims.name) for argument in arguments), "--out", "maps"])
    assert stopped.value.code == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("lossact map: ")
    assert message.replace("{file}", claims.name) in error


def test_a_map_of_another_claim_is_not_replaced(claims: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page = Path("maps/map_true.html")
    page.parent.mkdir()
    page.write_text('<meta name="lossact-claim" content="/other/test_claims.py::test_true">')
    with pytest.raises(SystemExit) as stopped:
        main(["map", f"{claims.name}::test_true", *AXES, "--out", "maps"])
    assert stopped.value.code == 2
    assert "map_true.html is the map of another claim; give another folder" in capfd.readouterr().err
    page.write_text('<meta name="lossact-axes" content="budget batch_size">')
    with pytest.raises(SystemExit) as stopped:
        main(["map", f"{claims.name}::test_true", *AXES, "--out", "maps"])
    assert stopped.value.code == 2
    assert "map_true.html is a map over other axes; give another folder" in capfd.readouterr().err


@pytest.mark.parametrize("options", ["-ra -q", "-v --tb=short --color=yes", "-n 2"])
def test_options_of_a_project_do_not_hide_its_claims(options: str, claims: Path) -> None:
    Path("pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\naddopts = {options}\n")
    assert [name.partition("::")[2] for name in collect_hypotheses([f"{claims.name}::test_true"])] == ["test_true"]


@pytest.mark.parametrize(
    ("conftest", "message"),
    [("import nothere", "No module named 'nothere'"), ("def pytest_runtestloop():\n    1 / 0", "ZeroDivisionError")],
)
def test_what_ends_pytest_is_shown(conftest: str, message: str, claims: Path) -> None:
    Path("conftest.py").write_text(conftest)
    with pytest.raises(ClaimError, match=message):
        collect_hypotheses([f"{claims.name}::test_true"])


def test_an_option_that_pytest_does_not_know_is_named(claims: Path) -> None:
    Path("pytest.ini").write_text("[pytest]\naddopts = --nothing-known\n")
    with pytest.raises(ClaimError, match="pytest does not take its options: unrecognized arguments: --nothing-known"):
        collect_hypotheses([f"{claims.name}::test_true"])


def test_a_file_as_output_folder_is_refused(claims: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["map", f"{claims.name}::test_true", *AXES, "--out", claims.name])
    assert stopped.value.code == 2
    assert f"{claims} is a file, but must be a folder; give another place" in capfd.readouterr().err
