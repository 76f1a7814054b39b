"""Modules that code imports by computed names are part of what its results depend on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lossact.fingerprint.files import python_files_below

SCRIPT = "import json, m; from lossact.fingerprint import fingerprint; print(json.dumps(fingerprint(m.train, 'train')))"
TRAIN = "import importlib, pkgutil, pydoc\ndef train(seed, name='mlp', target='models.mlp'):\n    return {}.f()\n"
COMPUTED = [
    "importlib.import_module(f'models.{name}')",
    "importlib.import_module('models.' + name)",
    "importlib.import_module('models.%s' % name)",
    "importlib.import_module(target)",
    "__import__(target)",
    "pydoc.locate(target)",
    "pkgutil.resolve_name(target)",
]


def fingerprint_of(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=folder, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}, check=False,
    )  # fmt: skip


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        file = folder / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)


@pytest.mark.parametrize("computed", COMPUTED)
def test_an_edit_behind_a_computed_import_changes_the_fingerprint(computed: str, tmp_path: Path) -> None:
    write(tmp_path, m=TRAIN.format(computed), models__mlp="def f(): return {'v': 1}\n")
    before = fingerprint_of(tmp_path)
    assert before.returncode == 0, before.stderr
    assert fingerprint_of(tmp_path).stdout == before.stdout
    write(tmp_path, models__mlp="def f(): return {'v': 7}\n")
    after = fingerprint_of(tmp_path)
    assert after.returncode == 0, after.stderr
    assert after.stdout != before.stdout


def test_an_edit_elsewhere_does_not_where_the_package_is_written(tmp_path: Path) -> None:
    write(tmp_path, m=TRAIN.format(COMPUTED[0]), models__mlp="def f(): return {'v': 1}\n", other="x = 1\n")
    before = fingerprint_of(tmp_path)
    write(tmp_path, other="x = 2\n")
    assert fingerprint_of(tmp_path).stdout == before.stdout


def test_more_files_than_can_be_meant_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, m=TRAIN.format("importlib.import_module(target)"))
    write(tmp_path, **{f"models__m{k}": "" for k in range(501)})
    refused = fingerprint_of(tmp_path)
    assert "imports a module by a computed name, which may be any of 502 files in" in refused.stderr


def test_environments_and_hidden_folders_are_nobodys_modules(tmp_path: Path) -> None:
    write(tmp_path, a="", pkg__b="")
    for name in (".hidden", "__pycache__", "env"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "c.py").write_text("")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    assert [file.stem for file in python_files_below(tmp_path)] == ["a", "b"]
