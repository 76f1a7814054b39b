"""What every data source is."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from lossact.data.dataset import Dataset


class DataSource(ABC):
    """Examples to train on, fresh per replica or fixed: RandomImages, LineImages, ImageFiles, Arrays or GeneratedData.

    Attributes:
        per_replica: whether each replica draws a set of its own.
    """

    per_replica: ClassVar[bool]

    @abstractmethod
    def sample(self, generator: np.random.Generator) -> Dataset:
        """One set."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """What decides an outcome, for the store's key."""
