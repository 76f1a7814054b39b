"""The examples in the docstrings of evidence and of hypotheses, run as they stand."""

import doctest
import importlib
import pkgutil

import pytest

import lossact.claims
import lossact.stats

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (lossact.stats, lossact.claims)
    for module in pkgutil.iter_modules(package.__path__)
    if not module.ispkg
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.failed == 0


@pytest.mark.parametrize(
    "function",
    [
        "all_of", "equivalent", "exact", "exceeds", "faster", "fastest", "gap_grows", "measured", "not_worse",
        "ordering", "reaches", "sampled", "slowest",
    ],
)  # fmt: skip
def test_every_hypothesis_says_what_it_takes_and_gives_and_shows_an_example(function: str) -> None:
    documentation = getattr(lossact.claims, function).__doc__
    for part in ("Args:", "Returns:", "Raises:", ">>>"):
        assert part in documentation
