"""The base class of data sources."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from lossact.data.dataset import Dataset


class DataSource(ABC):
    """Give examples to train on, fresh for each replica or fixed.

    RandomImages, LineImages, ImageFiles, Arrays, SavedArrays or GeneratedData; NoisyLabels or Subset of one of them.

    Attributes:
        per_replica: whether each replica draws a set of its own.
    """

    per_replica: ClassVar[bool]

    @property
    def draws_test(self) -> bool:
        """Whether test examples are drawn, as a further set; else a set holds its own, or none."""
        return self.per_replica

    @property
    def is_by_function(self) -> bool:
        """Whether a function of the user's draws the sets."""
        return False

    @abstractmethod
    def sample(self, generator: np.random.Generator) -> Dataset:
        """Draw one set, or return the fixed one.

        Args:
            generator: the replica's own.

        Returns:
            its examples.
        """

    def sample_test(self, generator: np.random.Generator) -> Dataset:
        """Draw a set of test examples.

        Args:
            generator: the replica's own, for test examples alone.

        Returns:
            a set whose training examples are for testing.
        """
        return self.sample(generator)

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, for the store's key."""
