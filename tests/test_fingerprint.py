"""What a user's function is."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from lossact.errors import InputError
from lossact.fingerprint import described


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


def test_files_that_are_imported_count_wherever_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = module(
        tmp_path, monkeypatch,
        first_file="from second_file import middle\ndef make():\n    return middle()\n",
        second_file="import third_file\ndef middle():\n    return third_file.SIZE\n",
        third_file="SIZE = 3\n", unrelated_file="X = 1\n",
    )  # fmt: skip
    before = described(load("first_file").make, "network")
    assert len(before["files"]) == 3
    (tmp_path / "unrelated_file.py").write_text("X = 2\n")
    assert described(load("first_file").make, "network") == before
    (tmp_path / "third_file.py").write_text("SIZE = 33\n")
    assert described(load("first_file").make, "network") != before


NOTEBOOK = """
SIZE = {size}
class Net:
    def __init__(self):
        self.depth = {depth}
    def forward(self):
        return helper()
def helper():
    return {helped}
def make():
    return Net(), SIZE
"""


def test_what_was_typed_counts_as_far_as_it_is_used() -> None:
    def typed(**values: int) -> Any:
        notebook = ModuleType("__main__")
        notebook.__spec__ = None
        exec(NOTEBOOK.format(**{"size": 1, "depth": 2, "helped": 3} | values), vars(notebook))
        real, sys.modules["__main__"] = sys.modules["__main__"], notebook
        try:
            return described(vars(notebook)["make"], "network")
        finally:
            sys.modules["__main__"] = real

    base = typed()
    assert typed() == base
    for changed in ({"size": 9}, {"depth": 9}, {"helped": 9}):
        assert typed(**changed) != base


def scaled(x: Any, by: float = 2.0) -> Any:
    return x * by


class Callable3:
    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self) -> int:
        return self.size


def test_values_that_are_held_count() -> None:
    functions: list[Callable[..., Any]] = [
        scaled, partial(scaled, by=3.0), partial(scaled, by=4.0), Callable3(1), Callable3(2), torch.relu, torch.tanh,
        torch.nn.Linear, partial(torch.nn.Linear, 3, 4), partial(torch.nn.Linear, 4, 3),
        partial(torch.nn.Linear, 4, out_features=3),
    ]  # fmt: skip
    found = [str(described(function, "x")) for function in functions]
    assert len(set(found)) == len(found)
    assert [str(described(function, "x")) for function in functions] == found


def test_what_cannot_be_told_is_named() -> None:
    with pytest.raises(InputError, match=r"network holds array\(\[0., 0.\]\), whose content cannot be told"):
        described(partial(scaled, np.zeros(2)), "network")
