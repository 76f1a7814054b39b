"""Learning curves as compressed arrays, a file a block; they load without pickle."""

import os
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.storage.trials import Curves

CURVES_KEPT = 256
# What reading a damaged archive may end in; RuntimeError where it seems encrypted, or compressed in another way.
DAMAGE = (ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class CurveFiles:
    """The curves of the first replicas of all conditions.

    Args:
        directory: must exist.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, key: str, first_replica: int, curves: Curves) -> None:
        """Write a block's curves whole, or not at all, also where the power fails.

        Args:
            key: of the condition.
            first_replica: of the block.
            curves: of the block's replicas.
        """
        file = self._file(key, first_replica)
        file.parent.mkdir(exist_ok=True)
        partial = file.with_suffix(".partial")  # of who holds the key's lock; what a killed process left is replaced
        try:
            with partial.open("wb") as opened:
                np.savez_compressed(
                    opened,
                    loss=curves.loss,
                    metric=curves.metric,
                    gradient_norm=curves.gradient_norm,
                    layers=np.array(curves.layers, dtype=np.str_),
                    gradient_every=curves.gradient_every,
                )
                opened.flush()
                os.fsync(opened.fileno())
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)

    def read(self, key: str, block: int) -> Curves | None:
        """Return the curves of the first replicas, up to the first gap.

        A file that is damaged is set aside with a warning, and counts as a gap.

        Args:
            key: of the condition.
            block: replicas in a block.

        Returns:
            the curves, None where there are none.
        """
        parts: list[Curves] = []
        for first_replica in range(0, CURVES_KEPT, block):
            file = self._file(key, first_replica)
            if not file.exists():
                break
            try:
                with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
                    parts.append(_curves(arrays))
            except DAMAGE as error:
                aside = file.with_suffix(".damaged")
                file.replace(aside)
                warnings.warn(
                    f"{file}: not readable as learning curves ({error}); set aside as {aside.name}, and trials are "
                    "kept elsewhere",
                    stacklevel=3,
                )
                break
        return Curves.joined(parts) if parts else None

    def _file(self, key: str, first_replica: int) -> Path:
        return self.directory / key[:32] / f"{first_replica:06d}.npz"


def _curves(arrays: Mapping[str, NDArray[Any]]) -> Curves:
    return Curves(
        arrays["loss"],
        arrays["metric"],
        arrays["gradient_norm"],
        tuple(map(str, arrays["layers"])),
        int(arrays["gradient_every"]),
    )
