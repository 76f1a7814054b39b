"""Examples of the user's: fixed arrays, or a function that draws them for each replica."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from lossact.checks import check_signature, checked_arguments, shortened
from lossact.data.dataset import Dataset, checked_dataset, input_arrays
from lossact.data.reading import read_dataset
from lossact.data.source import DataSource
from lossact.errors import DataError
from lossact.fingerprint import fingerprint


@checked_arguments
@dataclass(frozen=True)
class Arrays(DataSource):
    """Train every replica on one fixed set of examples; only initial weights and batches differ between replicas.

    Args:
        inputs: (n, ...) array or tensor; integers stay integers, all else becomes the setting's floating type. For a
            network of several inputs a tuple of arrays, which are its positional arguments, or a dict of arrays, which
            are its keyword arguments.
        targets: (n, ...), likewise: integers for classes.
        validation: (inputs, targets) of examples that are only measured.
        test: (inputs, targets) of further ones, for measures with split="test" and `lossact test`.

    Raises:
        DataError: they are no numbers, not finite, empty, or of unequal lengths.
    """

    inputs: Any = field(repr=False, compare=False)
    targets: Any = field(repr=False, compare=False)
    validation: Any = field(default=None, repr=False, compare=False)
    test: Any = field(default=None, repr=False, compare=False)
    digest: str = field(init=False)
    _set: Dataset = field(init=False, repr=False, compare=False)

    per_replica: ClassVar[bool] = False

    def __post_init__(self) -> None:
        dataset = checked_dataset(self.inputs, self.targets, self.validation, self.test, name="data")
        digest = hashlib.sha256()
        for split, part in (("", dataset), ("", dataset.validation), ("test", dataset.test)):
            for array in () if part is None else (*input_arrays(part.inputs), part.targets):
                digest.update(f"{split}{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        object.__setattr__(self, "_set", dataset)
        object.__setattr__(self, "digest", digest.hexdigest())

    @classmethod
    def from_dataset(
        cls, dataset: Any, *, validation: Any = None, test: Any = None, columns: tuple[str, str] | None = None
    ) -> "Arrays":
        """Read datasets that fit in memory: of torchvision, of Hugging Face, or of one's own.

        Args:
            dataset: a sequence of (inputs, target) pairs, as torch's datasets are; each item is read once.
            validation, test: further ones, or None.
            columns: the names of inputs and targets where items are dicts, as those of Hugging Face are.

        Raises:
            DataError: items are no pairs, have no such columns, or inputs of several shapes.

        Example:
            >>> print(Arrays.from_dataset([([0.0, 1.0], 1), ([1.0, 0.0], 0)]))
            2 fixed examples
        """
        held_out = {
            split: None if given is None else read_dataset(given, columns, split)
            for split, given in (("validation", validation), ("test", test))
        }
        return cls(*read_dataset(dataset, columns, "training"), **held_out)

    def sample(self, generator: np.random.Generator) -> Dataset:
        """Return the same set every time.

        Args:
            generator: not used.

        Returns:
            all examples.
        """
        return self._set

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, for the store's key."""
        return {"kind": "examples", "sha256": self.digest}

    def __str__(self) -> str:
        return f"{len(self._set)} fixed examples"


@checked_arguments
@dataclass(frozen=True)
class GeneratedData(DataSource):
    """Draw fresh examples for every replica by a function.

    Args:
        draw: numpy.random.Generator -> (inputs, targets), or (inputs, targets, (inputs, targets) for validation);
            arrays as `Arrays` takes them, of one shape for all replicas.

    Test examples are the training examples of one more draw.

    Raises:
        DataError: `draw` is no function.
        InputError: its content cannot be read.
    """

    draw: Callable[[np.random.Generator], Any]

    per_replica: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not callable(self.draw):
            raise DataError(f"draw={shortened(self.draw)} must be a function of a numpy.random.Generator")
        check_signature("draw", self.draw, like="draw(generator)", values=1)
        self.content()

    @property
    def is_by_function(self) -> bool:
        return True

    def sample(self, generator: np.random.Generator) -> Dataset:
        """Draw one set.

        Args:
            generator: the replica's own.

        Returns:
            its examples.

        Raises:
            DataError: the function did not return examples.
        """
        drawn = self.draw(generator)
        if not isinstance(drawn, (tuple, list)) or len(drawn) not in (2, 3):
            what = type(drawn).__name__ + (f" of {len(drawn)}" if isinstance(drawn, (tuple, list)) else "")
            raise DataError(
                f"{self} returned {what}; return (inputs, targets), or (inputs, targets, validation) where validation "
                "is another (inputs, targets)"
            )
        return checked_dataset(*drawn, name=str(self))

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, for the store's key."""
        return {"kind": "drawn", **fingerprint(self.draw, "data")}

    def __str__(self) -> str:
        return f"examples drawn by {getattr(self.draw, '__qualname__', type(self.draw).__name__)}"
