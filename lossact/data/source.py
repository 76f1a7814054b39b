"""The base class of data sources."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from lossact.data.dataset import Dataset


class DataSource(ABC):
    """Give examples to train on, fresh or fixed: RandomImages, LineImages, ImageFiles, Arrays or GeneratedData.

    Attributes:
        per_replica: whether each replica draws a set of its own.
    """

    per_replica: ClassVar[bool]

    @abstractmethod
    def sample(self, generator: np.random.Generator) -> Dataset:
        """Draw one set from `generator`, or return the fixed one."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, for the store's key."""
