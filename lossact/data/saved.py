"""Fixed arrays that lie in a .npz file."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lossact.checks import checked_arguments
from lossact.data.arrays import Arrays
from lossact.data.dataset import Dataset
from lossact.data.source import DataSource
from lossact.errors import DataError

PARTS = ("", "validation_", "test_")


@checked_arguments
@dataclass(frozen=True)
class SavedArrays(DataSource):
    """Examples from a .npz file, for config files; every replica trains on them, as on `Arrays`.

    Two sets are equal where their arrays are, wherever the files lie.

    Args:
        path: a file that `numpy.savez(path, inputs=..., targets=...)` wrote; `validation_inputs`, `validation_targets`,
            `test_inputs` and `test_targets` may be among its arrays.

    Raises:
        DataError: the file is missing or unreadable, or its arrays are none that `Arrays` takes.
    """

    path: Path = field(compare=False)
    arrays: Arrays = field(init=False, repr=False)

    per_replica: ClassVar[bool] = False

    def __post_init__(self) -> None:
        known = [f"{part}{name}" for part in PARTS for name in ("inputs", "targets")]
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays_by_name = {name: file[name] for name in file.files}
        except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.path}: {error}; a .npz file is needed, as numpy.savez writes it") from None
        unknown = sorted(arrays_by_name.keys() - set(known))
        if unknown or not {"inputs", "targets"} <= arrays_by_name.keys():
            raise DataError(f"{self.path} holds {', '.join(sorted(arrays_by_name))}; it may hold {', '.join(known)}")
        (inputs, targets), validation, test = (self._pair(part, arrays_by_name) for part in PARTS)
        try:
            arrays = Arrays(inputs, targets, validation=validation, test=test)
        except DataError as error:
            raise DataError(f"{self.path}: {error}") from None
        object.__setattr__(self, "arrays", arrays)

    def _pair(self, part: str, arrays_by_name: dict[str, Any]) -> Any:
        names = [f"{part}inputs", f"{part}targets"]
        missing = [name for name in names if name not in arrays_by_name]
        if len(missing) == 1:
            raise DataError(f"{self.path} has no {missing[0]}; inputs and targets go together")
        return None if missing else tuple(arrays_by_name[name] for name in names)

    def sample(self, generator: np.random.Generator) -> Dataset:
        """Return the same set every time.

        Args:
            generator: not used.

        Returns:
            all examples.
        """
        return self.arrays.sample(generator)

    def content(self) -> dict[str, Any]:
        """What decides an outcome, for the store's key."""
        return self.arrays.content()

    def __str__(self) -> str:
        return f"{self.arrays} of {Path(self.path).name}"
