"""One fixed set of labelled images, read from two .npy files."""

import hashlib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lossact.checks import checked_arguments
from lossact.data.dataset import Dataset
from lossact.data.source import DataSource
from lossact.errors import DataError


@checked_arguments
@dataclass(frozen=True)
class ImageFiles(DataSource):
    """Train every replica on images and labels from .npy files; only initial weights differ between replicas.

    The files are read, and checked, when the object is made. Two sets are equal where their arrays are, wherever
    the files lie.

    Args:
        images: file with an array (n, height, width) of real numbers, all finite.
        labels: file with an array (n,) whose values are 0 or 1.
        image_shape: the (height, width) required, or None for any.

    Raises:
        DataError: a file is missing or unreadable, or its array breaks one of these rules.
    """

    images: Path = field(compare=False)
    labels: Path = field(compare=False)
    image_shape: tuple[int, int] | None = field(default=None, compare=False)
    digest: str = field(init=False)
    _set: Dataset = field(init=False, repr=False, compare=False)

    per_replica: ClassVar[bool] = False

    def __post_init__(self) -> None:
        images, labels = _load(Path(self.images)), _load(Path(self.labels))
        if images.ndim != 3 or 0 in images.shape:
            raise DataError(f"{self.images}: shape {images.shape} must be (n, height, width) with no zero in it")
        if self.image_shape is not None and images.shape[1:] != self.image_shape:
            raise DataError(
                f"{self.images}: images are {images.shape[1:]}, but this claim needs {self.image_shape} (axes 1 and 2)"
            )
        if labels.shape != images.shape[:1]:
            raise DataError(
                f"{self.labels}: shape {labels.shape} must be ({len(images)},), one label for each of the "
                f"{len(images)} images in {self.images} (axis 0)"
            )
        if not np.isfinite(images).all():
            raise DataError(f"{self.images}: every pixel must be finite, but some are NaN or infinite")
        wrong = np.unique(labels[(labels != 0) & (labels != 1)])
        if wrong.size:
            raise DataError(f"{self.labels}: labels must be 0 or 1, but {wrong[0]:g} is among them")
        digest = hashlib.sha256()
        for array in (images, labels):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        object.__setattr__(self, "image_shape", images.shape[1:])
        object.__setattr__(self, "digest", digest.hexdigest())
        object.__setattr__(self, "_set", Dataset(images, labels))

    @classmethod
    def in_directory(
        cls, directory: Path | str, stem: str, *, image_shape: tuple[int, int] | None = None
    ) -> "ImageFiles":
        """Read the pair `<stem>_imgs.npy` and `<stem>_labs.npy` in `directory`.

        Args:
            directory: where both files lie.
            stem: how their names begin.
            image_shape: the (height, width) required, or None for any.

        Returns:
            the data.

        Raises:
            DataError: as for ImageFiles.
        """
        folder = Path(directory)
        return cls(folder / f"{stem}_imgs.npy", folder / f"{stem}_labs.npy", image_shape)

    @property
    def n_images(self) -> int:
        return len(self._set)

    def sample(self, generator: np.random.Generator) -> Dataset:
        """Return the same set every time.

        Args:
            generator: not used.

        Returns:
            all images.
        """
        return self._set

    def content(self) -> dict[str, Any]:
        """Return everything that decides an outcome, for the store's key: the arrays, not their paths."""
        return {"kind": "arrays", "sha256": self.digest}

    def __str__(self) -> str:
        return f"{self.n_images} fixed images from {Path(self.images).name}"


def _load(path: Path) -> NDArray[np.float64]:
    try:
        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; give the folder that holds it") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable .npy array without pickled objects ({error})") from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: holds several arrays (.npz); one .npy array is needed")
    if array.dtype.kind not in "buif":
        raise DataError(f"{path}: dtype {array.dtype} must be boolean, integer or floating point")
    return array.astype(np.float64)
