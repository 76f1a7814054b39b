"""What a user's function is."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from lossact.errors import InputError
from lossact.fingerprint import file_digest, fingerprint, pinned


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


SELF_AND_GLOBAL = """
import threading
import numpy as np
w, D, cells, lock = {w}, np.arange({size}), {{"D": [np.arange({size})]}}, threading.Lock()
class Net:
    def __init__(self):
        self.w = 1
        w = 2
        self.v = [w for w in range(3)]
def attribute():
    return Net().w
def array():
    return D[0]
def nested():
    return lambda: cells["D"]
def locked():
    return lock, D
"""


@pytest.mark.parametrize("typed", [False, True])
def test_names_are_those_of_global_values(typed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attribute or a local variable of a global's name is not that global; arrays count by content."""

    def functions(*, w: int = 1, size: int = 3) -> dict[str, Any]:
        if not typed:
            script = module(tmp_path, monkeypatch, a_file=SELF_AND_GLOBAL.format(w=1, size=3))("a_file")
            names = vars(script)
            names["w"], names["D"], names["cells"]["D"][0] = w, np.arange(size), np.arange(size)
            return names
        notebook = ModuleType("__main__")
        notebook.__spec__ = None
        exec(SELF_AND_GLOBAL.format(w=w, size=size), vars(notebook))
        return vars(notebook)

    names = ("attribute", "array", "nested")
    base, other_w, other_size = (
        [fingerprint(namespace[name], "x") for name in names]
        for namespace in (functions(), functions(w=5), functions(size=4))
    )
    assert other_w == base
    assert other_size[0] == base[0]
    assert other_size[1] != base[1]
    assert other_size[2] != base[2]


def test_a_file_is_digested_by_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "data.npy"
    np.save(file, np.arange(3))
    before = file_digest(file)
    assert before == file_digest(str(file)) == hashlib.sha256(file.read_bytes()).hexdigest()
    np.save(file, np.arange(4))
    assert file_digest(file) != before
    with pytest.raises(InputError, match=r"missing.npy: No such file or directory; give a file that can be read"):
        file_digest(tmp_path / "missing.npy")
