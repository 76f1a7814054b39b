"""The value every data source yields."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with one label each.

    Attributes:
        images: (n, height, width) float64.
        labels: (n,) float64 in {0, 1}.
    """

    images: NDArray[np.float64]
    labels: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)
