"""The claims that pytest collected: the family of each folder, and those that Python keeps only the last of."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from lossact.claims.family import Family, declared_family
from lossact.errors import ClaimError
from lossact.pytest_plugin.marker import is_defined_twice, is_exact


class CollectedClaims:
    """The claims of a run, before any is deselected.

    Args:
        is_worker: whether this process is a worker of xdist. One that stopped would look like a crash, so its claims
            report what is wrong with their families instead.
    """

    def __init__(self, *, is_worker: bool) -> None:
        self.is_worker = is_worker
        self._families: dict[Path, Family] = {}
        self._defined_twice: set[str] = set()
        self._misdeclared: str | None = None

    def count(self, claims: Sequence[pytest.Item]) -> None:
        """Determine the family of each folder.

        Args:
            claims: all that were collected.

        Raises:
            UsageError: a family has more claims than it declares, or its declaration cannot be read.
        """
        numbers = Counter({item.path.parent: 0 for item in claims})
        for item in claims:
            numbers[item.path.parent] += not is_exact(item)
        self._defined_twice = {item.nodeid for item in claims if is_defined_twice(item)}
        try:
            self._declare(numbers)
        except ClaimError as error:
            if not self.is_worker:
                raise pytest.UsageError(str(error)) from error
            self._misdeclared = str(error)

    def _declare(self, numbers: Counter[Path]) -> None:
        """Find the family of each folder, from how many claims are in it."""
        declared = {folder: declared_family(folder) for folder in numbers}
        for folder in numbers:
            self._families[folder] = declared[folder] or Family(folder.name, folder, 1, declared=False)
        sizes = Counter({family: 0 for family in self._families.values() if family.declared})
        for folder, number in numbers.items():
            if self._families[folder].declared:
                sizes[self._families[folder]] += number
        for family, number in sizes.items():
            if number > family.size:
                raise ClaimError(
                    f"{family.directory / 'family.toml'}: size={family.size}, but {number} claims were collected; "
                    f"write size = {number} (each claim's level becomes alpha / {number})"
                )

    def check(self, item: pytest.Function) -> None:
        """Raise ClaimError where a claim cannot be decided for what else was collected.

        Args:
            item: the claim.

        Raises:
            ClaimError: its family is declared wrongly, or its file has more than one of its name.
        """
        if self._misdeclared is not None:
            raise ClaimError(self._misdeclared)
        if item.nodeid in self._defined_twice:
            raise ClaimError(
                f"{item.path.name} has more than one {item.originalname}, and Python keeps only the last; "
                "give each claim a name of its own"
            )

    def family_of(self, item: pytest.Item) -> Family | None:
        """Return a claim's family; None where its folder's could not be determined."""
        return self._families.get(item.path.parent)
