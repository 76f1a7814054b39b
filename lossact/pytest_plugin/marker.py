"""The marker of a claim, and what else pytest knows of a claim before it is called."""

import ast
from collections import Counter
from collections.abc import Sequence
from functools import cache, reduce
from operator import or_
from pathlib import Path

import pytest

from lossact.errors import ClaimError

VERDICTS = ("supported", "refuted", "inconclusive")


class ClaimMarker:
    """The checked arguments of a claim's marker.

    Args:
        statement: what is claimed, a sentence.
        source: where the claim comes from.
        recorded: the verdict on record, one of VERDICTS, or None.
        exact: whether the claim is a theorem.

    Raises:
        ClaimError: an argument breaks its rule.
    """

    def __init__(self, statement: str, *, source: str = "", recorded: str | None = None, exact: bool = False) -> None:
        if not isinstance(statement, str) or not statement.strip():
            raise ClaimError(f"statement={statement!r} must be a sentence; write what is claimed")
        if recorded is not None and recorded not in VERDICTS:
            raise ClaimError(
                f"recorded={recorded!r} must be one of {', '.join(VERDICTS)}; leave it out until it is measured"
            )
        self.statement, self.source, self.recorded, self.exact = statement, source, recorded, exact

    @classmethod
    def of(cls, item: pytest.Item) -> "ClaimMarker":
        """Return the marker of a test that is a claim."""
        marker = item.get_closest_marker("claim")
        assert marker is not None
        try:
            return cls(*marker.args, **marker.kwargs)
        except TypeError:
            raise ClaimError(
                f"{item.name}: @pytest.mark.claim takes a statement, source=, recorded= and exact=, "
                f"not {marker.args!r} and {marker.kwargs!r}"
            ) from None


def is_exact(item: pytest.Item) -> bool:
    """Return whether a claim is marked as a theorem."""
    marker = item.get_closest_marker("claim")
    return marker is not None and marker.kwargs.get("exact") is True


def is_defined_twice(item: pytest.Item) -> bool:
    """Return whether another function in the file has this claim's name, so that Python keeps only one of them."""
    counts = _functions(item.path, item.path.stat().st_mtime_ns)
    kind, name = getattr(item, "cls", None), getattr(item, "originalname", item.name)
    return counts[name if kind is None else f"{kind.__qualname__}.{name}"] > 1


@cache
def _functions(path: Path, changed_at: int) -> Counter[str]:
    """Count how often each function is defined in a file or a class of it, by its qualified name."""
    return _defined(ast.parse(path.read_bytes()).body, "")


def _defined(body: Sequence[ast.stmt], owner: str) -> Counter[str]:
    """Count the functions that statements define; of branches only one runs."""
    counts: Counter[str] = Counter()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            counts[owner + node.name] += 1
        elif isinstance(node, ast.ClassDef):
            counts += _defined(node.body, f"{owner}{node.name}.")
        elif isinstance(node, ast.If):
            counts += _defined(node.body, owner) | _defined(node.orelse, owner)
        elif isinstance(node, ast.Try):
            handlers = [_defined(handler.body, owner) for handler in node.handlers]
            counts += reduce(or_, handlers, _defined([*node.body, *node.orelse], owner))
        elif isinstance(node, ast.With):
            counts += _defined(node.body, owner)
    return counts
