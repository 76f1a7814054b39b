"""What the code of a LightningCondition reads beside its module: global variables, class attributes, closures.

Replicas that are fitted together have one of each. A value that differs between replicas, or changes in a fit, is not
each replica's own.
"""

from typing import Any

from lossact.conditions.lightning import LightningCondition
from lossact.errors import EditedFileError, InputError
from lossact.fingerprint import to_canonical
from lossact.training.stackable import NotStackableError

# Names of a content's own, between those of users.
STRUCTURE = {
    "again", "arguments", "array", "attributes", "bases", "builtin", "cache", "cached", "class", "code", "content",
    "defaults", "dict", "dtype", "enum", "fields", "function", "generator", "global", "holds", "kind", "layout", "list",
    "mask", "method", "module", "name", "named defaults", "of", "of bases", "partial", "parts", "reduced", "reference",
    "scalar", "set", "sha256", "shape", "state", "tensor", "tuple", "uses", "values",
}  # fmt: skip


class ValuesRead:
    """The values that a condition's code reads, as they were first.

    Args:
        condition: any of those that are fitted together. What `data` holds is left out: only making data changes it.
    """

    def __init__(self, condition: LightningCondition) -> None:
        self.condition = condition
        self._first: Any = None
        self._asked = 0

    def check_same(self, because: str, *, always: bool = True) -> None:
        """Raise NotStackableError where a value is another one than at the first call.

        Args:
            because: what may have changed it, for the reason.
            always: look whenever this is asked; False looks after 1, 2, 4, 8, … times, for values may be large.
        """
        self._asked += 1
        if not always and self._asked & (self._asked - 1):
            return
        try:
            values = to_canonical(self.condition.module, "module")
        except EditedFileError:  # what runs is what was read first
            return
        except InputError:
            raise NotStackableError(f"{because} a global variable into what cannot be compared") from None
        if self._first is None:
            self._first = values
        if values != self._first:
            raise NotStackableError(f"{because} {_differing(self._first, values)}")


def _differing(before: Any, after: Any, name: str = "a global variable, or an attribute of a class") -> str:
    """Return the innermost name below which two contents differ."""
    pairs: list[tuple[str, Any, Any]] = []
    if isinstance(before, dict) and isinstance(after, dict):
        pairs = [(key, before.get(key), after.get(key)) for key in {**before, **after}]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [("", *pair) for pair in zip(before, after, strict=True)]
    for key, *both in pairs:
        if both[0] != both[1]:
            is_own = bool(key) and key not in STRUCTURE and not key.startswith("function ")
            return _differing(both[0], both[1], key.removeprefix("value ") if is_own else name)
    return name
