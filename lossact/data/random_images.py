"""Binary images of fair coin tosses, with independent labels."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from lossact.checks import check_count, check_number, checked_arguments
from lossact.data.dataset import Dataset
from lossact.data.source import DataSource


@checked_arguments
@dataclass(frozen=True, kw_only=True)
class RandomImages(DataSource):
    """Draw fresh random images for every replica, to be memorised.

    Args:
        n_images: images in a set, >= 1.
        height, width: pixels, >= 1.
        label_rate: probability in (0, 1) that an image is labelled 1.

    Raises:
        InputError: a value breaks its rule.
    """

    n_images: int = 64
    height: int = 4
    width: int = 4
    label_rate: float = 11 / 64

    per_replica: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("n_images", self.n_images, hint=64)
        check_count("height", self.height, hint=4)
        check_count("width", self.width, hint=4)
        check_number("label_rate", self.label_rate, above=0, below=1, hint="11 / 64")

    @property
    def image_shape(self) -> tuple[int, int]:
        return (self.height, self.width)

    def sample(self, generator: np.random.Generator) -> Dataset:
        """Draw one set, pixels before labels.

        Args:
            generator: the replica's own.

        Returns:
            images (n, height, width) of 0 and 1, with their labels (n,).
        """
        pixels = generator.integers(0, 2, size=(self.n_images, self.height, self.width))
        labels = generator.random(self.n_images) < self.label_rate
        return Dataset(pixels.astype(np.float64), labels.astype(np.float64))

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, for the store's key."""
        return {"kind": "random_images", **asdict(self)}

    def __str__(self) -> str:
        return f"{self.n_images} random {self.height}x{self.width} images, fresh per replica"
