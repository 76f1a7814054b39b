"""The marker of a claim, and what else pytest knows of a claim before it is called."""

import ast
from collections import Counter
from functools import cache
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
    return getattr(item, "cls", None) is None and counts[getattr(item, "originalname", item.name)] > 1


@cache
def _functions(path: Path, changed_at: int) -> Counter[str]:
    """Count how often each function name is defined at the top level of a file."""
    body = ast.parse(path.read_bytes()).body
    return Counter(node.name for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
