"""The wheel alone, without the repository beside it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import lossact

ROOT = Path(lossact.__file__).parents[1]


def run(*command: str, folder: Path, path: Path) -> str:
    """Run a command of Python's in a folder, with one more folder to import from."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False, timeout=500,
        env=os.environ | {"PYTHONPATH": str(path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_wheel_decides_claims_and_writes_a_report(tmp_path: Path) -> None:
    site = tmp_path / "site"
    run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT), folder=tmp_path, path=site)
    (wheel,) = tmp_path.glob("lossact-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        programs = {"cnn.cpp", "elementwise.h", "mlp.cpp", "training.h"}
        assert {f"lossact/replicas/cpp/{name}" for name in programs} <= set(archive.namelist())
        assert {name.partition("/")[0] for name in archive.namelist()} == {
            "lossact",
            f"lossact-{lossact.__version__}.dist-info",
        }
    where = tmp_path / "show.py"
    where.write_text("import lossact; print(lossact.__file__)")
    assert Path(run("show", folder=tmp_path, path=site).strip()) == site / "lossact" / "__init__.py"
    run("lossact.cli", "init", folder=tmp_path, path=site)
    page = tmp_path / "claims.html"
    output = run("pytest", "claims", "-k", "momentum", f"--claims-html={page}", folder=tmp_path, path=site)
    assert "1 passed" in output
    assert "momentum makes gradient descent faster" in page.read_text()
    run("lossact.cli", "surfaces", "--out", "pictures", folder=tmp_path, path=site)
    assert (tmp_path / "pictures" / "surfaces.html").is_file()
