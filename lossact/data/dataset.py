"""The value every data source yields."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossact.errors import DataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs with one target each.

    Attributes:
        inputs: (n, ...); images are (n, height, width) float64.
        targets: (n, ...); (n,) float64 in {0, 1} for a network with one logit.
        validation: examples that are only measured, or None.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    validation: "Dataset | None" = None

    def __len__(self) -> int:
        return len(self.targets)


def checked_dataset(inputs: Any, targets: Any, validation: Any = None, *, name: str) -> Dataset:
    """A set of anybody's arrays: integers stay integers, all else becomes float64.

    Args:
        inputs, targets: arrays of equal length.
        validation: a pair of such arrays, or None.
        name: what errors call it.

    Raises:
        DataError: they are no numbers, not finite, empty, or of unequal lengths.
    """
    inputs, targets = (_numbers(array, f"{name}: {what}") for array, what in ((inputs, "inputs"), (targets, "targets")))
    if inputs.ndim < 2 or 0 in inputs.shape:
        raise DataError(f"{name}: inputs have shape {inputs.shape}; (examples, features, ...) with no zero is needed")
    if len(inputs) != len(targets):
        raise DataError(f"{name}: {len(inputs)} inputs and {len(targets)} targets; one target an input is needed")
    if validation is None:
        return Dataset(inputs, targets)
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise DataError(f"{name}: validation must be a pair (inputs, targets)")
    held_out = checked_dataset(*validation, name=f"{name}: validation")
    for what, one, other in (("inputs", inputs, held_out.inputs), ("targets", targets, held_out.targets)):
        if one.shape[1:] != other.shape[1:] or one.dtype != other.dtype:
            raise DataError(
                f"{name}: validation {what} are {other.dtype} of shape {other.shape[1:]} each, those of training "
                f"{one.dtype} of shape {one.shape[1:]}; make them alike"
            )
    return Dataset(inputs, targets, held_out)


def _numbers(array: Any, name: str) -> NDArray[Any]:
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    found = np.asarray(array)
    if found.dtype.kind not in "buif":
        raise DataError(f"{name} have dtype {found.dtype}; numbers are needed")
    if not np.isfinite(found).all():
        raise DataError(f"{name} hold inf or NaN; leave those examples out")
    return found.astype(np.int64 if found.dtype.kind in "ui" else np.float64)
