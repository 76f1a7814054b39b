"""Which edits of a project's files change the key of a condition, and which do not."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lossact import Experiment, FunctionCondition, evaluate, faster

ROOT = Path(__file__).parents[1]
CLAIMS = '''
"""Claims about a network."""
import json
import sys
import pytest
from lossact.errors import InputError, LossactError
from lossact.fingerprint import fingerprint
import registry
import nets

size, w = 3, 1
names = ["a", "b"]

@registry.register
def net_decorated():
    return size

class Base:
    def __init__(self):
        self.w = nets.Layer()

class Net(Base):
    """A network."""
    width = 4

def helper(k):  # used by make
    return nets.WIDTH * k

def unused():
    return 4

def condition(loss, k=3):
    network = {}
    network["loss"] = loss
    return dict(network)

A = condition("l2")
B = condition("ce", k=4)

def make():
    """Make the network."""
    net = Net()
    return helper(net.width)

def looks_into():
    return getattr(nets, f"net_{size}")

def looks_anywhere():
    return globals()["net_decorated"]

@pytest.mark.claim("a is faster")
def test_a():
    """A claim."""
    unused()
    return LossactError(A, B)

if __name__ == "__main__":
    result = test_a
    print(A, B, file=sys.stderr)
    print(json.dumps([fingerprint(f, 'x') for f in (make, looks_into, looks_anywhere, net_decorated)]))
'''
FILES = {
    "claims.py": CLAIMS,
    "registry.py": (
        "NETS = {}\ndef register(make):\n    NETS[make.__name__] = make\n    return make\ndef unused():\n    pass\n"
    ),
    "nets.py": (
        "import layers\nfrom layers import Layer\nWIDTH = 5\ndef net_3():\n    return layers.block(3)\n"
        "def other():\n    return 1\n"
    ),
    "layers.py": (
        "import math\nimport patches\nclass Parent:\n    depth = 2\nclass Layer(Parent):\n    pass\n"
        "def block(n):\n    return n * 2\n"
    ),
    "patches.py": "import math\ndef patched(x):\n    return x + 1\nmath.floor = patched\n",
}
NAMES = ("make", "looks_into", "looks_anywhere", "net_decorated")
PRINT = f"print(json.dumps([fingerprint(f, 'x') for f in ({', '.join(NAMES)})]))"


def keys(folder: Path, *, script: bool = False) -> dict[str, str]:
    """Return the functions' fingerprints by name, as a new process gets them."""
    command = [sys.executable, "claims.py"] if script else [sys.executable, "-c", f"from claims import *\n{PRINT}"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return dict(zip(NAMES, map(json.dumps, json.loads(run.stdout)), strict=True))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, source in FILES.items():
        (tmp_path / name).write_text(source)
    return tmp_path


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("before")
    for name, source in FILES.items():
        (folder / name).write_text(source)
    return keys(folder)


ADDED = """

@pytest.mark.claim("b is faster")
def test_b():
    return LossactError(B, A)

@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.claim("b is faster")
def test_c(k):
    return LossactError(condition("l2", k), A)

C = [condition("l2", k) for k in range(3)]
D = LossactError(lambda g: g.normal(), 0).with_traceback(None)
"""
TEST_CLASS = "\nclass TestIt:\n    def test_d(self):\n        pass\n"
REGISTERED = "@registry.register\ndef net_e():\n    pass\n\n"
NOTHING, MAKE = frozenset[str](), frozenset({"make"})
INTO, ANYWHERE, DECORATED = frozenset({"looks_into"}), frozenset({"looks_anywhere"}), frozenset({"net_decorated"})
ALL = MAKE | INTO | ANYWHERE | DECORATED
EDITS = [
    # What cannot change an outcome.
    ("a comment", "claims.py", "def make():\n", "# A comment.\n\ndef make():  # and another\n", NOTHING),
    ("a comment at the end", "claims.py", "# used by make", "# by make, as before", NOTHING),
    ("a docstring", "claims.py", '"""Make the network."""', '"""Make a network,\n\n    of four."""', NOTHING),
    ("a new docstring", "nets.py", "def net_3():\n", 'def net_3():\n    """Return a net."""\n', NOTHING),
    ("the file's docstring", "claims.py", "Claims about", "All claims about", NOTHING),
    ("a class's docstring", "claims.py", '    """A network."""\n', "", NOTHING),
    ("a claim added", "claims.py", "\nif __name__", ADDED + "\nif __name__", ANYWHERE),
    ("a claim renamed", "claims.py", "def test_a", "def test_renamed", ANYWHERE),
    ("a claim edited", "claims.py", "(A, B)\n\nif", "(A, A)\n\nif", ANYWHERE),
    ("another statement", "claims.py", "a is faster", "A is faster", ANYWHERE),
    ("what only a claim calls", "claims.py", "return 4", "return 5", ANYWHERE),
    ("a condition", "claims.py", "k=4)", "k=5)", ANYWHERE),
    ("a condition's maker", "claims.py", 'network["loss"] = loss', 'network["loss"] = [loss]', ANYWHERE),
    ("an import for a claim", "claims.py", "import InputError, ", "import StoreError, InputError, ", ANYWHERE),
    ("a module for a claim", "claims.py", "import sys\n", "import math, sys\n", ANYWHERE),
    ("what runs in a script", "claims.py", "print(A, B", "print(B, A", ANYWHERE),
    ("a test class", "claims.py", "\nif __name__", TEST_CLASS + "\nif __name__", ANYWHERE),
    ("another file's unused function", "nets.py", "return 1", "return 2", INTO | ANYWHERE),
    ("a registry's unused function", "registry.py", "    pass\n", "    return 3\n", ANYWHERE),
    # What can.
    ("the function", "claims.py", "return helper(net.width)", "return helper(net.width) + 1", MAKE | ANYWHERE),
    ("what it calls", "claims.py", "return nets.WIDTH * k", "return nets.WIDTH - k", MAKE | ANYWHERE),
    ("a global value", "claims.py", "size, w = 3, 1", "size, w = 4, 1", ALL),
    ("a class value", "claims.py", "width = 4", "width = 5", ALL),
    ("a decorated function", "claims.py", "    return size\n", "    return size + 1\n", ALL),
    ("a new entry of a registry", "claims.py", "class Base", REGISTERED + "class Base", ALL),
    ("what registers", "registry.py", "= make\n", "= [make]\n", ALL),
    ("a constant in another file", "nets.py", "WIDTH = 5", "WIDTH = 6", ALL),
    ("a base class in another file", "layers.py", "depth = 2", "depth = 3", ALL),
    ("a patch at import", "patches.py", "x + 1", "x + 2", ALL),
    ("a patch added", "claims.py", "size, w =", "sys.hexversion = 3\nsize, w =", ALL),
    ("a patch of a patch", "patches.py", "math.floor = patched", "math.floor = math.ceil = patched", ALL),
    ("what a computed name gives", "nets.py", "layers.block(3)", "layers.block(4)", INTO | ANYWHERE),
    ("what that calls in another file", "layers.py", "n * 2", "n * 3", INTO | ANYWHERE),
    ("an order of statements", "claims.py", "A = condition", "names.reverse()\nA = condition", ALL),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "changed"), [row[1:] for row in EDITS], ids=[row[0] for row in EDITS])
def test_an_edit_changes_what_depends_on_it(
    file: str, old: str, new: str, changed: frozenset[str], project: Path, before: dict[str, str]
) -> None:
    assert FILES[file].count(old) == 1
    (project / file).write_text(FILES[file].replace(old, new))
    after = keys(project)
    assert {name for name in before if before[name] != after[name]} == changed


def test_a_script_is_its_import(project: Path, before: dict[str, str]) -> None:
    script = keys(project, script=True)
    for name in ("make", "looks_into", "net_decorated"):
        assert script[name] == before[name]


def test_what_a_script_alone_changes_is_in_its_key(project: Path, before: dict[str, str]) -> None:
    source = FILES["claims.py"].replace("    result = test_a\n", "    nets.layers.math.ceil = unused\n")
    (project / "claims.py").write_text(source)
    assert keys(project, script=True)["make"] != keys(project)["make"] != before["make"]


READS_A_FILE = """
import numpy as np
D = np.load("data.npy")
def train(seed, k):
    return int(D[k]) + seed % 2
"""


@pytest.mark.parametrize("typed", [False, True], ids=["file", "notebook"])
def test_numbers_swapped_in_a_data_file_turn_the_verdict(
    typed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, experiment: Experiment
) -> None:
    """A global array counts by content, not by shape and type; unchanged content is answered from the store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "reads_a_file.py").write_text(READS_A_FILE)

    def verdict(*numbers: int) -> str:
        np.save("data.npy", np.array(numbers))
        sys.modules.pop("reads_a_file", None)
        if typed:
            module = ModuleType("__main__")
            module.__spec__ = None
            exec(READS_A_FILE, vars(module))
        else:
            module = import_module("reads_a_file")
        zero, one = (FunctionCondition(name=f"D[{k}]", train=module.train, config={"k": k}, budget=60) for k in (0, 1))
        return evaluate(faster(zero, than=one), experiment=experiment, max_replicas=64).name

    assert verdict(3, 9) == "supported"
    trained = experiment.trained_replicas
    assert verdict(9, 3) == "refuted"
    assert experiment.trained_replicas > trained
    trained = experiment.trained_replicas
    assert verdict(3, 9) == "supported"
    assert experiment.trained_replicas == trained
