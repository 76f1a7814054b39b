"""What a user's function is."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from lossact.errors import InputError
from lossact.fingerprint import fingerprint, pinned


def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **sources: str) -> Callable[[str], ModuleType]:
    """Write files of a project, and import them anew each time."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(name: str) -> ModuleType:
        for other in sources:
            sys.modules.pop(other, None)
        return __import__(name)

    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    return load


FILES = {
    "first_file": "import second_file\ndef make():\n    from fourth_file import Net\n    return second_file, Net\n",
    "second_file": "from third_file import SIZE\ndef middle():\n    return SIZE\n",
    "third_file": "SIZE = 3\n",
    "fourth_file": "class Net:\n    pass\n",
    "unrelated_file": "X = 1\n",
}


@pytest.mark.parametrize(("edited", "counts"), [(name, name != "unrelated_file") for name in FILES])
def test_files_that_are_imported_count_wherever_that_stands(
    edited: str, counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = module(tmp_path, monkeypatch, **FILES)
    before = fingerprint(load("first_file").make, "network")
    assert len(before["files"]) == 4
    file = tmp_path / f"{edited}.py"
    file.write_text(file.read_text() + "Y = 2\n")
    if counts:
        with pytest.raises(InputError, match=f"{edited}.py was edited after this process read it; start again"):
            fingerprint(load("first_file").make, "network")
    monkeypatch.setattr(pinned, "PINNED", {})  # as a new process begins
    assert (fingerprint(load("first_file").make, "network") != before) == counts


SCRIPT = """
import sys
from argparse import Namespace
from dataclasses import dataclass
args, size, cells = Namespace(width=1), 1, [1]
@dataclass
class Config:
    depth: int = 1
config, unknown, calls = Config(), object(), sys.maxsize
def helper():
    return cells
def make():
    return args.width, size, config, helper(), unknown
def other():
    return 1
"""


@pytest.mark.parametrize("change", ["args.width = 2", "size = 2", "cells.append(2)", "config.depth = 2"])
def test_global_values_of_a_file_count_as_they_are(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script's parsed arguments, the variable of its loop."""
    script = module(tmp_path, monkeypatch, a_script=SCRIPT)("a_script")
    before, other = fingerprint(script.make, "network"), fingerprint(script.other, "network")
    assert fingerprint(script.make, "network") == before
    exec(change, vars(script))
    assert fingerprint(script.make, "network") != before
    assert fingerprint(script.other, "network") == other


def test_parts_of_a_package_count_where_nobody_imported_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "a_package_of_ours"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')\n")
    (package / "models.py").write_text("class Net:\n    pass\n")
    source = "def make():\n    from a_package_of_ours.models import Net\n    return Net\n"
    load = module(tmp_path, monkeypatch, of_a_package=source)
    assert len(fingerprint(load("of_a_package").make, "network")["files"]) == 3


NOTEBOOK = """
from functools import lru_cache, partial
SIZE = {size}
SIZES = (1, {sizes})
class Net:
    width = {width}
    kinds = {{"a": int, "b": str}}
    kind = (int, str, float, bool, bytes, tuple, list, dict, set, complex)[{kind}]
    def __init__(self, default={default}):
        self.depth = {depth}
    def forward(self):
        return helper()
    @staticmethod
    def still():
        return {still}
    @property
    def known(self):
        return {known}
def helper(by={by}):
    return {helped}
half = partial(helper, {half})
def make():
    return Net(), SIZE, SIZES, half
"""
VALUES = ("size", "sizes", "width", "default", "depth", "kind", "still", "known", "by", "helped", "half")


def test_what_was_typed_counts_as_far_as_it_is_used() -> None:
    def typed(**values: int) -> Any:
        notebook = ModuleType("__main__")
        notebook.__spec__ = None
        exec(NOTEBOOK.format(**dict.fromkeys(VALUES, 1) | values), vars(notebook))
        real, sys.modules["__main__"] = sys.modules["__main__"], notebook
        try:
            return fingerprint(vars(notebook)["make"], "network")
        finally:
            sys.modules["__main__"] = real

    base = typed()
    assert typed() == base
    for name in VALUES:
        assert typed(**{name: 9}) != base, name


def scaled(x: Any, by: float = 2.0) -> Any:
    return x * by


class Sized:
    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self) -> int:
        return self.size

    def make(self) -> int:
        return self.size

    @classmethod
    def build(cls) -> str:
        return cls.__name__


class Larger(Sized):
    pass


def keyword(size: int) -> Callable[..., int]:
    def make(*, size: int = size) -> int:
        return size

    return make


def local_class(size: int) -> type:
    class Net:
        def __call__(self) -> int:
            return size

    return Net


def recursive(size: int) -> Callable[[int], int]:
    def go(n: int) -> int:
        return go(n - 1) if n else size

    return go


def membership(name: str) -> bool:
    return name in {"a", "b", "c", "d"}


def test_values_that_are_held_count() -> None:
    functions: list[Callable[..., Any]] = [
        scaled, partial(scaled, by=3.0), partial(scaled, by=4.0), Sized(1), Sized(2), Sized(1).make, Sized(2).make,
        Sized.build, Larger.build, keyword(4), keyword(8), local_class(4), local_class(8), recursive(4), recursive(8),
        torch.relu, torch.tanh, torch.nn.Linear, partial(torch.nn.Linear, 3, 4), partial(torch.nn.Linear, 4, 3),
        partial(torch.nn.Linear, 4, out_features=3), torch.nn.CrossEntropyLoss(reduction="none"),
        torch.nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1), membership, lru_cache(scaled),
    ]  # fmt: skip
    found = [str(fingerprint(function, "x")) for function in functions]
    assert len(set(found)) == len(found)
    assert [str(fingerprint(function, "x")) for function in functions] == found


def test_what_a_function_is_does_not_depend_on_the_process() -> None:
    code = "from tests.test_fingerprint import *; print(fingerprint(membership, 'x'))"
    found = set()
    for seed in ("1", "2", "3"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        run = [sys.executable, "-c", code]
        found.add(subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1


def test_what_cannot_be_told_is_named() -> None:
    with pytest.raises(InputError, match=r"network holds array\(\[0., 0.\]\), whose content cannot be told"):
        fingerprint(partial(scaled, np.zeros(2)), "network")
