"""The examples in docstrings print what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import lossact

ROOT = Path(lossact.__file__).parent
ROOMS = ("functional", "stats", "claims")
MODULES = [
    ".".join(file.relative_to(ROOT.parent).with_suffix("").parts)
    for room in ROOMS
    for file in sorted((ROOT / room).rglob("*.py"))
    if ">>> " in file.read_text()
]
# How many functions of a module have an example, at least.
FEWEST = {
    "lossact.functional.correctness": 2,
    "lossact.functional.activations": 9,
    "lossact.functional.losses": 15,
    "lossact.functional.neuron": 1,
    "lossact.functional.surfaces": 1,
}


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_exact(name: str) -> None:
    tests = [test for test in doctest.DocTestFinder(exclude_empty=True).find(import_module(name)) if test.examples]
    assert len(tests) >= FEWEST.get(name, 1)
    for test in tests:
        assert doctest.DocTestRunner().run(test).failed == 0, test.name


def test_modules_that_must_have_examples_do() -> None:
    assert set(MODULES) >= FEWEST.keys()


@pytest.mark.parametrize(
    "function",
    [
        "all_of", "equivalent", "exact", "exceeds", "faster", "fastest", "gap_grows", "measured", "not_worse",
        "ordering", "reaches", "sampled", "slowest",
    ],
)  # fmt: skip
def test_every_hypothesis_says_what_it_takes_and_gives_and_shows_an_example(function: str) -> None:
    documentation = getattr(lossact, function).__doc__
    for part in ("Args:", "Returns:", "Raises:", ">>>"):
        assert part in documentation
