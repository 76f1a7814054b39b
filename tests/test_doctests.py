"""The examples in docstrings print what they say."""

import doctest
from importlib import import_module

import pytest

MODULES = {"correctness": 2, "activations": 9, "losses": 15, "neuron": 1, "surfaces": 1}  # and how many have examples


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_functional_are_exact(name: str) -> None:
    module = import_module(f"lossact.functional.{name}")
    tests = [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]
    assert len(tests) >= MODULES[name]
    for test in tests:
        assert doctest.DocTestRunner().run(test).failed == 0, test.name
