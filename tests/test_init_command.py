import compileall
import subprocess
import sys
from pathlib import Path

import pytest

import lossact.cli
from lossact.cli import main


def test_the_folder_to_start_from_is_decided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "claims")]) == 0
    assert "pytest" in capsys.readouterr().out
    command = [sys.executable, "-m", "pytest", "claims", "-W", "error", "--strict-markers"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
    assert run.returncode == 0, run.stdout
    assert run.stdout.count("\nSUPPORTED") == 3


def test_compiled_files_beside_those_to_copy_do_no_harm(tmp_path: Path) -> None:
    start = Path(lossact.cli.__file__).parent / "start"
    compileall.compile_file(start / "test_claims.py", quiet=2)
    assert main(["init", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"family.toml", "test_claims.py"}


def test_the_command_that_is_printed_can_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "my claims")]) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"pytest '{tmp_path / 'my claims'}'")


def test_what_exists_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "family.toml").write_text("size = 9\n")
    with pytest.raises(SystemExit) as stopped:
        main(["init", str(tmp_path)])
    assert stopped.value.code == 2
    assert "family.toml exists; give another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["family.toml"]
