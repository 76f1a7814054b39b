from pathlib import Path

import pytest

from lossact.cli import main
from tests.pytest_plugin.conftest import CLAIMS, CONDITIONS

AXES = ["--x", "optimizer.learning_rate=0.05:0.2:2", "--y", "optimizer.momentum=0.5:0.9:2", "--max-replicas", "64"]


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of claims, and a current directory of its own."""
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{file}", *AXES], "2 claims there; give one, as {file}::test_true"),
        (["nothing.py", *AXES], "nothing.py: no claim there"),
        (
            ["{file}::test_true", "--x", "budget=1:1000:1000", "--y", "network.hidden=1:1000:1000"],
            "x and y make 1,000,000 cells, more than 10,000; take fewer, or add --yes",
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
