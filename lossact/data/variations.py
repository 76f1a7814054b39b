"""Other data with noise in their labels, or fewer of their examples; each replica draws which."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from lossact.checks import check_count, check_number, checked_arguments
from lossact.data.dataset import Dataset
from lossact.data.source import DataSource
from lossact.errors import DataError


@dataclass(frozen=True)
class Variation(DataSource):
    """Training examples of other data, changed by each replica's own draw; held-out ones stay as they are.

    Attributes:
        data: the other data.
    """

    data: DataSource

    per_replica: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.data, DataSource):
            raise DataError(f"data={self.data!r} must be data such as Arrays(inputs, targets)")

    @property
    def draws_test(self) -> bool:
        return self.data.draws_test

    @property
    def is_by_function(self) -> bool:
        return self.data.is_by_function

    def sample_test(self, generator: np.random.Generator) -> Dataset:
        """Draw a set of test examples of the other data.

        Args:
            generator: the replica's own, for test examples alone.

        Returns:
            its examples, unchanged.
        """
        return self.data.sample_test(generator)


@checked_arguments
@dataclass(frozen=True)
class NoisyLabels(Variation):
    """Data of which each training label is wrong with some probability.

    A wrong label is drawn uniformly from the other labels of the training set.

    Args:
        data: the other data, with one label an example.
        rate: the probability that a label is wrong, in [0, 1].

    Raises:
        DataError: `data` is no data source.
        InputError: the rate is out of range.
    """

    rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("rate", self.rate, at_least=0, at_most=1, hint=0.1)

    def sample(self, generator: np.random.Generator) -> Dataset:
        """Draw one set, some of its labels wrong.

        Args:
            generator: the replica's own.

        Returns:
            its examples.

        Raises:
            DataError: the targets are no labels, or all are the same.
        """
        dataset = self.data.sample(generator)
        targets = dataset.targets
        labels, index = np.unique(targets, return_inverse=True)
        if targets.ndim != 1 or len(labels) < 2 or len(labels) > max(2, len(targets) // 2):
            raise DataError(
                f"{self}: targets of shape {targets.shape} with {len(labels)} values are no labels; two labels or more "
                "are needed, one an example, each of several examples"
            )
        wrong = generator.random(len(targets)) < self.rate
        shift = generator.integers(1, len(labels), len(targets))
        noisy = labels[(index.reshape(-1) + np.where(wrong, shift, 0)) % len(labels)]
        return replace(dataset, targets=noisy)

    def content(self) -> dict[str, Any]:
        """What decides an outcome, for the store's key."""
        return {"kind": "noisy_labels", "rate": self.rate, "data": self.data.content()}

    def __str__(self) -> str:
        return f"{self.data} with {self.rate:g} of the labels wrong"


@checked_arguments
@dataclass(frozen=True)
class Subset(Variation):
    """Some of the training examples of other data, drawn without replacement by each replica.

    Args:
        data: the other data.
        n_examples: how many, >= 1.

    Raises:
        DataError: `data` is no data source.
        InputError: the number is out of range.
    """

    n_examples: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("n_examples", self.n_examples, hint=100)

    def sample(self, generator: np.random.Generator) -> Dataset:
        """Draw one set, some of the other data's examples.

        Args:
            generator: the replica's own.

        Returns:
            `n_examples` examples.

        Raises:
            DataError: the other data have fewer examples.
        """
        dataset = self.data.sample(generator)
        if self.n_examples > len(dataset):
            raise DataError(f"n_examples={self.n_examples} must be at most the {len(dataset)} examples of {self.data}")
        chosen = generator.permutation(len(dataset))[: self.n_examples]
        return replace(dataset, inputs=_at(dataset.inputs, chosen), targets=dataset.targets[chosen])

    def content(self) -> dict[str, Any]:
        """What decides an outcome, for the store's key."""
        return {"kind": "subset", "n_examples": self.n_examples, "data": self.data.content()}

    def __str__(self) -> str:
        return f"{self.n_examples} of {self.data}"


def _at(inputs: Any, chosen: Any) -> Any:
    if isinstance(inputs, Mapping):
        return {name: array[chosen] for name, array in inputs.items()}
    return tuple(array[chosen] for array in inputs) if isinstance(inputs, tuple) else inputs[chosen]
