"""What the code of a LightningCondition reads beside its module: global variables, class attributes, closures.

Replicas that are fitted together have one of each. A value that differs between replicas, or changes in a fit, is not
each replica's own.
"""

from typing import Any

from lossact.conditions.lightning import LightningCondition
from lossact.errors import InputError
from lossact.fingerprint import to_canonical
from lossact.training.stackable import NotStackableError


class ValuesRead:
    """The values that a condition's code reads, as they were first.

    Args:
        condition: any of those that are fitted together.
    """

    def __init__(self, condition: LightningCondition) -> None:
        self.condition = condition
        self._first: Any = None

    def check_same(self, because: str) -> None:
        """Raise NotStackableError where a value is another one than at the first call.

        Args:
            because: what may have changed it, for the reason.
        """
        # What `data` holds is its own, and whoever counts its calls there is no part of a fit.
        try:
            values = to_canonical(self.condition.module, "module")
        except InputError:
            raise NotStackableError(f"{because} a global variable into what cannot be compared") from None
        if self._first is None:
            self._first = values
        if values != self._first:
            raise NotStackableError(f"{because} a global variable, or an attribute of a class")
