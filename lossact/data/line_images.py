"""Binary images of an upright bar beside a square; the label says which is on the right."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from lossact.checks import check_count, checked_arguments
from lossact.data.dataset import Dataset
from lossact.data.source import DataSource
from lossact.errors import InputError

SIDE = 16


@checked_arguments
@dataclass(frozen=True, kw_only=True)
class LineImages(DataSource):
    """Draw fresh 16x16 images for every replica; in half of them, labelled 1, the bar is right of the square.

    The bar is 2 to 4 wide and 10 to 14 high; the square has an odd side of 1 to 11 and is cut at the image's edge.
    They do not overlap.

    Args:
        n_images: images in a set, even and >= 2.

    Raises:
        InputError: a value breaks its rule.
    """

    n_images: int = 64

    per_replica: ClassVar[bool] = True
    image_shape: ClassVar[tuple[int, int]] = (SIDE, SIDE)

    def __post_init__(self) -> None:
        check_count("n_images", self.n_images, at_least=2, hint=64)
        if self.n_images % 2:
            raise InputError(f"n_images={self.n_images} must be even, one half for each label; try {self.n_images + 1}")

    def sample(self, generator: np.random.Generator) -> Dataset:
        """Draw one set, images with the bar on the right first.

        Args:
            generator: the replica's own.

        Returns:
            `n_images` images (n, 16, 16) of 0 and 1, with their labels (n,).
        """
        n = self.n_images
        right = np.arange(n) < n // 2
        width = generator.integers(2, 5, n)
        height = generator.integers(10, 15, n)
        top = generator.integers(1, SIDE - height)
        half = generator.integers(0, 6, n)
        # Drawn as if the bar stood on the right, from the outer edge of its half inwards; then mirrored for label 0.
        left = generator.integers(7, 11, n)
        centre = generator.integers(0, left - half)
        middle = generator.integers(3, 13, n)

        left, centre = (np.where(right, at, SIDE - 1 - at) for at in (left, centre))
        inwards = np.where(right, 1, -1)

        at = np.arange(SIDE)
        into_bar = (at - left[:, None]) * inwards[:, None]
        bar_columns = (into_bar >= 0) & (into_bar < width[:, None])
        bar_rows = (at >= top[:, None]) & (at < (top + height)[:, None])
        square_columns = np.abs(at - centre[:, None]) <= half[:, None]
        square_rows = np.abs(at - middle[:, None]) <= half[:, None]
        bar = bar_rows[:, :, None] & bar_columns[:, None, :]
        square = square_rows[:, :, None] & square_columns[:, None, :]
        return Dataset((bar | square).astype(np.float64), right.astype(np.float64))

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, for the store's key."""
        return {"kind": "line_images", **asdict(self)}

    def __str__(self) -> str:
        return f"{self.n_images} line images of {SIDE}x{SIDE}, fresh per replica"
