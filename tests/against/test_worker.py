import os
import sqlite3
import subprocess
import sys
import sysconfig
from contextlib import closing
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest

from lossact import SGD, Accuracy, Best, Condition, FunctionCondition, Loss, Metric, MLPConfig, RandomImages
from lossact.against.trial_files import read_trials
from lossact.cli.against_worker import SideError, Worker, check_modules, direction, python_path, replace_working_tree
from tests.pytest_plugin.conftest import CLAIMS, CONDITIONS


def gap(outputs: object, targets: object) -> object:
    return outputs


def test_entries_of_the_working_tree_are_replaced_and_others_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, side = tmp_path / "tree", tmp_path / "side"
    packages = sysconfig.get_path("purelib")
    monkeypatch.setattr(sys, "path", [str(tree / "src"), str(tree), "/elsewhere", packages])
    replace_working_tree(side, tree)
    assert sys.path == [str(side / "src"), str(side), "/elsewhere", packages]


def test_programs_that_a_side_starts_find_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of packages that setuptools maps, and others' entries are kept."""
    tree, side = tmp_path / "tree", tmp_path / "side"
    for root, factor in ((tree, "0.1"), (side, "1.0")):
        (root / "src" / "own").mkdir(parents=True)
        (root / "nets.py").write_text(f"FACTOR = {factor}")
        (root / "src" / "own" / "__init__.py").write_text(f"FACTOR = {factor}")
    finder = ModuleType("__editable___own_finder")
    vars(finder)["MAPPING"] = {"own": str(tree / "src" / "own")}
    monkeypatch.setitem(sys.modules, finder.__name__, finder)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, type("F", (), {"__module__": finder.__name__})])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/elsewhere", str(tree)]))
    path = python_path(replace_working_tree(side, tree), side, tree)
    assert path.split(os.pathsep) == ["/elsewhere", str(side), str(side / "src")]
    shown = subprocess.run(
        [sys.executable, "-c", "import nets, own; print(nets.FACTOR, own.FACTOR)"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert shown.stdout == "1.0 1.0\n"


def test_an_environment_within_the_working_tree_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = tmp_path / "tree" / ".venv"
    packages = str(environment / "lib" / "site-packages")
    monkeypatch.setattr(sys, "prefix", str(environment))
    monkeypatch.setattr(sys, "path", [packages, str(tmp_path / "tree" / "src")])
    replace_working_tree(tmp_path / "side", tmp_path / "tree")
    assert sys.path == [packages, str(tmp_path / "side" / "src")]


def test_packages_that_setuptools_maps_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finder = ModuleType("__editable___own_finder")
    vars(finder)["MAPPING"] = {"own": str(tmp_path / "tree" / "own")}
    monkeypatch.setitem(sys.modules, finder.__name__, finder)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, type("F", (), {"__module__": finder.__name__})])
    monkeypatch.setattr(sys, "path", list(sys.path))
    replace_working_tree(tmp_path / "side", tmp_path / "tree")
    assert vars(finder)["MAPPING"] == {"own": str(tmp_path / "side" / "own")}


def test_packages_that_editables_redirects_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class RedirectingFinder:
        _redirections: ClassVar = {"own": str(tmp_path / "tree" / "own" / "__init__.py"), "other": "/other/__init__.py"}

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, RedirectingFinder])
    monkeypatch.setattr(sys, "path", list(sys.path))
    replace_working_tree(tmp_path / "side", tmp_path / "tree")
    assert RedirectingFinder._redirections == {
        "own": str(tmp_path / "side" / "own" / "__init__.py"), "other": "/other/__init__.py",
    }  # fmt: skip


def test_a_module_of_the_working_tree_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, side = tmp_path / "tree", tmp_path / "side"
    monkeypatch.setitem(sys.modules, "own", SimpleNamespace(__file__=str(side / "own.py")))
    check_modules(side, tree)
    monkeypatch.setitem(sys.modules, "own", SimpleNamespace(__file__=str(tree / "own.py")))
    check_modules(tree, tree)
    with pytest.raises(SideError, match="module own was loaded from the working tree"):
        check_modules(side, tree)


def test_which_values_are_better() -> None:
    measures = {
        "quality": Accuracy(), "energy": Loss(), "top": Best(Metric(gap), "max"), "low": Best(Metric(gap), "min"),
        "gap": Metric(gap), "val_loss": Metric(gap),
    }  # fmt: skip
    condition = Condition(
        network=MLPConfig(activation="relu"), loss="l2", optimizer=SGD(learning_rate=0.1), data=RandomImages(),
        budget=10, measures=measures, measured_at=(5,),
    )  # fmt: skip
    directions = {name: direction(condition, name) for name in condition.value_names}
    assert directions == {
        "quality": "higher", "energy": "lower", "top": "higher", "low": "lower", "gap": None, "val_loss": "lower",
        "quality@5": "higher", "energy@5": "lower", "gap@5": None, "val_loss@5": "lower",
    }  # fmt: skip
    function = FunctionCondition(name="f", train=lambda seed: {}, budget=1, measures=["val_acc", "norm"])
    assert [direction(function, name) for name in function.value_names] == ["higher", None]


def test_a_side_that_cannot_use_the_store_says_so_and_uses_another(tmp_path: Path) -> None:
    claims = tmp_path / f"test_{tmp_path.name}.py"  # pytest in pytest shares its modules
    claims.write_text(CONDITIONS + CLAIMS)
    bad = tmp_path / "bad"
    bad.mkdir()
    with closing(sqlite3.connect(bad / "trials.sqlite")) as database:
        database.execute("PRAGMA user_version = 99")
        database.commit()
    worker = Worker(tmp_path, tmp_path)
    request = {"selection": [str(claims)], "seed": 0, "device": "cpu", "spare": str(tmp_path / "spare")}
    answer = worker.collect(request | {"store": str(bad)})
    assert "written in form 99" in answer["store_error"]
    assert [condition["name"] for condition in answer["conditions"]] == ["easy", "hard"]
    trained = worker.train({"wanted": [[1, 64], [0, 64]], "to": str(tmp_path / "trials"), "curves": True})
    assert trained["trained"] == 128
    (hard, curves), (easy, _) = (read_trials(Path(file)) for file in trained["files"])
    assert easy.reached.sum() > hard.reached.sum()
    assert curves is not None
    assert len(curves) == len(hard) == 64
    assert worker.experiment.store.directory == tmp_path / "spare"
    worker.experiment.store.close()
